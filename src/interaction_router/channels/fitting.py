"""Makes a raw interaction fit the rules of records: no authentic event is refused for its size or form."""

import re
from hashlib import blake2b
from typing import Any, Final

import orjson

from interaction_router.channels.bodies import scrubbed
from interaction_router.channels.kit import Fields
from interaction_router.wire.schema import TEXT_LIMIT
from interaction_router.wire.strict_json import BYTES_LIMIT

TEXT_BYTES: Final = 256 * 1024
"""The most that `text`, `html` and `reply` may each take, in UTF-8."""

LINE_BYTES: Final = 2 * 1024
"""The most of any other text, such as a subject or an attachment's name."""

ITEMS: Final = 100

_ROOM_BYTES: Final = 2 * 1024
"""What is kept free of a record for the tenant and for what `metadata.shortened` says."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ADDRESSES: Final = frozenset({"from", "to"})
_IDS: Final = frozenset({"interaction_id", "event_id"})
_LONG: Final = frozenset({"text", "html", "reply"})
_LISTS: Final = ("attachments", "references", "cc")


def fitted(fields: Fields) -> Fields:
    """Return the fields with what is too long shortened, which `metadata.shortened` names, and bad addresses null."""
    shortened: list[str] = []
    found = {name: _fitted(name, value, shortened) for name, value in fields.items()}
    _shrink(found, shortened)
    if shortened:
        found["metadata"] = {**(found.get("metadata") or {}), "shortened": ",".join(dict.fromkeys(shortened))}
    return found


def _fitted(name: str, value: Any, shortened: list[str]) -> Any:  # Any: JSON of a raw interaction
    if name in _IDS:
        return _id(value)
    if name == "references" and len(value) > ITEMS:
        shortened.append(name)
        value = value[-ITEMS:]
    if isinstance(value, list) and len(value) > ITEMS:
        shortened.append(name)
        value = value[:ITEMS]
    if name in _ADDRESSES:
        return [_party(each) for each in value] if isinstance(value, list) else _party(value)
    return _cut(name, value, TEXT_BYTES if name in _LONG else LINE_BYTES, shortened)


def _cut(name: str, value: Any, limit: int, shortened: list[str]) -> Any:  # Any: JSON of a raw interaction
    match value:
        case str():
            if value.isascii() and len(value) <= limit:
                return value
            text = scrubbed(value)
            encoded = text.encode()
            if len(encoded) <= limit:
                return text
            shortened.append(name)
            return encoded[:limit].decode("utf-8", "ignore")
        case list():
            return [_cut(name, item, limit, shortened) for item in value]
        case dict():
            return {scrubbed(key): _cut(name, item, limit, shortened) for key, item in value.items()}
        case _:
            return value


def _id(value: str) -> str:
    """Return an id; one that no record may have, by its digest: its repeat has the same."""
    text = scrubbed(value).strip()
    if text and len(text) <= TEXT_LIMIT and not _CONTROL.search(text):
        return text
    return f"synthetic:{blake2b(value.encode('utf-8', 'replace'), digest_size=16).hexdigest()}"


def _party(value: Any) -> Any:  # Any: an address of a raw interaction
    if isinstance(value, dict):
        name = value.get("name")
        address = _party(value.get("address"))
        return {"address": address, **({"name": _cut("name", name, LINE_BYTES, [])} if name else {})}
    if not isinstance(value, str):
        return None
    text = scrubbed(value).strip()
    return None if len(text) > TEXT_LIMIT or _CONTROL.search(text) else text


def _shrink(fields: Fields, shortened: list[str]) -> None:
    """Shorten further what JSON has made too long for a record: each control character takes six bytes there."""
    while len(orjson.dumps(fields)) > BYTES_LIMIT - _ROOM_BYTES:
        long = max(_LONG, key=lambda name: len(fields.get(name) or ""))
        if len(fields.get(long) or "") > LINE_BYTES:
            fields[long] = fields[long][: len(fields[long]) // 2]
            shortened.append(long)
            continue
        name = next((each for each in _LISTS if fields.get(each)), "metadata")
        shortened.append(name)
        fields[name] = {} if name == "metadata" else []
