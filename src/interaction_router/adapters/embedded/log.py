"""The log in SQLite: streams of ordered partitions, and the offsets that groups have committed."""

import asyncio
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.domain.errors import FatalError
from interaction_router.ports import Bounds, Clock, Outgoing, Received

READ_BYTES = 16 * 1024 * 1024
"""A read stops behind the record that passes this, whatever its limit: what a batch may hold in memory."""


class Record(NamedTuple):
    """A record as it was read; satisfies `ports.Received`."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class _Stream:
    """A stream's row."""

    id: int
    partitions: int
    compacted: bool
    lineage: str


class EmbeddedLog:
    """`ports.Log` on an embedded database; one object a database, since it alone wakes those who wait.

    Offsets count from 0. An append is one transaction: all of its records or none, never a part.
    """

    def __init__(self, database: EmbeddedDatabase, clock: Clock) -> None:
        """Stamp records that bring no time of their own by `clock`."""
        self._database = database
        self._clock = clock
        self._streams: dict[str, _Stream] = {}
        self._bells: dict[tuple[str, int], set[asyncio.Event]] = {}
        with database.reading() as connection:
            for name, *columns in connection.execute("SELECT name, id, partitions, compacted, lineage FROM stream"):
                identity, partitions, compacted, lineage = columns
                self._streams[name] = _Stream(identity, partitions, bool(compacted), lineage)

    async def create(self, stream: str, partitions: int, *, compacted: bool = False) -> None:
        """Make the stream, or add partitions to it; no change where it is so already.

        A compacted one keeps the last record of each key, at once.

        Raises:
            FatalError: it has more partitions than that, or is compacted and should not be, or the other way.
        """
        known = self._streams.get(stream)
        if known is not None and partitions < known.partitions:
            cause = f"{stream} has {known.partitions} partitions and cannot have {partitions}."
            raise FatalError("topic_shrinks", cause, "Ask for as many, or begin with a new file.")
        if known is not None and compacted is not known.compacted:
            cause = f"{stream} was made {'with' if known.compacted else 'without'} compaction."
            raise FatalError("topic_differs", cause, "Begin with a new file.")
        if known is not None and partitions == known.partitions:
            return
        lineage = uuid.uuid4().hex if known is None else known.lineage
        with self._database.writing() as connection:
            (identity,) = connection.execute(
                "INSERT INTO stream (name, partitions, compacted, lineage) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET partitions = excluded.partitions RETURNING id",
                (stream, partitions, compacted, lineage),
            ).fetchone()
        self._streams[stream] = _Stream(identity, partitions, compacted, lineage)

    async def partitions(self, stream: str) -> int:
        """Return how many partitions the stream has."""
        return self._stream(stream).partitions

    async def lineage(self, stream: str) -> str:
        """Return what tells this stream from one of the same name in another file."""
        return self._stream(stream).lineage

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        """Append in order, in one transaction, and wake those who wait for it."""
        place = self._place(stream, partition)
        if not records:
            return []
        now_ms = self._clock.now_ms()
        with self._database.writing() as connection:
            start = _bounds(connection, place).end
            connection.executemany(
                "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        *place,
                        offset,
                        now_ms if record.timestamp_ms is None else record.timestamp_ms,
                        _pack(record.headers),
                        record.key,
                        record.value,
                    )
                    for offset, record in enumerate(records, start)
                ),
            )
            if self._streams[stream].compacted:
                _compact(connection, place, start, records)
        for bell in self._bells.get((stream, partition), ()):
            bell.set()
        return list(range(start, start + len(records)))

    async def read(self, stream: str, partition: int, start: int, *, limit: int = 1000) -> Sequence[Received]:
        """Return up to `limit` records from `start` on, fewer where they are large."""
        place = self._place(stream, partition)
        records: list[Record] = []
        size = 0
        with self._database.reading() as connection:
            for offset, timestamp, headers, key, value in connection.execute(
                "SELECT offset, timestamp_ms, headers, key, value FROM record"
                " WHERE stream = ? AND partition = ? AND offset >= ? ORDER BY offset LIMIT ?",
                (*place, start, limit),
            ):
                records.append(Record(offset, timestamp, key, value, _unpack(headers)))
                size += len(value or b"")
                if size > READ_BYTES:
                    break
        return records

    async def bounds(self, stream: str, partition: int) -> Bounds:
        """Return where the partition begins and ends now."""
        place = self._place(stream, partition)
        with self._database.reading() as connection:
            return _bounds(connection, place)

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        """Return the first offset whose record is stamped `timestamp_ms` or later; looks at all that come before."""
        place = self._place(stream, partition)
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT offset FROM record WHERE stream = ? AND partition = ? AND timestamp_ms >= ?"
                " ORDER BY offset LIMIT 1",
                (*place, timestamp_ms),
            ).fetchone()
            return int(found[0]) if found else _bounds(connection, place).end

    async def trim(self, stream: str, partition: int, end: int) -> None:
        """Remove the records before an offset; the newest stays, since it tells where the partition ends."""
        place = self._place(stream, partition)
        with self._database.writing() as connection:
            connection.execute(
                "DELETE FROM record WHERE stream = ?1 AND partition = ?2 AND offset < ?3"
                " AND offset < (SELECT max(offset) FROM record WHERE stream = ?1 AND partition = ?2)",
                (*place, end),
            )

    async def commit(self, group: str, stream: str, partition: int, offset: int) -> None:
        """Keep the offset that a group goes on from."""
        self._place(stream, partition)
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO group_offset VALUES (?, ?, ?, ?)", (group, stream, partition, offset)
            )

    async def committed(self, group: str, stream: str, partition: int) -> int | None:
        """Return the offset that the group goes on from, None where it has committed none."""
        self._place(stream, partition)
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT offset FROM group_offset WHERE name = ? AND stream = ? AND partition = ?",
                (group, stream, partition),
            ).fetchone()
        return int(found[0]) if found else None

    @contextmanager
    def ringing(self, stream: str, partition: int, bell: asyncio.Event) -> Iterator[None]:
        """Set the event at every append to the partition, as long as the context lasts."""
        bells = self._bells.setdefault((stream, partition), set())
        bells.add(bell)
        try:
            yield
        finally:
            bells.discard(bell)

    def _stream(self, name: str) -> _Stream:
        """Return the stream's row or say that it is missing."""
        known = self._streams.get(name)
        if known is None:
            raise FatalError("topic_missing", f"There is no {name}.", "Run `interaction-router topics apply`.")
        return known

    def _place(self, name: str, partition: int) -> tuple[int, int]:
        """Return what names the partition in the database."""
        stream = self._stream(name)
        if not 0 <= partition < stream.partitions:
            cause = f"{name} has {stream.partitions} partitions, and {partition} is none of them."
            raise FatalError("partition_missing", cause, "Run `interaction-router topics apply`.")
        return stream.id, partition


