"""Bytes to a JSON object, without what JSON readers disagree on.

Source: RFC 8259; RFC 7493 (I-JSON) for duplicate keys, lone surrogates and numbers: an integer that 64 bits do not
hold is read as the nearest double, as most readers of the update will.
"""

import json
from typing import Any, Final

import orjson

from interaction_router.domain.errors import RejectedError

BYTES_LIMIT: Final = 1 << 20
DEPTH_LIMIT: Final = 32

JsonObject = dict[str, Any]  # Any: JSON from outside, before it is validated


def read_object(value: bytes | None) -> JsonObject:
    """Return the one object that a record's value is.

    Raises:
        RejectedError: `too_large` over 1 MiB; `malformed_json` for what is no JSON object of unique keys, at most
            32 deep.
    """
    if value is None:
        raise RejectedError("malformed_json", "there is no value")
    if len(value) > BYTES_LIMIT:
        raise RejectedError("too_large", f"the record is over {BYTES_LIMIT} bytes")
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise RejectedError("malformed_json", f"not JSON, at byte {error.pos} or before it") from None
    if type(parsed) is not dict:
        raise RejectedError("malformed_json", "JSON, but no object")
    if not _accounts_for(value, _strings(parsed, 1)) and _has_duplicates(value):
        raise RejectedError("malformed_json", "an object names a key twice")
    return parsed


def _strings(container: Any, depth: int) -> int:
    """Return how many strings the container holds, keys counted too."""
    if depth > DEPTH_LIMIT:
        raise RejectedError("malformed_json", f"nested more than {DEPTH_LIMIT} deep")
    if type(container) is dict:
        count = len(container)
        members = container.values()
    else:
        count = 0
        members = container
    for member in members:
        kind = type(member)
        if kind is str:
            count += 1
        elif kind is dict or kind is list:
            count += _strings(member, depth + 1)
    return count


def _accounts_for(value: bytes, strings: int) -> bool:
    """Return whether each string of the text is in what was parsed, for sure: a key named twice leaves one out.

    Every string of the text has two quotation marks, and one within a string is escaped. Where no backslash is
    itself escaped, each backslash before a mark escapes that mark.
    """
    marks = value.count(b'"')
    if marks == 2 * strings:
        return True
    return b"\\\\" not in value and marks - value.count(b'\\"') == 2 * strings


class _DuplicateError(Exception):
    """A key is there twice."""


def _has_duplicates(value: bytes) -> bool:
    try:
        json.loads(value.decode(), object_pairs_hook=_unique, parse_int=str, parse_float=str)
    except _DuplicateError:
        return True
    return False


def _unique(pairs: list[tuple[str, object]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise _DuplicateError
