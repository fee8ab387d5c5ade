"""Postmark: mail in, delivery events. Source: postmarkapp.com/developer/webhooks, 2026."""

from functools import partial
from typing import Final

from interaction_router.channels.bodies import json_of
from interaction_router.channels.kit import (
    JSON,
    Event,
    Fields,
    Json,
    Reading,
    Request,
    UnreadableError,
    Vendor,
    first,
    inner,
    listed,
    read_each,
    required,
    size,
    when,
    words,
)
from interaction_router.channels.mail_fields import (
    Mail,
    attachment,
    header_map,
    mail_event,
    mail_receipt,
    message_id,
    parties,
    party,
)
from interaction_router.channels.proofs import LOGIN, bearer_or_basic
from interaction_router.channels.statuses import status_of

_STATUSES: Final = {"Delivery": "delivered", "Bounce": "failed", "Open": "read"}
_QUIET: Final = frozenset({"Click", "SpamComplaint", "SubscriptionChange"})
_NO_BOUNCES: Final = frozenset(
    {
        "Transient",
        "SoftBounce",
        "DnsError",
        "AutoResponder",
        "AddressChange",
        "Subscribe",
        "Unsubscribe",
        "ChallengeVerification",
        "OpenRelayTest",
        "Unknown",
    }
)
"""Types of bounces that are temporary, or an answer of somebody who has the mail."""


def read(request: Request) -> Reading:
    """Return a mail, or what became of one."""
    told = json_of(request.body)
    if not isinstance(told, dict):
        raise UnreadableError("the body is no object")
    kind = words(told.get("RecordType"))
    one = _mail if kind in {None, "Inbound"} else _event
    return read_each([told], partial(one, received_at_ms=request.received_at_ms))


def _event(told: Json, *, received_at_ms: int) -> Event | None:
    kind = words(told.get("RecordType"))
    if kind in _QUIET or (kind == "Bounce" and words(told.get("Type")) in _NO_BOUNCES):
        return None
    status = status_of(kind, _STATUSES, "RecordType")
    at = (told.get(name) for name in ("DeliveredAt", "BouncedAt", "ReceivedAt"))
    return mail_receipt(
        identity=required(message_id(told.get("MessageID")), "MessageID"),
        status=status,
        at=when(received_at_ms, *at),
        recipient=first(told.get("Recipient"), told.get("Email")),
        sender=told.get("From"),
        why=told.get("Type"),
        provider="postmark",
    )


def _mail(told: Json, *, received_at_ms: int) -> Event | None:
    if not any(words(told.get(name)) for name in ("From", "To", "OriginalRecipient")) and not told.get("FromFull"):
        raise UnreadableError("there is no mail and no RecordType")
    headers = header_map((inner(each, "Name"), inner(each, "Value")) for each in listed(told.get("Headers")))
    if words(told.get("Cc")) is not None:
        headers = {"cc": str(told["Cc"]), **headers}
    senders = [party(inner(told, "FromFull", "Email"), inner(told, "FromFull", "Name")), *parties(told.get("From"))]
    recipients = [party(inner(each, "Email"), inner(each, "Name")) for each in listed(told.get("ToFull"))]
    known = [each for each in recipients if each is not None]
    mail = Mail(
        headers=headers,
        sender=next((each for each in senders if each is not None), None),
        recipients=known or parties(told.get("To")) or parties(told.get("OriginalRecipient")),
        subject=words(told.get("Subject")),
        text=words(told.get("TextBody")),
        html=words(told.get("HtmlBody")),
        attachments=[_attachment(each) for each in listed(told.get("Attachments"))],
        date=words(told.get("Date")),
    )
    return mail_event(mail, "postmark", received_at_ms=received_at_ms)


def _attachment(told: Json) -> Fields:
    return attachment(inner(told, "Name"), inner(told, "ContentType"), size(inner(told, "ContentLength")))


VENDOR: Final = Vendor(
    keys=frozenset({"username", "password"}),
    media_types=frozenset({JSON}),
    needs=lambda _: LOGIN,
    check=bearer_or_basic,
    read=read,
)
