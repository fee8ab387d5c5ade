"""Snapshots: a partition's tables as they were at one place of its outcomes, kept in a compacted topic.

A snapshot is some chunks and behind them a manifest, all under keys that no other snapshot has: until that is written,
the one of before is the latest. It counts only where no other manifest came before it from where it was meant to stand,
so that whoever takes a snapshot knows all that counted before its own. What stands before its chunks then gets
tombstones. The lines in a chunk are those of `rowlines`.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import uuid4

import orjson

from interaction_router.application.folding import Base, Folding
from interaction_router.application.outcomes import OUTCOMES, read_range
from interaction_router.application.rowlines import lines_of, writes_of
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.domain.errors import FatalError, RetryableError, RouterError
from interaction_router.ports import (
    Bounds,
    Log,
    Observer,
    Outgoing,
    Received,
    Restoring,
    Standing,
    Tables,
    Upkeep,
    Writes,
)

SNAPSHOTS: Final = "internal.snapshots"
CHUNK_BYTES: Final = 512 * 1024
"""A chunk is closed behind the line that passes this; a record may be larger by one row."""

KEPT: Final = 1000
"""Outcomes that are never removed: a takeover looks at the last ones for what was not told yet."""

_ANEW: Final = "Rebuild with --from-start, or take a new snapshot."
_MANIFEST: Final = b"manifest/"
_BACK: Final = 64
"""Records at the end of a partition that are looked at first for the manifest; then twice as many, and so on."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot of a partition: its chunks are the records under `key` from offset `start` to `manifest`.

    That is where its manifest was meant to stand; there, or behind chunks of others.
    """

    applied: int
    lineage: str
    key: str
    chunks: int
    start: int
    manifest: int


class Snapshots:
    """Reads and writes the snapshots of one log's tables."""

    def __init__(self, log: Log, *, lineage: str, observer: Observer = UNOBSERVED) -> None:
        """Snapshots of another `lineage` are passed over."""
        self._log = log
        self.lineage = lineage
        self._observer = observer
        self._there: bool | None = None

    async def latest(self, partition: int) -> Snapshot | None:
        """Return the latest snapshot; None where there is none, or no topic for it."""
        if not await self._is_there():
            return None
        looked_at = None
        while looked_at != (bounds := await self._log.bounds(SNAPSHOTS, partition)):
            looked_at = bounds  # what is removed while it is looked for has another one behind it
            snapshot = await self._latest_within(partition, bounds)
            if snapshot is not None:
                return snapshot if snapshot.lineage == self.lineage else None
        return None

    async def _latest_within(self, partition: int, bounds: Bounds) -> Snapshot | None:
        back, until = _BACK, bounds.end
        while until > bounds.first:
            start = max(bounds.first, bounds.end - back)
            manifests = [each async for each in self._manifests(partition, start, until)]
            for record, snapshot in reversed(manifests):
                between = self._manifests(partition, snapshot.manifest, record.offset)
                if all([other.key == snapshot.key async for _, other in between]):
                    return snapshot
            until, back = start, 2 * back
        return None

    async def _manifests(self, partition: int, start: int, end: int) -> AsyncIterator[tuple[Received, Snapshot]]:
        """Yield the manifests that stand there, counting or not."""
        async for records in read_range(self._log, SNAPSHOTS, partition, start, end):
            for record in records:
                snapshot = _snapshot(record)
                if snapshot is not None:
                    yield record, snapshot

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
            await self.restore(partition, tables, into=into)

        return fill

    async def restore(
        self, partition: int, tables: Tables, *, into: int, after: int = -1, told: Callable[[], None] = lambda: None
    ) -> None:
        """Bring tables that are at `after` to the latest snapshot, where there is one that is further; `told` hears of each step.

        Any number of processes may be at it, and at their takeovers: each step is done only where the tables are where
        the one before it has left them, and what is in them follows from where they are. Tables that somebody has begun
        to fill are gone on with; what there is of an older snapshot is removed first.

        Raises:
            RetryableError: somebody else has moved the tables.
            FatalError: the snapshot is not whole, or the tables are being filled from another log.
        """
        snapshot = await self.latest(partition)
        if snapshot is None:
            await self.abandon(tables, into)
            return
        if after >= 0:
            if snapshot.applied <= after:
                return
            await self._see_whole(partition, snapshot)  # before what cannot be made again without it is gone
            await self._empty(tables, into, after)
            told()
        at = await self._begun(snapshot, tables, into)
        async for number, chunk in self._chunks(partition, snapshot, at.chunks):
            if number == at.chunks:
                further = at._replace(chunks=number + 1)
                at = _further(into, at, await tables.restore(into, after=at, then=further, writes=_writes(chunk)))
                told()
                await self._observer.reached("tables_chunk_restored", into)
        if at.chunks != snapshot.chunks:
            raise await self._incomplete(snapshot, partition, at.chunks)
        if await tables.restore(into, after=at, then=snapshot.applied, writes=Writes()) != snapshot.applied:
            raise _moved(into)
        await self._observer.reached("tables_restored", into)

    async def abandon(self, tables: Tables, into: int) -> None:
        """Empty tables that somebody has begun to fill, with whatever snapshot."""
        at = await tables.restore(into, after=-1, then=-1, writes=Writes())
        if isinstance(at, Restoring):
            await self._empty(tables, into, at)

    async def _begun(self, snapshot: Snapshot, tables: Tables, into: int) -> Restoring:
        """Return how much of the snapshot there is in the tables, having emptied them of any other."""
        begun = Restoring(self.lineage, snapshot.key, 0)
        at = await tables.restore(into, after=-1, then=begun, writes=Writes())
        if isinstance(at, Restoring) and at[:2] != begun[:2]:
            await self._empty(tables, into, at)
            at = await tables.restore(into, after=-1, then=begun, writes=Writes())
        return _further(into, begun, at)

    async def _empty(self, tables: Tables, into: int, after: Standing) -> None:
        """Remove all rows, having first put the tables where nobody else has ever put them."""
        if isinstance(after, Restoring) and after.lineage != self.lineage:
            cause = f"The tables of partition {into} are being filled from another internal log."
            raise FatalError("tables_of_another_log", cause, "Use another namespace, or see `state rebuild`.")
        alone = Restoring(self.lineage, f"none-{uuid4().hex}", 0)
        if await tables.restore(into, after=after, then=alone, writes=Writes()) != alone:
            raise _moved(into)
        if await tables.empty(into, after=alone) != -1:
            raise _moved(into)
        await self._observer.reached("tables_emptied", into)

    async def _incomplete(self, snapshot: Snapshot, partition: int, found: int) -> RouterError:
        if await self.latest(partition) != snapshot:  # its chunks may be gone by now
            return _moved(partition)
        cause = f"The snapshot of partition {partition} has {found} of {snapshot.chunks} chunks."
        return FatalError("snapshot_unreadable", cause, _ANEW)

    async def write(self, partition: int, fold: Folding, tables: tuple[Tables, Upkeep]) -> tuple[str, int]:
        """Write what the tables, which nobody else moves, have of a fold; return its key and the number of its chunks.

        Raises:
            RetryableError: somebody else has written one meanwhile, and may have removed the chunks of this one.
        """
        first, start = await self._log.bounds(SNAPSHOTS, partition)
        key, number = f"{fold.applied}-{uuid4().hex}", 0  # of two who begin at once, each has chunks of its own
        async for chunk in _chunks(tables, partition):
            await self._log.append(SNAPSHOTS, partition, [Outgoing(f"{key}/{number}".encode(), chunk)])
            await self._observer.reached("snapshot_chunk_written", partition)
            number += 1
        await self._finish(partition, Snapshot(fold.applied, self.lineage, key, number, start, manifest=start))
        await self._observer.reached("snapshot_written", partition)
        if old := await self._living(partition, first, start):
            await self._log.append(SNAPSHOTS, partition, [Outgoing(each, None) for each in old])
        await self._observer.reached("snapshot_tidied", partition)
        return key, number

    async def _finish(self, partition: int, snapshot: Snapshot) -> None:
        """Write the manifest, again where it does not count, unless there is one that counts since the chunks were begun."""
        while True:
            end = (await self._log.bounds(SNAPSHOTS, partition)).end
            latest = await self.latest(partition)
            if latest is not None and latest.manifest >= snapshot.start:
                break
            value = orjson.dumps(replace(snapshot, manifest=end))
            await self._log.append(SNAPSHOTS, partition, [Outgoing(_MANIFEST + snapshot.key.encode(), value)])
        if latest.key != snapshot.key:
            raise _elsewhere(partition)

    async def read_back(self, partition: int, key: str) -> None:
        """See that the latest snapshot is the one of this key, whole, and that each of its chunks can be read.

        Raises:
            FatalError: it is not, or there is none.
            RetryableError: somebody else has taken another meanwhile.
        """
        snapshot = await self.latest(partition)
        if snapshot is None:
            raise FatalError("snapshot_unreadable", f"The snapshot of partition {partition} is gone.", "Try again.")
        if snapshot.key != key:
            raise _elsewhere(partition)
        await self._see_whole(partition, snapshot)

    async def _see_whole(self, partition: int, snapshot: Snapshot) -> None:
        count = 0
        async for number, chunk in self._chunks(partition, snapshot, 0):
            if number == count:
                _writes(chunk)
                count += 1
        if count != snapshot.chunks:
            raise await self._incomplete(snapshot, partition, count)

    async def removable(self, partition: int, outcome: int) -> int:
        """Return the offset before which no outcome is needed, where `outcome` is the last one in the latest snapshot."""
        first, end = await self._log.bounds(OUTCOMES, partition)
        return max(first, min(outcome + 1, end - KEPT))

    async def _living(self, partition: int, start: int, end: int) -> list[bytes]:
        """Return the keys that stand there, also those that somebody who died has left."""
        keys: dict[bytes, None] = {}
        async for record in self._records(partition, start, end):
            if record.value is None:
                keys.pop(record.key or b"", None)
            else:
                keys[record.key or b""] = None
        return list(keys)

    async def _chunks(self, partition: int, snapshot: Snapshot, first: int) -> AsyncIterator[tuple[int, bytes]]:
        """Yield the chunks from the `first` on, each with its number; every chunk is a record, so it stands no sooner."""
        begin = f"{snapshot.key}/".encode()
        async for record in self._records(partition, snapshot.start + first, snapshot.manifest):
            if record.value is not None and record.key is not None and record.key.startswith(begin):
                yield int(record.key.removeprefix(begin)), record.value

    async def _records(self, partition: int, start: int, end: int) -> AsyncIterator[Received]:
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


