"""Mailgun: mail in through routes, delivery events. Source: documentation.mailgun.com, 2026."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from interaction_router.channels.bodies import Form, form_of, json_field, json_of
from interaction_router.channels.kit import (
    FORM,
    JSON,
    MULTIPART,
    Credentials,
    Event,
    Fields,
    Json,
    Reading,
    Request,
    UnreadableError,
    Vendor,
    Verdict,
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
    Headers,
    Mail,
    attachment,
    header_map,
    mail_event,
    mail_receipt,
    message_id,
    parties,
)
from interaction_router.channels.proofs import hex_hmac, same
from interaction_router.channels.statuses import status_of
from interaction_router.channels.whole_mail import whole_mail

_STATUSES: Final = {
    "accepted": "queued",
    "delivered": "delivered",
    "failed": "failed",
    "rejected": "failed",
    "opened": "read",
}
_QUIET: Final = frozenset({"clicked", "unsubscribed", "complained", "stored", "list_member_uploaded"})
_SIGNATURE: Final = ("timestamp", "token", "signature")


def check(request: Request, credentials: Credentials) -> Verdict:
    """Compare the signature over time and token. That the token was not used before is checked by who keeps them."""
    told = _proof(request)
    timestamp, token, signature = (words(told.get(name)) for name in _SIGNATURE)
    if timestamp is None or token is None or signature is None:
        return "missing"
    expected = hex_hmac(credentials["signing_key"], f"{timestamp}{token}".encode("utf-8", "replace"))
    return "authentic" if same(signature, expected) else "wrong"


def token(request: Request) -> str | None:
    """Return the token that the request spends."""
    return words(_proof(request).get("token"))


def _proof(request: Request) -> Mapping[str, Json]:
    try:
        if request.media_type in {FORM, MULTIPART}:
            return form_of(request).fields
        told = inner(json_of(request.body), "signature")
    except UnreadableError:
        return {}
    return told if isinstance(told, dict) else {}


def read(request: Request) -> Reading:
    """Return the mail that a form is, or what became of one."""
    if request.media_type == JSON:
        told = inner(json_of(request.body), "event-data")
        if not isinstance(told, dict):
            raise UnreadableError("there is no object `event-data`")
        return read_each([told], partial(_event, received_at_ms=request.received_at_ms))
    return read_each([form_of(request)], partial(_mail, received_at_ms=request.received_at_ms))


def _event(told: Json, *, received_at_ms: int) -> Event | None:
    word = required(words(told.get("event")), "event")
    if word in _QUIET or (word == "failed" and told.get("severity") == "temporary"):
        return None
    status = status_of(word, _STATUSES, "event")
    headers = inner(told, "message", "headers")
    return mail_receipt(
        identity=required(message_id(inner(headers, "message-id")), "message-id"),
        status=status,
        at=when(received_at_ms, told.get("timestamp")),
        recipient=first(told.get("recipient"), inner(headers, "to")),
        sender=first(inner(headers, "from"), inner(told, "envelope", "sender")),
        why=first(inner(told, "delivery-status", "message"), told.get("reason")),
        provider="mailgun",
    )


def _mail(form: Form, *, received_at_ms: int) -> Event | None:
    if not any(form.get(name) for name in ("from", "From", "sender", "recipient", "message-headers", "body-mime")):
        raise UnreadableError("the form is no mail")
    whole = form.content("body-mime")
    if whole is not None:
        recipients = [each.strip() for each in (form.get("recipient") or "").split(",") if each.strip()]
        return whole_mail(whole, "mailgun", received_at_ms=received_at_ms, recipients=recipients)
    headers = _headers(form)
    senders = parties(headers.get("from") or form.get("from")) or parties(form.get("sender"))
    date = headers.get("date")
    mail = Mail(
        headers=headers,
        sender=senders[0] if senders else None,
        recipients=parties(headers.get("to")) or parties(form.get("recipient")),
        subject=form.get("subject") or headers.get("subject"),
        text=form.get("body-plain"),
        html=form.get("body-html"),
        attachments=_attachments(form),
        date=date,
    )
    return mail_event(mail, "mailgun", received_at_ms=received_at_ms, also_at=form.get("timestamp"))


def _headers(form: Form) -> Headers:
    """Return the mail's headers: those of the list, else those that are fields of their own."""
    pairs = listed(json_field(form, "message-headers"))
    listed_ones = ((each[0], each[1]) for each in pairs if isinstance(each, list) and len(each) == 2)  # noqa: PLR2004 - name and value
    own = ((name, value) for name, value in form.fields.items() if name[:1].isupper())
    return {**header_map(own), **header_map(listed_ones)}


def _attachments(form: Form) -> list[Fields]:
    """Return the files that came along, or those that Mailgun has stored."""
    files = [attachment(file.name, file.content_type, file.size) for file in form.files]
    return files + [
        attachment(inner(each, "name"), inner(each, "content-type"), size(inner(each, "size")), inner(each, "url"))
        for each in listed(json_field(form, "attachments"))
    ]


VENDOR: Final = Vendor(
    keys=frozenset({"signing_key"}),
    media_types=frozenset({FORM, MULTIPART, JSON}),
    needs=lambda _: (frozenset({"signing_key"}),),
    check=check,
    read=read,
    token=token,
)
