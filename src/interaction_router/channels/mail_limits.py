"""Mail made small enough for a record (section 12 of the contract), and told that it was."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import orjson

from interaction_router.wire.strict_json import BYTES_LIMIT, JsonObject

TEXT_BYTES_LIMIT: Final = 256 * 1024
ITEMS_LIMIT: Final = 100
_TEXTS: Final = ("text", "html", "reply")
_LISTS: Final = ("to", "cc", "attachments", "references")
_LEAST_TEXT: Final = 1024

Item = TypeVar("Item")


def cut(text: str, limit: int) -> str:
    """Return the beginning of a text that is at most `limit` bytes of UTF-8."""
    if len(text) * 4 <= limit:
        return text
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[:limit].decode(errors="ignore")


def shortened(fields: JsonObject) -> JsonObject:
    """Return the raw interaction within its limits; `metadata.shortened` names the fields that lost something.

    Of `references` the last are kept, which are nearest; of other lists the first. A record that is over 1 MiB all
    the same, by what JSON has to escape, loses more of its texts.
    """
    names: list[str] = []
    fields = dict(fields)
    for name in _TEXTS:
        if isinstance(fields.get(name), str):
            _replace(fields, name, cut(fields[name], TEXT_BYTES_LIMIT), names)
    for name in _LISTS:
        if isinstance(fields.get(name), list):
            _replace(fields, name, _few(fields[name], last=name == "references"), names)
    limit = TEXT_BYTES_LIMIT
    while limit > _LEAST_TEXT and len(orjson.dumps(fields)) > BYTES_LIMIT - _LEAST_TEXT:
        limit //= 2
        for name in _TEXTS:
            if isinstance(fields.get(name), str):
                _replace(fields, name, cut(fields[name], limit), names)
    if names:
        fields["metadata"] = {**(fields.get("metadata") or {}), "shortened": ",".join(names)}
    return fields


def _few(items: Sequence[Item], *, last: bool) -> Sequence[Item]:
    if len(items) <= ITEMS_LIMIT:
        return items
    return items[-ITEMS_LIMIT:] if last else items[:ITEMS_LIMIT]


def _replace(fields: JsonObject, name: str, value: Any, names: list[str]) -> None:  # Any: a text or a list
    if value != fields[name]:
        fields[name] = value
        if name not in names:
            names.append(name)
