"""The internal topics and tables: domain types to bytes and back.

JSON that a person can read. A raw record goes beside it in Kafka headers, its bytes untouched. Every reader raises
`FatalError` for bytes that no version up to this one has written: guessing what they decide would lose the truth.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import orjson

from interaction_router.domain.errors import FatalError
from interaction_router.domain.events import Outcome
from interaction_router.domain.ids import Entity
from interaction_router.domain.messages import LogRecord, Raw
from interaction_router.domain.rows import Row
from interaction_router.ports import Outgoing
from interaction_router.wire.message_json import read_record, write_record
from interaction_router.wire.outcome_json import plain_outcome, read_outcome
from interaction_router.wire.row_json import plain_row, read_row
from interaction_router.wire.shapes import dumps

Headers = Sequence[tuple[str, bytes]]

_RAW: Final = "raw"
_RAW_KEY: Final = "raw_key"
_RAW_VALUE: Final = "raw_value"
_RAW_HEADER: Final = "raw."
_UNREADABLE: Final = (KeyError, TypeError, ValueError, AttributeError)

_Read = TypeVar("_Read")


def entity_key(entity: Entity) -> bytes:
    """Return the Kafka key of what is for the entity: `acme|endpoint|tel:+27821234567`."""
    return "|".join(entity).encode()


def encode_log_record(record: LogRecord) -> Outgoing:
    """Return the record as it is appended to the internal log."""
    return Outgoing(entity_key(record.to), write_record(record), raw_headers(record.raw))


def decode_log_record(value: bytes, headers: Headers, *, arrived_ms: int) -> LogRecord:
    """Return the record of the internal log; one without a stamp of its own has the time at which it arrived.

    Raises:
        FatalError: It is none.
    """
    try:
        return read_record(value, raw_of(headers) if headers else None, arrived_ms)
    except _UNREADABLE as error:
        raise _unreadable("log record", error) from error


def encode_outcome(outcome: Outcome) -> Outgoing:
    """Return the outcome as it is appended, stamped with its log time."""
    headers = () if outcome.raw is None else raw_headers(outcome.raw)
    return Outgoing(None, dumps(plain_outcome(outcome)), headers, outcome.decision.log_time_ms)


def decode_outcome(value: bytes, headers: Headers) -> Outcome:
    """Return the outcome.

    Raises:
        FatalError: It is none.
    """
    return _decoded("outcome", lambda: read_outcome(orjson.loads(value), raw_of(headers)))


def encode_row(row: Row) -> bytes:
    """Return the row as it stands in the tables."""
    return dumps(plain_row(row))


def decode_row(value: bytes) -> Row:
    """Return the row.

    Raises:
        FatalError: It is none.
    """
    return _decoded("row", lambda: read_row(orjson.loads(value)))


def raw_headers(raw: Raw | None) -> Headers:
    """Return the headers that carry a raw record: `raw`, `raw_key`, `raw_value`, and `raw.<name>` for its own."""
    if raw is None:
        return ()
    headers = [(_RAW, b"1")]
    if raw.key is not None:
        headers.append((_RAW_KEY, raw.key))
    if raw.value is not None:
        headers.append((_RAW_VALUE, raw.value))
    headers.extend((_RAW_HEADER + name, value) for name, value in raw.headers)
    return headers


def raw_of(headers: Headers) -> Raw | None:
    """Return the raw record that the headers carry; headers of others do not disturb."""
    if not headers:
        return None
    parts = {name: value for name, value in headers if name in {_RAW, _RAW_KEY, _RAW_VALUE}}
    if _RAW not in parts:
        return None
    own = tuple((name[len(_RAW_HEADER) :], value) for name, value in headers if name.startswith(_RAW_HEADER))
    return Raw(parts.get(_RAW_KEY), parts.get(_RAW_VALUE), own)


def _decoded(what: str, read: Callable[[], _Read]) -> _Read:
    try:
        return read()
    except _UNREADABLE as error:
        raise _unreadable(what, error) from error


def _unreadable(what: str, error: Exception) -> FatalError:
    return FatalError(
        f"{what.replace(' ', '_')}_unreadable",
        f"The {what} is not in a form that this version knows ({type(error).__name__}).",
        "Run the version that wrote it, or a newer one.",
    )
