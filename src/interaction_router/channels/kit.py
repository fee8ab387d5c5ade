"""What a vendor's file is made of: the request it reads, what it may say, and how to look into JSON from outside."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal, TypeVar

from interaction_router.wire.times import read_time, spell_time

Fields = dict[str, Any]  # Any: the public JSON of a raw interaction
Json = Any  # Any: JSON from outside
Credentials = Mapping[str, str]
Verdict = Literal["authentic", "missing", "wrong"]
Item = TypeVar("Item")

_INTERNATIONAL: Final = re.compile(r"[1-9]\d{6,14}", re.ASCII)
_NUMBER_SIGNS: Final = re.compile(r"[\s().-]+")
_LARGEST_SIZE: Final = 1 << 53
_MILLISECONDS_FROM: Final = 1e11
"""A Unix time above this is in milliseconds: in seconds it would be the year 5138."""


class UnreadableError(Exception):
    """A payload, or one item of it, that is authentic and makes no sense; it says what, and nothing of the payload."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the vendor made it: `url` is the address that it called, header names are in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    received_at_ms: int

    @property
    def query(self) -> str:
        """The query of the address, without its question mark."""
        return self.url.partition("?")[2].partition("#")[0]

    @property
    def media_type(self) -> str:
        """What the body is, in lower case and without parameters; empty where it is not said."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Event:
    """A raw interaction without its tenant.

    `calls` are the ids that later events without a party name its call by; `names_party` tells such an event.
    """

    fields: Fields
    calls: tuple[str, ...] = ()
    names_party: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """What a payload tells; `unread` says why some of it could not be read. Neither: there is nothing to tell."""

    events: tuple[Event, ...] = ()
    unread: str | None = None


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor: its proof, its payloads.

    `needs` names the settings without which a request cannot be checked, any one group of them.
    """

    keys: frozenset[str]
    media_types: frozenset[str]
    needs: Callable[[Request], Sequence[frozenset[str]]]
    check: Callable[[Request, Credentials], Verdict]
    read: Callable[[Request], Reading]
    gets: bool = False
    challenge: Callable[[Request], str] | None = None
    token: Callable[[Request], str | None] | None = None
    answer: tuple[str, bytes] = ("application/json", b"{}")


FORM: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
JSON: Final = "application/json"


def read_each(items: Iterable[Item], read: Callable[[Item], Event | None]) -> Reading:
    """Read every item of a batch; those that make no sense do not keep the others back."""
    events: list[Event] = []
    unread: str | None = None
    for item in items:
        try:
            event = read(item)
        except UnreadableError as error:
            unread = unread or str(error)
        else:
            if event is not None:
                events.append(event)
    return Reading(tuple(events), unread)


def with_topics(events: Sequence[Event], channels: Sequence[str]) -> tuple[Sequence[Event], str | None]:
    """Return the events whose channels have a topic, and, where there are others, why those are not told."""
    known = [event for event in events if event.fields["channel"] in channels]
    return known, None if len(known) == len(events) else "its channel is not among the setting `channels`"


def words(value: object) -> str | None:
    """Return text, or a number as text; None for all else, and for text without a word."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(value)


def first(*values: object) -> str | None:
    """Return the first of the values that is text."""
    return next((text for value in values if (text := words(value)) is not None), None)


def inner(value: object, *names: str) -> Json:
    """Return what stands under the names, one in the other; None where one is missing."""
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def listed(value: object) -> list[Json]:
    """Return a list, or none."""
    return value if isinstance(value, list) else []


def required(value: str | None, name: str) -> str:
    """Return the text.

    Raises:
        UnreadableError: there is none.
    """
    if value is None:
        raise UnreadableError(f"there is no {name}")
    return value


def seconds(value: object) -> float | None:
    """Return a length of time in seconds, written as a number or as text."""
    number = _number(value)
    return number if number is not None and number >= 0 else None


def size(value: object) -> int | None:
    """Return a number of bytes."""
    number = _number(value)
    return int(number) if number is not None and 0 <= number <= _LARGEST_SIZE else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def when(received_at_ms: int, *values: object) -> str:
    """Return the first of the values that is a time, as RFC 3339; where none is, when it was received.

    Takes ISO 8601 (UTC where it has no offset), RFC 5322, and Unix time in seconds or milliseconds.
    """
    for value in values:
        at_ms = _at_ms(value)
        if at_ms is not None:
            return spell_time(at_ms)
    return spell_time(received_at_ms)


def _at_ms(value: object) -> int | None:
    number = _number(value)
    if number is not None:
        at_ms = number if number > _MILLISECONDS_FROM else number * 1000
        return _known(at_ms / 1000)
    if not isinstance(value, str):
        return None
    text = value.strip()
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            at = parse(text)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
            return _known(at.timestamp())
        except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
            continue
    return None


def _known(at_s: float) -> int | None:
    """Return milliseconds of a time that a record may have."""
    try:
        text = spell_time(round(at_s * 1000))
    except (OverflowError, ValueError):
        return None
    return read_time(text)


def international(address: str | None) -> str | None:
    """Return a number that the vendor means internationally with its `+`; short codes and names as they are."""
    if address is None:
        return None
    text = _NUMBER_SIGNS.sub("", address)
    return f"+{text}" if _INTERNATIONAL.fullmatch(text) else address.strip()


def plain(**fields: object) -> Fields:
    """Return the fields that have a value; an address that is withheld is null and stays."""
    return {
        key.rstrip("_"): value
        for key, value in fields.items()
        if value is not None or key.rstrip("_") in {"from", "to"}
    }
