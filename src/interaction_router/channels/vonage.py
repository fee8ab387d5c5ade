"""Vonage: voice events and recordings, messages and their delivery. Source: developer.vonage.com, 2026."""

import base64
import binascii
import hmac
import json
from functools import partial
from hashlib import sha256
from typing import Final

import orjson

from interaction_router.channels.bodies import json_of, readable_pairs
from interaction_router.channels.kit import (
    JSON,
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
    international,
    plain,
    read_each,
    required,
    seconds,
    when,
    words,
)
from interaction_router.channels.proofs import same
from interaction_router.channels.statuses import CALL, MESSAGE, status_of

_CHANNELS: Final = {"sms": "sms", "mms": "sms", "whatsapp": "whatsapp"}
_MEDIA: Final = ("image", "audio", "video", "file", "vcard")
_TOKEN_BYTES: Final = 16 * 1024


def check(request: Request, credentials: Credentials) -> Verdict:
    """Check the JSON Web Token (HS256 alone) and the hash of the payload that it vouches for."""
    header = request.headers.get("authorization", "").strip()
    if not header:
        return "missing"
    scheme, _, token = header.partition(" ")
    claims = _claims(token.strip(), credentials["signature_secret"]) if scheme.lower() == "bearer" else None
    digest = words(inner(claims, "payload_hash"))
    if claims is None or digest is None or not same(digest.lower(), sha256(_payload(request)).hexdigest()):
        return "wrong"
    expires = claims.get("exp")
    expired = isinstance(expires, int | float) and expires * 1000 < request.received_at_ms
    return "wrong" if expired else "authentic"


def _claims(token: str, secret: str) -> Json:
    """Return the claims of a token that the secret has signed, None for any other. Source: RFC 7515, RFC 7519."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > _TOKEN_BYTES or not token.isascii():  # noqa: PLR2004 - a JWS has three
        return None
    head, claims, signature = (_decoded(part) for part in parts)
    if head is None or claims is None or signature is None:
        return None
    expected = hmac.new(secret.encode(), f"{parts[0]}.{parts[1]}".encode(), sha256).digest()
    if not hmac.compare_digest(signature, expected):
        return None
    try:
        header, told = orjson.loads(head), orjson.loads(claims)
    except orjson.JSONDecodeError:
        return None
    return told if inner(header, "alg") == "HS256" and isinstance(told, dict) else None


def _decoded(part: str) -> bytes | None:
    """Return the bytes of base64url without padding; only the one spelling of them is taken."""
    try:
        found = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if base64.urlsafe_b64encode(found).rstrip(b"=").decode() == part else None


def _payload(request: Request) -> bytes:
    """Return what the hash is of: the body, or the query as compact JSON."""
    if request.method != "GET":
        return request.body
    return json.dumps(_query(request), separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _query(request: Request) -> dict[str, str]:
    return dict(readable_pairs(request.query))


def read(request: Request) -> Reading:
    """Return what an event tells, or each of a list."""
    body = _query(request) if request.method == "GET" else json_of(request.body)
    return read_each(body if isinstance(body, list) else [body], partial(_one, received_at_ms=request.received_at_ms))


def _one(told: Json, *, received_at_ms: int) -> Event | None:
    if not isinstance(told, dict):
        raise UnreadableError("the event is no object")
    if words(told.get("message_uuid")) is not None:
        return _message(told, received_at_ms)
    if words(told.get("recording_url")) is not None:
        return _recording(told, received_at_ms)
    if first(told.get("uuid"), told.get("conversation_uuid")) is None:
        raise UnreadableError("there is no uuid or message_uuid")
    return _call(told, received_at_ms)


def _call(told: Json, received_at_ms: int) -> Event | None:
    """Return the event of a call; what a machine hears on it, and its transfer, are none."""
    word = words(told.get("status"))
    status = None if word is None else CALL.get(word.lower())
    if status is None:
        return None
    call = required(words(told.get("uuid")), "uuid")
    direction = "outbound" if told.get("direction") == "outbound" else "inbound"
    names_party = ("from" if direction == "inbound" else "to") in told
    fields = plain(
        channel="voice",
        direction=direction,
        interaction_id=call,
        status=status,
        occurred_at=when(received_at_ms, told.get("timestamp")),
        from_=_address(told.get("from")),
        to=_address(told.get("to")),
        duration_s=seconds(told.get("duration")) if status == "ended" else None,
        provider="vonage",
    )
    calls = (call, words(told.get("conversation_uuid")))
    return Event(fields, tuple(each for each in calls if each is not None), names_party=names_party)


def _recording(told: Json, received_at_ms: int) -> Event | None:
    """Return the event of a recording, which names its call only by the conversation that the call was part of."""
    url = required(words(told.get("recording_url")), "recording_url")
    calls = tuple(each for name in ("uuid", "conversation_uuid") if (each := words(told.get(name))) is not None)
    if not calls:
        raise UnreadableError("there is no conversation_uuid")
    fields = plain(
        channel="voice",
        direction="inbound",
        interaction_id=calls[0],
        status="answered",
        event_id=words(told.get("recording_uuid")) or url,
        occurred_at=when(received_at_ms, told.get("timestamp"), told.get("end_time")),
        from_=None,
        to=None,
        recording_url=url,
        provider="vonage",
    )
    return Event(fields, calls, names_party=False)


def _message(told: Json, received_at_ms: int) -> Event | None:
    channel = _CHANNELS.get(str(first(told.get("channel"), inner(told, "from", "type")) or "sms").lower(), "chat")
    word = words(told.get("status"))
    status = "received" if word is None else status_of(word.lower(), MESSAGE, "status")
    error = first(inner(told, "error", "title"), inner(told, "error", "code"), inner(told, "error", "type"))
    reply = words(inner(told, "context", "message_uuid"))
    fields = plain(
        channel=channel,
        direction="inbound" if word is None else "outbound",
        interaction_id=required(words(told.get("message_uuid")), "message_uuid"),
        status=status,
        occurred_at=when(received_at_ms, told.get("timestamp")),
        from_=_named(told),
        to=_address(told.get("to")),
        text=first(told.get("text"), inner(told, "message", "content", "text"), *_captions(told)),
        attachments=_attachments(told),
        references=None if reply is None else [reply],
        provider="vonage",
        metadata=None if error is None else {"error": error},
    )
    return Event(fields)


def _captions(told: Json) -> list[Json]:
    return [inner(told, kind, "caption") for kind in _MEDIA]


def _named(told: Json) -> Json:
    address = _address(told.get("from"))
    name = words(inner(told, "profile", "name"))
    return address if address is None or name is None else {"address": address, "name": name}


def _address(told: Json) -> str | None:
    """Return an address, which older events wrap in an object."""
    return international(first(told, inner(told, "number"), inner(told, "id"), inner(told, "user")))


def _attachments(told: Json) -> list[Fields] | None:
    media = [inner(told, kind) for kind in _MEDIA]
    found = [plain(name=words(inner(each, "name")), url=url) for each in media if (url := words(inner(each, "url")))]
    return found or None


VENDOR: Final = Vendor(
    keys=frozenset({"signature_secret"}),
    media_types=frozenset({JSON}),
    needs=lambda _: (frozenset({"signature_secret"}),),
    check=check,
    read=read,
    gets=True,
)
