"""One assigned partition: fetch, hand over to the stage, and go on from where it says."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from aiokafka.errors import KafkaError

from interaction_router.adapters.kafka.failures import translated
from interaction_router.domain.errors import RetryableError, RouterError
from interaction_router.ports import Received, Stage

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
"""Pauses between tries double from the first to the longest; each is shortened by chance to between half and all."""

T = TypeVar("T")


class Source(Protocol):
    """Where a lane's records come from: one partition of the group's consumer."""

    async def fetch(self, limit: int) -> Sequence[Received]:
        """Wait for records for a while; none is no news."""
        ...

    async def seek(self, offset: int) -> None:
        """Let the next fetch begin there."""
        ...


class Waiting:
    """Says once that partitions wait for something that is away, and once that all of them go on."""

    def __init__(self) -> None:
        self._lanes: set[str] = set()

    def begin(self, lane: str, error: RouterError) -> None:
        """Take note that a lane has to try again."""
        if not self._lanes:
            logger.warning("waiting", extra={"lane": lane, "code": error.code, "cause": error.cause})
        self._lanes.add(lane)

    def end(self, lane: str) -> None:
        """Take note that a lane goes on, or is gone."""
        if lane in self._lanes:
            self._lanes.discard(lane)
            if not self._lanes:
                logger.warning("goes_on")


class _ClosedError(Exception):
    """The lane was closed while it waited."""


class Lane:
    """Hands a partition's records to its stage, one batch at a time, for as long as the assignment lasts.

    What is fetched ahead is bounded by one answer of the broker, since a lane that is busy does not take any.
    """

    def __init__(
        self, stage: Stage, stream: str, partition: int, source: Source, waiting: Waiting, *, batch_records: int
    ) -> None:
        self._stage = stage
        self._stream = stream
        self._partition = partition
        self._source = source
        self._waiting = waiting
        self._batch_records = batch_records
        self._closing = False
        self._pending: asyncio.Future[Any] | None = None  # Any: whatever is waited for
        self._busy_since: float | None = None
        self._progress = 0
        self.name = f"{stream}:{partition}"
        self.started = False
        self.oldest_ms: int | None = None
        self.idle_since_ms = 0
        self.position: int | None = None
        self.done: int | None = None

    async def run(
        self, predecessor: "asyncio.Task[None] | None" = None, *, on_started: Callable[[], None] | None = None
    ) -> None:
        """Work until closed; `on_started` hears that the stage knows where to begin, its takeover being done.

        Raises:
            Exception: whatever the stage raised that is no `RetryableError`.
        """
        if predecessor is not None:
            # The last owner of this partition may be this process: its call has to end before the next begins.
            await asyncio.wait({predecessor})
        try:
            await self._start()
            if on_started is not None and not self._closing:
                on_started()
            while not self._closing:
                records = await self._fetched()
                if records:
                    await self._hand_over(records)
        except _ClosedError:
            return
        finally:
            self._waiting.end(self.name)

    def close(self) -> None:
        """Begin nothing more, and seek nowhere; a call of the stage that is under way may end."""
        self._closing = True
        if self._pending is not None:
            self._pending.cancel()

    def look(self) -> None:
        """See whether a long call of the stage has got on; to be called every second or so."""
        progress = self._stage.progress(self._stream, self._partition)
        if progress != self._progress:
            self._progress = progress
            if self._busy_since is not None:
                self._busy_since = time.monotonic()

    def busy_s(self) -> float:
        """Return for how long the lane has had the same records, or tried to find its start, and not got on."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def waits(self) -> bool:
        """Whether the lane has nothing in hand, and waits for records."""
        return self.started and self._busy_since is None

    async def _start(self) -> None:
        """Go to where the stage wants to begin; else it is where the group has committed."""
        self._busy_since = time.monotonic()
        start = await self._persistently(lambda: self._stage.committed(self._stream, self._partition))
        if start is not None:
            await self._source.seek(start)
            self.position = start
        self._rest()
        self.started = True

    def _rest(self) -> None:
        self._busy_since = None
        self.oldest_ms = None
        self.idle_since_ms = time.time_ns() // 1_000_000

    async def _fetched(self) -> Sequence[Received]:
        """Return records, after a pause none where the broker does not answer."""
        try:
            return await self._interruptibly(self._source.fetch(self._batch_records))
        except KafkaError as error:
            failure = translated(error, self.name)
            if not isinstance(failure, RetryableError):
                raise failure from error
            self._waiting.begin(self.name, failure)
            await self._interruptibly(asyncio.sleep(LONGEST_PAUSE_S))
            self._waiting.end(self.name)
            return ()

    async def _hand_over(self, records: Sequence[Received]) -> None:
        """Let the stage take the records, as often as it needs, and follow it."""
        self._busy_since = time.monotonic()
        self.oldest_ms = records[0].timestamp
        following = await self._persistently(lambda: self._stage.handle(self._stream, self._partition, records))
        self._rest()
        self.done = self.position = following
        if following != records[-1].offset + 1 and not self._closing:
            await self._source.seek(following)

    async def _persistently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what the call returns, trying again after a pause for as long as it asks for that."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                result = await call()
            except RetryableError as error:
                if self._closing:
                    raise _ClosedError from error
                self._waiting.begin(self.name, error)
                logger.debug("partition_retried", extra={"lane": self.name, "code": error.code})
                await self._interruptibly(asyncio.sleep(pause_s * random.uniform(0.5, 1)))  # noqa: S311 - to spread
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                self._waiting.end(self.name)
                return result

    async def _interruptibly(self, awaitable: Awaitable[T]) -> T:
        """Await what `close` may end."""
        if self._closing:
            if asyncio.iscoroutine(awaitable):
                awaitable.close()
            raise _ClosedError
        pending = asyncio.ensure_future(awaitable)
        self._pending = pending
        try:
            return await pending
        except asyncio.CancelledError:
            if self._closing:
                raise _ClosedError from None
            raise
        finally:
            self._pending = None
