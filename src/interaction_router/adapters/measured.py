"""The ports with a watch on them: how long Kafka, Redis and a stage take, how large batches are, what is refused."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from interaction_router.adapters.prometheus import Meters
from interaction_router.application.views import DEAD_LETTERS
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Bounds, Loaded, Log, Outgoing, Received, Restoring, Stage, Standing, Tables, Writes

Server = Literal["kafka", "redis"]


@contextmanager
def _unavailability(meters: Meters, server: Server) -> Iterator[None]:
    """Count what the server does not answer."""
    try:
        yield
    except RetryableError as error:
        meters.unavailable(server, error.code)
        raise


class MeasuredLog:
    """`ports.Log`, measured."""

    def __init__(self, log: Log, meters: Meters, watch: Callable[[], float]) -> None:
        """`watch` tells seconds of any beginning."""
        self._log = log
        self._meters = meters
        self._watch = watch

    @contextmanager
    def _measured(self, call: str, stream: str) -> Iterator[None]:
        started = self._watch()
        try:
            with _unavailability(self._meters, "kafka"):
                yield
        finally:
            self._meters.kafka(call, stream, self._watch() - started)

    async def partitions(self, stream: str) -> int:
        """Return how many partitions the stream has."""
        with self._measured("describe", stream):
            return await self._log.partitions(stream)

    async def lineage(self, stream: str) -> str:
        """Return what tells this topic from others of its name."""
        with self._measured("describe", stream):
            return await self._log.lineage(stream)

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        """Append in order."""
        with self._measured("append", stream):
            offsets = await self._log.append(stream, partition, records)
        if stream == DEAD_LETTERS:
            self._meters.dead_letters(Counter(map(_stage_and_code, records)))
        return offsets

    async def read(self, stream: str, partition: int, start: int, *, limit: int = 1000) -> Sequence[Received]:
        """Return records from `start` on."""
        with self._measured("read", stream):
            return await self._log.read(stream, partition, start, limit=limit)

    async def bounds(self, stream: str, partition: int) -> Bounds:
        """Return where the partition begins and ends."""
        with self._measured("bounds", stream):
            return await self._log.bounds(stream, partition)

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        """Return the first offset of this time or later."""
        with self._measured("bounds", stream):
            return await self._log.offset_at(stream, partition, timestamp_ms)


class MeasuredTables:
    """`ports.Tables`, measured."""

    def __init__(self, tables: Tables, meters: Meters, watch: Callable[[], float]) -> None:
        """`watch` tells seconds of any beginning."""
        self._tables = tables
        self._meters = meters
        self._watch = watch

    @contextmanager
    def _measured(self, call: str) -> Iterator[None]:
        started = self._watch()
        try:
            with _unavailability(self._meters, "redis"):
                yield
        finally:
            self._meters.redis(call, self._watch() - started)

    async def load(self, partition: int, keys: Sequence[RowKey], buckets: Sequence[str] = ()) -> Loaded:
        """Return rows together with `applied`."""
        with self._measured("load"):
            return await self._tables.load(partition, keys, buckets)

    async def apply(self, partition: int, *, after: int, applied: int, writes: Writes) -> int:
        """Write it all at once."""
        with self._measured("apply"):
            return await self._tables.apply(partition, after=after, applied=applied, writes=writes)

    async def restore(self, partition: int, *, after: Standing, then: Standing, writes: Writes) -> Standing:
        """Put a part of a snapshot in."""
        with self._measured("restore"):
            return await self._tables.restore(partition, after=after, then=then, writes=writes)

    async def empty(self, partition: int, *, after: Restoring) -> Standing:
        """Forget all of a partition that is being restored."""
        with self._measured("empty"):
            return await self._tables.empty(partition, after=after)

    async def clear(self, partition: int) -> None:
        """Forget all of a partition."""
        with self._measured("clear"):
            await self._tables.clear(partition)

    async def peek(self, keys: Sequence[tuple[int, RowKey]]) -> list[bytes | None]:
        """Return rows of any partitions."""
        with self._measured("peek"):
            return await self._tables.peek(keys)

    async def scored(
        self, partition: int, name: str, *, low: float, high: float, limit: int, newest_first: bool = False
    ) -> list[tuple[str, float]]:
        """Return members of a sorted set."""
        with self._measured("scored"):
            return await self._tables.scored(
                partition, name, low=low, high=high, limit=limit, newest_first=newest_first
            )


class MeasuredStage:
    """`ports.Stage`, measured."""

    def __init__(self, stage: Stage, role: str, meters: Meters, watch: Callable[[], float]) -> None:
        """`watch` tells seconds of any beginning."""
        self._stage = stage
        self._role = role
        self._meters = meters
        self._watch = watch

    @property
    def streams(self) -> Sequence[str]:
        """The streams to subscribe."""
        return self._stage.streams

    async def handle(self, stream: str, partition: int, records: Sequence[Received]) -> int:
        """Take the records; a batch that fails counts for nothing."""
        started = self._watch()
        following = await self._stage.handle(stream, partition, records)
        self._meters.batch(self._role, len(records), self._watch() - started)
        return following

    async def committed(self, stream: str, partition: int) -> int | None:
        """Return where the stage knows to start."""
        return await self._stage.committed(stream, partition)

    def progress(self, stream: str, partition: int) -> int:
        """Return what changes whenever a long call gets on."""
        return self._stage.progress(stream, partition)

    def forget(self, stream: str, partition: int) -> None:
        """Let the stage forget the partition."""
        self._stage.forget(stream, partition)


def _stage_and_code(letter: Outgoing) -> tuple[str, str]:
    headers = dict(letter.headers)
    return headers["dlq_stage"].decode(), headers["dlq_code"].decode()
