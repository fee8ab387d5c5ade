"""The lanes of one consumer: begun at an assignment, finished and committed at a revoke or a stop."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from interaction_router.adapters.kafka.lane import Lane, Waiting
from interaction_router.application.health import LaneState
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.domain.errors import FatalError
from interaction_router.domain.names import stream_name
from interaction_router.ports import Observer, Received, Stage

logger = logging.getLogger(__name__)

COMMIT_LIMIT_S = 2.0
"""How long a commit may hold up a stop or a rebalance."""
FINISH_S = 4.0
"""How long batches under way may take to end at a stop or a rebalance; then their results count for nothing."""
CANCEL_S = 1.0
"""How long a takeover that is broken off may take to end."""
EXTENTS_S = 2.0
"""How long to wait for where the partitions end."""


class Extent(NamedTuple):
    """Where the next fetch of a partition begins, None where that is being found out, and where the partition ends."""

    read: int | None
    end: int


@dataclass(frozen=True, slots=True)
class Duty:
    """What a consumer is there for, and who hears of it."""

    role: str
    stage: Stage
    namespace: str
    batch_records: int
    stall_limit_s: float
    waiting: Waiting
    on_ready: Callable[[int], None]
    on_failure: Callable[[BaseException], None]
    observer: Observer = UNOBSERVED
    inputs: str | None = None

    def stream(self, place: TopicPartition) -> str:
        """Return the topic without its namespace."""
        return stream_name(self.namespace, place.topic, self.inputs)


class Group(Protocol):
    """The member of the consumer group that the lanes read through."""

    async def fetch(self, place: TopicPartition, limit: int) -> Sequence[Received]:
        """Wait for records for a while; none is no news."""
        ...

    async def go_to(self, place: TopicPartition, offset: int) -> None:
        """Let the next fetch begin there."""
        ...

    async def keep(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit the offsets of what is still assigned."""
        ...

    async def extents(self, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, Extent]:
        """Return how far partitions are read and where they end; to be asked in any event loop."""
        ...