def _bounds(connection: sqlite3.Connection, place: tuple[int, int]) -> Bounds:
    """Return the partition's bounds; the newest record always stands, so the end is behind it."""
    low, high = connection.execute(
        "SELECT (SELECT min(offset) FROM record WHERE stream = ?1 AND partition = ?2),"
        " (SELECT max(offset) FROM record WHERE stream = ?1 AND partition = ?2)",
        place,
    ).fetchone()
    return Bounds(0, 0) if high is None else Bounds(low, high + 1)


def _compact(connection: sqlite3.Connection, place: tuple[int, int], start: int, records: Sequence[Outgoing]) -> None:
    """Remove what stands under the keys of records appended from `start` on, but for the last of each."""
    for offset, record in enumerate(records, start):
        if record.key is None:
            continue
        found = connection.execute(
            "SELECT offset FROM latest WHERE stream = ? AND partition = ? AND key = ?", (*place, record.key)
        ).fetchone()
        if found:
            connection.execute("DELETE FROM record WHERE stream = ? AND partition = ? AND offset = ?", (*place, *found))
        connection.execute("INSERT OR REPLACE INTO latest VALUES (?, ?, ?, ?)", (*place, record.key, offset))


def _pack(headers: Sequence[tuple[str, bytes | None]]) -> bytes | None:
    """Write headers as JSON; Latin-1 takes every byte there and back, and null one that has no value."""
    texts = [(name, None if value is None else value.decode("latin-1")) for name, value in headers]
    return orjson.dumps(texts) if headers else None


def _unpack(packed: bytes | None) -> Sequence[tuple[str, bytes]]:
    """Read headers as `_pack` wrote them."""
    texts: list[tuple[str, Any]] = orjson.loads(packed) if packed else []  # Any: text, or null as Kafka allows
    return tuple((name, _header(value)) for name, value in texts)


def _header(value: Any) -> Any:  # Any: as above
    return None if value is None else value.encode("latin-1")
