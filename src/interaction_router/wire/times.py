"""RFC 3339 times to milliseconds since the epoch and back."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LAST_MS = (datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC) - _EPOCH) // _MILLISECOND
_WHOLE_SECONDS = len("2026-11-22T08:15:30.")
_MILLISECONDS = tuple(f"{each:03d}Z" for each in range(1000))
_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ](?:[01]\d|2[0-3]):[0-5]\d:(?P<second>[0-5]\d|60)(?:\.\d+)?(?:[Zz]|[+-]\d\d:[0-5]\d)", re.ASCII
)


@lru_cache(maxsize=8192)
def _spell_second(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).isoformat()[: _WHOLE_SECONDS - 1] + "."


def spell_time(at_ms: int) -> str:
    """Return `2026-11-22T08:15:30.120Z`."""
    second, milliseconds = divmod(at_ms, 1000)
    return _spell_second(second) + _MILLISECONDS[milliseconds]


@lru_cache(maxsize=8192)
def _second_ms(prefix: str) -> int:
    return (datetime.fromisoformat(f"{prefix}000+00:00") - _EPOCH) // _MILLISECOND


def spelt_time_ms(text: str) -> int:
    """Return the time that `spell_time` spelt."""
    return _second_ms(text[:_WHOLE_SECONDS]) + int(text[_WHOLE_SECONDS:-1])


def read_time(text: str) -> int | None:
    """Return the milliseconds of an RFC 3339 time, cut off, not rounded; None where it is no time since 1970 UTC.

    Nobody's exchange happened before 1970; such a time is a provider's unset field. After the year 9999 in UTC there
    is no way to write it. A leap second is the second after it. Source: RFC 3339 section 5.6.
    """
    match = _RFC_3339.fullmatch(text)
    if match is None:
        return None
    leap = match["second"] == "60"
    if leap:
        text = f"{text[: match.start('second')]}59{text[match.end('second') :]}"
    try:
        at_ms = (datetime.fromisoformat(text.upper()) - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        return None
    if leap:
        at_ms = at_ms - at_ms % 1000 + 1000
    return at_ms if 0 <= at_ms <= _LAST_MS else None