class Lanes:
    """One lane for each assigned partition: a slow one holds up no other."""

    def __init__(self, duty: Duty, group: Group) -> None:
        self._duty = duty
        self._group = group
        self._lanes: dict[TopicPartition, Lane] = {}
        self._runs: dict[TopicPartition, asyncio.Task[None]] = {}
        self._kept: dict[TopicPartition, int] = {}
        self._behind: dict[TopicPartition, tuple[int | None, float]] = {}
        self._assigned = False

    def begin(self, places: Iterable[TopicPartition]) -> None:
        """Start with partitions that are this member's from now on."""
        for place in sorted(places):
            self._begin(place)
        self._assigned = True
        self._started()

    @property
    def ready(self) -> bool:
        """Whether there is an assignment, and every partition of it knows where to begin: takeovers are done."""
        return self._assigned and all(lane.started for lane in list(self._lanes.values()))

    async def finish(self) -> None:
        """Close all lanes, wait for what they have under way, commit what is done, and forget."""
        self._assigned = False
        if not self._lanes:
            return
        for lane in self._lanes.values():
            lane.close()
        started = [self._runs[place] for place, lane in self._lanes.items() if lane.started]
        if started:
            await asyncio.wait(started, timeout=FINISH_S)
        await self._break_off()
        # What ends later counts for nothing: its lane is no longer looked at, and seeks nowhere.
        await self.commit()
        for place in self._lanes:
            self._duty.stage.forget(self._duty.stream(place), place.partition)
        self._lanes.clear()
        self._kept.clear()

    async def _break_off(self) -> None:
        """End takeovers: whoever is next does all of it anew. Last, since it may fail appends of other partitions."""
        taking = [self._runs[place] for place, lane in self._lanes.items() if not lane.started]
        for run in taking:
            run.cancel()
        if taking:
            await asyncio.wait(taking, timeout=CANCEL_S)

    async def commit(self) -> None:
        """Commit what is done, or leave it to the next time: what is not committed is handed over again.

        Faust's own commit would crash the worker where the broker is away.
        """
        offsets = {
            place: lane.done
            for place, lane in self._lanes.items()
            if lane.done is not None and lane.done != self._kept.get(place)
        }
        if not offsets:
            return
        try:
            async with asyncio.timeout(COMMIT_LIMIT_S):
                await self._group.keep(offsets)
        except (KafkaError, TimeoutError) as error:
            logger.warning("commit_failed", extra={"role": self._duty.role, "error": type(error).__name__})
        else:
            self._kept.update(offsets)
            await self._duty.observer.reached("committed", self._duty.role)

    def check_progress(self) -> None:
        """End the process where a lane stands still, so that a new one can start."""
        limit_s = self._duty.stall_limit_s
        for lane in self._lanes.values():
            lane.look()
            if lane.busy_s() > limit_s:
                cause = f"{lane.name} has made no progress for {limit_s:.0f} s."
                self._duty.on_failure(FatalError("worker_stalled", cause, "Look for what it waits for above."))

    async def check_fetches(self) -> None:
        """End the process where records are there and do not come: the lane itself cannot tell that from rest.

        To be called every some seconds. Where the broker does not answer, nothing is known and nothing is done.
        """
        lanes = {place: lane for place, lane in self._lanes.items() if lane.waits}
        now_s = time.monotonic()
        behind: dict[TopicPartition, tuple[int | None, float]] = {}
        for place, (read, end) in (await self._extents(list(lanes))).items():
            if read is not None and read >= end:
                continue
            before, since_s = self._behind.get(place, (read, now_s))
            behind[place] = (read, since_s if before == read else now_s)
            if now_s - behind[place][1] > self._duty.stall_limit_s:
                cause = f"{lanes[place].name} is not read on from {read}, and ends at {end}."
                self._duty.on_failure(FatalError("worker_stalled", cause, "A new worker reads on; tell us of it."))
        self._behind = behind

    def _begin(self, place: TopicPartition) -> None:
        """Start one lane, behind the last one of the same partition."""
        duty = self._duty
        stream = duty.stream(place)
        duty.stage.forget(stream, place.partition)
        source = _Source(self._group, place)
        lane = Lane(duty.stage, stream, place.partition, source, duty.waiting, batch_records=duty.batch_records)
        running = lane.run(self._runs.get(place), on_started=self._started)
        run = asyncio.create_task(running, name=f"{duty.role}:{lane.name}")
        run.add_done_callback(self._ended)
        self._lanes[place] = lane
        self._runs[place] = run

    def _started(self) -> None:
        """Tell how many partitions there are, once all of them have started."""
        if self.ready:
            self._duty.on_ready(len(self._lanes))

    def busy(self) -> Mapping[str, float]:
        """Return for how many seconds each partition has not got on with what it has."""
        return {lane.name: lane.busy_s() for lane in list(self._lanes.values())}

    async def states(self) -> list[LaneState]:
        """Return how far each partition is; to be called in any event loop, and of use where the broker is away."""
        lanes = dict(self._lanes)
        extents = await self._extents(list(lanes))
        return [self._state(place, lane, extents.get(place)) for place, lane in lanes.items()]

    async def _extents(self, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, Extent]:
        """Return what the broker tells in time, which may be of none."""
        if places:
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(EXTENTS_S):
                    return await self._group.extents(places)
        return {}

    def _state(self, place: TopicPartition, lane: Lane, extent: Extent | None) -> LaneState:
        """Return how far the lane is: what is in hand is not done, what nobody is handed is (marks of transactions)."""
        read = extent.read if extent is not None and lane.waits else None
        return LaneState(
            self._duty.role,
            self._duty.stream(place),
            place.partition,
            started=lane.started,
            position=max((each for each in (read, lane.position) if each is not None), default=None),
            end=None if extent is None else extent.end,
            oldest_ms=lane.oldest_ms,
            idle_since_ms=lane.idle_since_ms,
            busy_s=lane.busy_s(),
        )

    def _ended(self, run: "asyncio.Task[None]") -> None:
        """Let a lane's failure end the process."""
        if not run.cancelled() and (failure := run.exception()) is not None:
            self._duty.on_failure(failure)


@dataclass(frozen=True, slots=True)
class _Source:
    """One partition of the group's member; satisfies `lane.Source`."""

    group: Group
    place: TopicPartition

    async def fetch(self, limit: int) -> Sequence[Received]:
        """Return records of the partition."""
        return await self.group.fetch(self.place, limit)

    async def seek(self, offset: int) -> None:
        """Let the partition go on from `offset`."""
        await self.group.go_to(self.place, offset)