def _elsewhere(partition: int) -> RetryableError:
    cause = f"Somebody else has taken a snapshot of partition {partition} meanwhile."
    return RetryableError("snapshot_elsewhere", cause, "That one will do, or try again.")


def _joined(lines: Sequence[bytes]) -> bytes:
    return b"\n".join(lines)


def _snapshot(record: Received) -> Snapshot | None:
    """Return what a manifest says."""
    if record.value is None or record.key is None or not record.key.startswith(_MANIFEST):
        return None
    try:
        return Snapshot(**orjson.loads(record.value))
    except TypeError as error:
        cause = "The manifest of a snapshot is not in a form that this version knows."
        raise FatalError("snapshot_unreadable", cause, _ANEW) from error


def _writes(chunk: bytes) -> Writes:
    try:
        return writes_of(chunk.splitlines())
    except (FatalError, ValueError) as error:
        raise FatalError("snapshot_unreadable", "A chunk of a snapshot cannot be read.", _ANEW) from error


def _further(into: int, at: Restoring, standing: Standing) -> Restoring:
    """Return how far the tables are where that is on the way from `at`.

    Raises:
        RetryableError: it is not.
    """
    if isinstance(standing, Restoring) and standing[:2] == at[:2] and standing.chunks >= at.chunks:
        return standing
    raise _moved(into)


def _moved(partition: int) -> RetryableError:
    return RetryableError("taken_over", f"Another worker moves partition {partition}.", "Taking over anew.")
