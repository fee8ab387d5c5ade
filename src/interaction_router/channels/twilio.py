"""Twilio: calls, their status callbacks and recordings, SMS and WhatsApp, delivery. Source: www.twilio.com/docs."""

import base64
import hmac
from collections.abc import Iterator
from hashlib import sha1, sha256
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from interaction_router.channels.bodies import Form, form_of, readable_pairs
from interaction_router.channels.kit import (
    FORM,
    Credentials,
    Event,
    Fields,
    Reading,
    Request,
    UnreadableError,
    Vendor,
    Verdict,
    first,
    international,
    plain,
    read_each,
    required,
    seconds,
    when,
)
from interaction_router.channels.proofs import same
from interaction_router.channels.statuses import CALL, MESSAGE, status_of

WITHHELD: Final = frozenset({"+266696687", "+7378742833", "+86282452253", "+8656696", "+2562533"})
"""Words spelt on a telephone's keys: ANONYMOUS, RESTRICTED, UNAVAILABLE, UNKNOWN, BLOCKED; also without the `+`."""

_SCHEMES: Final = {"whatsapp": "whatsapp", "messenger": "chat", "rcs": "chat"}
_MEDIA: Final = 100
_EMPTY_TWIML: Final = b'<?xml version="1.0" encoding="UTF-8"?><Response></Response>'
_PORTS: Final = {"http": 80, "https": 443}


def check(request: Request, credentials: Credentials) -> Verdict:
    """Compare the signature over address and fields; Twilio may sign with the port or without.

    Source: www.twilio.com/docs/usage/security, 2026.
    """
    given = request.headers.get("x-twilio-signature")
    if not given:
        return "missing"
    digest = dict(readable_pairs(request.query)).get("bodySHA256")
    if digest is not None and request.media_type != FORM and not same(sha256(request.body).hexdigest(), digest):
        return "wrong"
    token = credentials["auth_token"].encode()
    matches = any(
        same(given, _signature(token, url + fields)) for fields in _signed(request) for url in _addresses(request.url)
    )
    return "authentic" if matches else "wrong"


def _signature(token: bytes, text: str) -> str:
    digest = hmac.new(token, text.encode("utf-8", "replace"), sha1).digest()
    return base64.b64encode(digest).decode()


def _signed(request: Request) -> tuple[str, ...]:
    """Return what may have been signed behind the address; of what is no form, nothing, and it is not read either."""
    if request.method == "GET":
        return ("",)
    fields = set(readable_pairs(request.body.decode("utf-8", "replace")))
    text = "".join(name + value for name, value in sorted(fields))
    return (text,) if request.media_type == FORM else ("", text)


def _addresses(url: str) -> Iterator[str]:
    """Go through the address as it is, without its port and with it."""
    yield url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return
    host = parts.netloc.removesuffix(f":{port}") if port is not None else parts.netloc
    for netloc in (host, f"{host}:{port or _PORTS.get(parts.scheme, 443)}"):
        yield urlunsplit(parts._replace(netloc=netloc))


def read(request: Request) -> Reading:
    """Return what a webhook tells."""

    def one(form: Form) -> Event | None:
        if first(form.get("CallSid")) is not None:
            return _call(form, request.received_at_ms)
        return _message(form, request.received_at_ms)

    return read_each([form_of(request)], one)


def _call(form: Form, received_at_ms: int) -> Event | None:
    call = required(form.get("CallSid"), "CallSid")
    word = form.get("CallStatus")
    recording = form.get("RecordingUrl")
    status = None if word is None else CALL.get(word.lower())
    if recording is None and form.get("RecordingStatus") is not None:
        return None
    if recording is None and status is None:
        raise UnreadableError("CallStatus is none that is known" if word else "there is no CallStatus")
    direction = "inbound" if (form.get("Direction") or "inbound").strip().lower() == "inbound" else "outbound"
    sides = ("From", "Caller") if direction == "inbound" else ("To", "Called")
    names_party = any(name in form.fields for name in sides)
    fields = plain(
        channel="voice",
        direction=direction,
        interaction_id=call,
        # Of a recording it is only known that there was a conversation.
        status=status or "answered",
        event_id=None if recording is None else form.get("RecordingSid") or recording,
        occurred_at=when(received_at_ms, form.get("Timestamp"), form.get("RecordingStartTime")),
        from_=_address(form.get("From") or form.get("Caller")),
        to=_address(form.get("To") or form.get("Called")),
        duration_s=seconds(form.get("CallDuration")),
        recording_url=recording,
        provider="twilio",
        metadata=_metadata(form, {"RecordingDuration": "recording_duration_s", "ForwardedFrom": "forwarded_from"}),
    )
    return Event(fields, (call,), names_party=names_party)


def _message(form: Form, received_at_ms: int) -> Event | None:
    message = form.get("MessageSid") or form.get("SmsSid") or form.get("SmsMessageSid")
    if message is None:
        raise UnreadableError("there is no CallSid or MessageSid")
    word = form.get("MessageStatus") or form.get("SmsStatus")
    status = "received" if word is None else status_of(word.lower(), MESSAGE, "MessageStatus")
    sender, recipient = form.get("From"), form.get("To")
    channel = _channel(sender) or _channel(recipient) or "sms"
    fields = plain(
        channel=channel,
        direction="inbound" if status == "received" else "outbound",
        interaction_id=message,
        status=status,
        occurred_at=when(received_at_ms, form.get("Timestamp")),
        from_=_address(sender),
        to=_address(recipient),
        text=form.get("Body"),
        attachments=_media(form),
        references=None if (reply := form.get("OriginalRepliedMessageSid")) is None else [reply],
        provider="twilio",
        metadata=_metadata(form, {"ErrorCode": "error_code"}),
    )
    return Event(fields)


def _media(form: Form) -> list[Fields] | None:
    found: list[Fields] = []
    for number in range(_MEDIA + 1):
        url = form.get(f"MediaUrl{number}")
        if url is None:
            break
        found.append(plain(content_type=form.get(f"MediaContentType{number}"), url=url))
    return found or None


def _channel(address: str | None) -> str | None:
    return None if address is None else _SCHEMES.get(address.partition(":")[0].strip().lower())


def _address(address: str | None) -> str | None:
    if address is None:
        return None
    scheme, colon, rest = address.strip().partition(":")
    text = rest.strip() if colon and scheme.lower() in _SCHEMES else address.strip()
    number = international(text)
    return None if number in WITHHELD else number


def _metadata(form: Form, names: dict[str, str]) -> dict[str, str] | None:
    found = {name: value for field, name in names.items() if (value := form.get(field)) is not None}
    return found or None


VENDOR: Final = Vendor(
    keys=frozenset({"auth_token"}),
    media_types=frozenset({FORM}),
    needs=lambda _: (frozenset({"auth_token"}),),
    check=check,
    read=read,
    gets=True,
    answer=("text/xml", _EMPTY_TWIML),
)
