"""WhatsApp Cloud of Meta: every message and status of a batch. Source: developers.facebook.com/docs/whatsapp, 2026."""

from collections.abc import Iterator
from functools import partial
from typing import Final

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
    listed,
    plain,
    read_each,
    required,
    when,
    words,
)
from interaction_router.channels.proofs import hex_hmac, same
from interaction_router.channels.statuses import status_of

_STATUSES: Final = {"sent": "sent", "delivered": "delivered", "read": "read", "played": "read", "failed": "failed"}
_QUIET: Final = frozenset({"deleted", "warning"})
_MEDIA: Final = ("image", "video", "audio", "voice", "document", "sticker")


def check(request: Request, credentials: Credentials) -> Verdict:
    """Compare the signature of the body; of a challenge, the token that was agreed on."""
    if request.method == "GET":
        given = _query(request).get("hub.verify_token")
        if not given:
            return "missing"
        subscribes = _query(request).get("hub.mode") == "subscribe"
        return "authentic" if same(given, credentials["verify_token"]) and subscribes else "wrong"
    signature = request.headers.get("x-hub-signature-256")
    if not signature:
        return "missing"
    expected = f"sha256={hex_hmac(credentials['app_secret'], request.body)}"
    return "authentic" if same(signature.strip(), expected) else "wrong"


def challenge(request: Request) -> str:
    """Return what the answer to a challenge is."""
    return _query(request).get("hub.challenge", "")


def _query(request: Request) -> dict[str, str]:
    return dict(readable_pairs(request.query))


def read(request: Request) -> Reading:
    """Return what every change of every entry tells."""
    body = json_of(request.body)
    if not isinstance(body, dict) or not isinstance(body.get("entry"), list):
        raise UnreadableError("there is no list `entry`")
    return read_each(_items(body), partial(_one, received_at_ms=request.received_at_ms))


def _items(body: Json) -> Iterator[tuple[str, Json, Json]]:
    for entry in listed(body.get("entry")):
        for change in listed(inner(entry, "changes")):
            value = inner(change, "value")
            for kind in ("messages", "message_echoes", "statuses"):
                yield from ((kind, each, value) for each in listed(inner(value, kind)))


def _one(item: tuple[str, Json, Json], *, received_at_ms: int) -> Event | None:
    kind, told, value = item
    if not isinstance(told, dict):
        raise UnreadableError(f"an item of `{kind}` is no object")
    own = _own_number(value)
    if kind == "statuses":
        return _status(told, own, received_at_ms)
    sender = international(first(told.get("from"), told.get("from_user_id")))
    echoed = kind == "message_echoes"
    fields = plain(
        channel="whatsapp",
        direction="outbound" if echoed else "inbound",
        interaction_id=required(words(told.get("id")), "id of a message"),
        status="sent" if echoed else "received",
        occurred_at=when(received_at_ms, told.get("timestamp")),
        from_=sender if echoed else _named(sender, told, value),
        to=international(first(told.get("to"), told.get("to_user_id"))) if echoed else own,
        text=_text(told),
        attachments=_attachments(told),
        references=None if (reply := words(inner(told, "context", "id"))) is None else [reply],
        provider="whatsapp",
        metadata=None if (kind_ := words(told.get("type"))) is None else {"type": kind_},
    )
    return Event(fields)


def _status(told: Json, own: str | None, received_at_ms: int) -> Event | None:
    word = required(words(told.get("status")), "status")
    if word in _QUIET:
        return None
    status = status_of(word, _STATUSES, "status")
    error = words(inner(next(iter(listed(told.get("errors"))), None), "code"))
    fields = plain(
        channel="whatsapp",
        direction="outbound",
        interaction_id=required(words(told.get("id")), "id of a status"),
        status=status,
        occurred_at=when(received_at_ms, told.get("timestamp")),
        from_=own,
        to=international(first(told.get("recipient_id"), told.get("recipient_user_id"))),
        provider="whatsapp",
        metadata=None if error is None else {"error_code": error},
    )
    return Event(fields)


def _own_number(value: Json) -> str | None:
    """Return the tenant's number, which comes as it is shown: with spaces, perhaps without its `+`."""
    return international(words(inner(value, "metadata", "display_phone_number")))


def _named(sender: str | None, told: Json, value: Json) -> Json:
    """Return the sender with the name of its profile."""
    if sender is None:
        return None
    ids = {words(told.get("from")), words(told.get("from_user_id"))} - {None}
    for contact in listed(inner(value, "contacts")):
        name = words(inner(contact, "profile", "name"))
        if name is not None and {words(inner(contact, "wa_id")), words(inner(contact, "user_id"))} & ids:
            return {"address": sender, "name": name}
    return sender


def _text(told: Json) -> str | None:
    return first(
        inner(told, "text", "body"),
        inner(told, "button", "text"),
        inner(told, "interactive", "button_reply", "title"),
        inner(told, "interactive", "list_reply", "title"),
        inner(told, "reaction", "emoji"),
        *(inner(told, kind, "caption") for kind in _MEDIA),
    )


def _attachments(told: Json) -> list[Fields] | None:
    found: list[Fields] = []
    for kind in _MEDIA:
        media = inner(told, kind)
        if isinstance(media, dict):
            named = {"name": "filename", "content_type": "mime_type", "url": "url", "id": "id", "sha256": "sha256"}
            found.append({name: text for name, key in named.items() if (text := words(media.get(key))) is not None})
    return found or None


VENDOR: Final = Vendor(
    keys=frozenset({"app_secret", "verify_token"}),
    media_types=frozenset({JSON}),
    needs=lambda request: (frozenset({"verify_token" if request.method == "GET" else "app_secret"}),),
    check=check,
    read=read,
    gets=True,
    challenge=challenge,
)
