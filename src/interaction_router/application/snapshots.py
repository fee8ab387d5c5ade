"""Snapshots: a partition's tables as they were at one place of its outcomes, kept in a compacted topic.

A snapshot is some chunks, under keys that no other snapshot has, and behind them a manifest, always under the same key:
until that is written, the one of before is the latest. The chunks of before then get tombstones. The lines in a chunk
are those of `rowlines`.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from interaction_router.application.folding import Base, Folding
from interaction_router.application.outcomes import OUTCOMES, read_range
from interaction_router.application.rowlines import lines_of, read_lines, take_line
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.domain.errors import FatalError
from interaction_router.ports import Log, Observer, Outgoing, Received, Tables, Upkeep, Writes

SNAPSHOTS: Final = "internal.snapshots"
CHUNK_BYTES: Final = 512 * 1024
"""A chunk is closed behind the line that passes this; a record may be larger by one row."""

KEPT: Final = 1000
"""Outcomes that are never removed: a takeover looks at the last ones for what was not told yet."""

_MANIFEST: Final = b"manifest"
_BACK: Final = 64
"""Records at the end of a partition that are looked at first for the manifest; then twice as many, and so on."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The latest snapshot of a partition: its chunks are the records under `key` from offset `start` to `manifest`."""

    applied: int
    lineage: str
    key: str
    chunks: int
    start: int
    manifest: int


class Snapshots:
    """Reads and writes the snapshots of one log's tables."""

    def __init__(self, log: Log, *, lineage: str, observer: Observer = UNOBSERVED) -> None:
        """Snapshots of other lineages are passed over."""
        self._log = log
        self._lineage = lineage
        self._observer = observer
        self._there: bool | None = None

    async def latest(self, partition: int) -> Snapshot | None:
        """Return the latest snapshot; None where there is none, or no topic for it."""
        if not await self._is_there():
            return None
        first, end = await self._log.bounds(SNAPSHOTS, partition)
        back, until = _BACK, end
        while until > first:
            start = max(first, end - back)
            found = None
            async for records in read_range(self._log, SNAPSHOTS, partition, start, until):
                found = next((each for each in reversed(records) if each.key == _MANIFEST), found)
            if found is not None:
                snapshot = _snapshot(found)
                return snapshot if snapshot.lineage == self._lineage else None
            until, back = start, 2 * back
        return None

    async def _is_there(self) -> bool:
        """Tell whether there is a topic: a namespace may be older than snapshots."""
        if self._there is None:
            try:
                self._there = await self._log.partitions(SNAPSHOTS) > 0
            except FatalError as error:
                if error.code != "topic_missing":
                    raise
                self._there = False
        return self._there

    def base(self, partition: int, tables: Tables) -> Base:
        """Return what fills tables for a `Folding` with the latest snapshot, where there is one."""

        async def fill(into: int) -> None:
            snapshot = await self.latest(partition)
            if snapshot is not None:
                await self.restore(snapshot, partition, tables, into)

        return fill

    async def restore(self, snapshot: Snapshot, partition: int, tables: Tables, into: int) -> None:
        """Put a snapshot into empty tables that nobody reads.

        Raises:
            FatalError: it is not whole.
        """
        chunks = 0
        async for record in self._chunks(partition, snapshot.start, snapshot.manifest):
            if record.value is None or not (record.key or b"").startswith(f"{snapshot.key}/".encode()):
                continue
            writes = Writes()
            for line in read_lines(record.value.splitlines()):
                take_line(line, writes)
            await tables.apply(into, after=-1, applied=-1, writes=writes)
            chunks += 1
        if chunks != snapshot.chunks:
            cause = f"The snapshot of partition {partition} has {chunks} of {snapshot.chunks} chunks."
            raise FatalError("snapshot_unreadable", cause, "Rebuild with --from-start, or take a new snapshot.")
        await tables.apply(into, after=-1, applied=snapshot.applied, writes=Writes())

    async def write(self, partition: int, fold: Folding, tables: tuple[Tables, Upkeep]) -> int:
        """Write what the tables, which nobody else moves, have of a fold; return the number of chunks."""
        first, start = await self._log.bounds(SNAPSHOTS, partition)
        key, number = f"{fold.applied}@{start}", 0
        async for chunk in _chunks(tables, partition):
            await self._log.append(SNAPSHOTS, partition, [Outgoing(f"{key}/{number}".encode(), chunk)])
            await self._observer.reached("snapshot_chunk_written", partition)
            number += 1
        manifest = {"applied": fold.applied, "lineage": self._lineage, "key": key, "chunks": number, "start": start}
        await self._log.append(SNAPSHOTS, partition, [Outgoing(_MANIFEST, orjson.dumps(manifest))])
        await self._observer.reached("snapshot_written", partition)
        if old := await self._living(partition, first, start):
            await self._log.append(SNAPSHOTS, partition, [Outgoing(each, None) for each in old])
        await self._observer.reached("snapshot_tidied", partition)
        return number

    async def read_back(self, partition: int, tables: Tables, into: int) -> None:
        """See that the latest snapshot is whole, in a partition of a scratch.

        Raises:
            FatalError: it is not, or there is none.
        """
        snapshot = await self.latest(partition)
        if snapshot is None:
            raise FatalError("snapshot_unreadable", f"The snapshot of partition {partition} is gone.", "Try again.")
        await self.restore(snapshot, partition, tables, into)

    async def removable(self, partition: int, outcome: int) -> int:
        """Return the offset before which no outcome is needed, where `outcome` is the last one in the latest snapshot."""
        first, end = await self._log.bounds(OUTCOMES, partition)
        return max(first, min(outcome + 1, end - KEPT))

    async def _living(self, partition: int, start: int, end: int) -> list[bytes]:
        """Return the keys of chunks that stand there, also those that somebody who died has left."""
        keys: dict[bytes, None] = {}
        async for record in self._chunks(partition, start, end):
            if record.value is None:
                keys.pop(record.key or b"", None)
            elif record.key != _MANIFEST:
                keys[record.key or b""] = None
        return list(keys)

    async def _chunks(self, partition: int, start: int, end: int) -> AsyncIterator[Received]:
        while start < end:
            records = await self._log.read(SNAPSHOTS, partition, start, limit=16)
            if not records:
                return
            for record in records:
                if record.offset < end:
                    yield record
            start = records[-1].offset + 1


async def _chunks(tables: tuple[Tables, Upkeep], partition: int) -> AsyncIterator[bytes]:
    """Yield what a partition holds as lines, so many at a time as a record takes."""
    held, upkeep = tables
    lines: list[bytes] = []
    size = 0
    async for names in upkeep.names(partition):
        rows = (await held.load(partition, names.rows)).rows
        scores = (await upkeep.scores(partition, names.members)).scores
        for line in lines_of(zip(names.rows, rows, strict=True), zip(names.members, scores, strict=True)):
            lines.append(orjson.dumps(line))
            size += len(lines[-1])
            if size > CHUNK_BYTES:
                yield _joined(lines)
                lines, size = [], 0
    if lines:
        yield _joined(lines)


def _joined(lines: Sequence[bytes]) -> bytes:
    return b"\n".join(lines)


def _snapshot(record: Received) -> Snapshot:
    fields = orjson.loads(record.value or b"{}")
    try:
        return Snapshot(**fields, manifest=record.offset)
    except TypeError as error:
        cause = "The manifest of a snapshot is not in a form that this version knows."
        raise FatalError("snapshot_unreadable", cause, "Rebuild with --from-start, or take a new snapshot.") from error
