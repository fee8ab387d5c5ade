"""SendGrid: inbound parse, event webhook. Source: www.twilio.com/docs/sendgrid/for-developers, 2026."""

import base64
import binascii
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
    when,
    words,
)
from interaction_router.channels.mail_fields import (
    Mail,
    attachment,
    header_lines,
    mail_event,
    mail_receipt,
    message_id,
    parties,
)
from interaction_router.channels.proofs import LOGIN, bearer_or_basic
from interaction_router.channels.statuses import MESSAGE, status_of
from interaction_router.channels.whole_mail import whole_mail

_QUIET: Final = frozenset(
    {
        "deferred",
        "click",
        "spamreport",
        "unsubscribe",
        "group_unsubscribe",
        "group_resubscribe",
        "account_status_change",
    }
)
_SIGNATURE: Final = "x-twilio-email-event-webhook-signature"
_TIMESTAMP: Final = "x-twilio-email-event-webhook-timestamp"


def _tells_events(request: Request) -> bool:
    """Tell whether it is the event webhook, which is JSON and signed; all else is inbound parse, with a password."""
    return request.media_type == JSON or _SIGNATURE in request.headers


def check(request: Request, credentials: Credentials) -> Verdict:
    """Check the signature of events, whatever password comes with them, or the password of a mail."""
    if not _tells_events(request):
        return bearer_or_basic(request, {name: credentials[name] for name in ("username", "password")})
    signature, timestamp = request.headers.get(_SIGNATURE), request.headers.get(_TIMESTAMP)
    if not signature or not timestamp:
        return "missing"
    signed = timestamp.encode("utf-8", "replace") + request.body
    return "authentic" if _has_signed(credentials["public_key"], signature, signed) else "wrong"


def _has_signed(public_key: str, signature: str, signed: bytes) -> bool:
    """Verify ECDSA with SHA-256 over the key that SendGrid shows, in PEM or the base64 of its DER."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415 - only this vendor
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - likewise
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - likewise
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415 - likewise

    bare = "".join(line for line in public_key.splitlines() if not line.startswith("-----"))
    try:
        key = load_der_public_key(base64.b64decode(bare, validate=True))
        given = base64.b64decode(signature, validate=True)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(given, signed, ec.ECDSA(SHA256()))
    except (InvalidSignature, UnsupportedAlgorithm, binascii.Error, ValueError):
        return False
    return True


def read(request: Request) -> Reading:
    """Return the mail that a form is, or what became of several."""
    if _tells_events(request):
        told = json_of(request.body)
        return read_each(
            told if isinstance(told, list) else [told], partial(_event, received_at_ms=request.received_at_ms)
        )
    return read_each([form_of(request)], partial(_mail, received_at_ms=request.received_at_ms))


def _event(told: Json, *, received_at_ms: int) -> Event | None:
    if not isinstance(told, dict):
        raise UnreadableError("an event is no object")
    word = required(words(told.get("event")), "event")
    if word in _QUIET:
        return None
    status = status_of(word, MESSAGE, "event")
    sent_as = words(told.get("sg_message_id"))
    return mail_receipt(
        identity=required(
            message_id(told.get("smtp-id")) or (None if sent_as is None else sent_as.partition(".")[0]), "smtp-id"
        ),
        status=status,
        at=when(received_at_ms, told.get("timestamp")),
        recipient=told.get("email"),
        why=told.get("reason"),
        provider="sendgrid",
    )


def _mail(form: Form, *, received_at_ms: int) -> Event | None:
    charsets = json_field(form, "charsets")

    def text_of(name: str) -> str | None:
        """Return a field in the character set that SendGrid says it has left it in."""
        raw = (form.raw or {}).get(name)
        if raw is None:
            return form.get(name)
        try:
            text = raw.decode(first(inner(charsets, name)) or "utf-8", "replace")
        except (LookupError, UnicodeError, ValueError):
            text = raw.decode("utf-8", "replace")
        return text if text.strip() else None

    if not any(text_of(name) for name in ("headers", "from", "envelope", "to", "email")):
        raise UnreadableError("the form is no mail")
    envelope = json_field(form, "envelope")
    delivered_to = [address for each in listed(inner(envelope, "to")) if (address := words(each)) is not None]
    whole = form.content("email")
    if whole is not None:
        return whole_mail(whole, "sendgrid", received_at_ms=received_at_ms, recipients=delivered_to)
    headers = header_lines(text_of("headers") or "")
    senders = parties(text_of("from") or headers.get("from")) or parties(inner(envelope, "from"))
    mail = Mail(
        headers=headers,
        sender=senders[0] if senders else None,
        recipients=parties(text_of("to") or headers.get("to")) or delivered_to,
        subject=text_of("subject"),
        text=text_of("text"),
        html=text_of("html"),
        attachments=_attachments(form),
        date=headers.get("date"),
    )
    return mail_event(mail, "sendgrid", received_at_ms=received_at_ms)


def _attachments(form: Form) -> list[Fields]:
    return [attachment(file.name, file.content_type, file.size) for file in form.files]


VENDOR: Final = Vendor(
    keys=frozenset({"username", "password", "public_key"}),
    media_types=frozenset({FORM, MULTIPART, JSON}),
    needs=lambda request: (frozenset({"public_key"}),) if _tells_events(request) else LOGIN,
    check=check,
    read=read,
)
