"""The plain JSON gateway: raw interactions as the contract has them, one or a list, each answered by itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from interaction_router.domain.errors import RejectedError
from interaction_router.wire.interactions import RawInteraction, interaction_of
from interaction_router.wire.strict_json import BYTES_LIMIT, JsonObject, read_object

ITEMS_LIMIT: Final = 1_000
KEYS: Final = frozenset({"token"})
_SPACE: Final = " \t\n\r"


class ForeignTenantError(Exception):
    """An item says that it is of another tenant than the path."""


class TooManyItemsError(Exception):
    """A list has more items than one request may bring."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An item that keeps to the rules, and the bytes of its record."""

    value: bytes
    raw: RawInteraction


Item = Accepted | RejectedError


@dataclass(frozen=True, slots=True)
class Batch:
    """The items of a request in their order; `is_list` tells how it is answered."""

    items: tuple[Item, ...]
    is_list: bool


def read_batch(body: bytes, *, tenant: str, key: str | None, channels: tuple[str, ...]) -> Batch:
    """Return the items of a body; `key` is the `Idempotency-Key`, the event's id where an item has none.

    Raises:
        ForeignTenantError: an item names another tenant; none may be taken.
        TooManyItemsError: likewise.
    """
    try:
        pieces = _pieces(body)
    except (ValueError, RecursionError):
        return Batch((RejectedError("malformed_json", "not JSON"),), is_list=False)
    if pieces is None:
        return Batch((_item(body, tenant, key, channels),), is_list=False)
    if len(pieces) > ITEMS_LIMIT:
        raise TooManyItemsError
    keys = (None if key is None else f"{key}/{index}" for index in range(len(pieces)))
    return Batch(
        tuple(_item(piece, tenant, each, channels) for piece, each in zip(pieces, keys, strict=True)), is_list=True
    )


def _pieces(body: bytes) -> list[bytes] | None:
    """Return the texts of a list's items, each as it came; None where the body is no list.

    Raises:
        ValueError: it begins as a list and is none.
        RecursionError: it is nested without reason.
    """
    if not body.lstrip(_SPACE.encode()).startswith(b"["):
        return None
    text = body.decode("utf-8", "surrogatepass")
    decode = json.JSONDecoder(parse_int=str).raw_decode  # `int` takes no more than 4,300 digits
    pieces: list[bytes] = []
    at = _skip(text, text.index("[") + 1)
    while text[at : at + 1] != "]" or pieces:
        _, end = decode(text, at)
        pieces.append(text[at:end].encode("utf-8", "surrogatepass"))
        at = _skip(text, end)
        if text[at : at + 1] != ",":
            break
        if len(pieces) > ITEMS_LIMIT:
            return pieces
        at = _skip(text, at + 1)
    if text[at : at + 1] != "]" or _skip(text, at + 1) != len(text):
        raise ValueError("the list does not end")
    return pieces


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _item(value: bytes, tenant: str, key: str | None, channels: tuple[str, ...]) -> Item:
    try:
        return _accepted(value, tenant, key, channels)
    except RejectedError as error:
        return error


def _accepted(value: bytes, tenant: str, key: str | None, channels: tuple[str, ...]) -> Accepted:
    fields = read_object(value)
    named = fields.get("tenant")
    if isinstance(named, str) and named != tenant:
        raise ForeignTenantError
    added: dict[str, str] = {}
    if "tenant" not in fields:
        added["tenant"] = tenant
    if key is not None and not fields.get("event_id"):
        added["event_id"] = key
    value = _with(value, fields, added)
    fields = {**fields, **added}
    channel = fields.get("channel")
    if isinstance(channel, str) and channel not in channels:
        raise RejectedError("channel_mismatch", f"has to be one of {', '.join(channels)}", field="channel")
    raw = interaction_of(fields, channel_of_topic=str(channel))
    if len(value) > BYTES_LIMIT:
        raise RejectedError("too_large", f"the record is over {BYTES_LIMIT} bytes")
    return Accepted(value, raw)


def _with(value: bytes, fields: JsonObject, added: Mapping[str, Any]) -> bytes:
    """Return the object's text with more fields in it: as it came, but where an empty field has to give way."""
    if not added:
        return value
    if any(name in fields for name in added) or not fields:
        return orjson.dumps({**fields, **added})
    return b"{" + orjson.dumps(added)[1:-1] + b"," + value.lstrip(_SPACE.encode())[1:]
