"""The lanes of one consumer: begun at an assignment, finished and committed at a revoke or a stop."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from interaction_router.adapters.kafka.lane import Lane, Waiting
from interaction_router.domain.errors import FatalError
from interaction_router.domain.names import stream_name
from interaction_router.ports import Received, Stage

logger = logging.getLogger(__name__)

COMMIT_LIMIT_S = 2.0
"""How long a commit may hold up a stop or a rebalance."""
FINISH_S = 4.0
"""How long batches under way may take to end at a stop or a rebalance; then their results count for nothing."""


@dataclass(frozen=True, slots=True)
class Duty:
    """What a consumer is there for, and who hears of it."""

    role: str
    stage: Stage
    namespace: str
    batch_records: int
    stall_limit_s: float
    waiting: Waiting
    on_assigned: Callable[[int], None]
    on_failure: Callable[[BaseException], None]
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


class Lanes:
    """One lane for each assigned partition: a slow one holds up no other."""

    def __init__(self, duty: Duty, group: Group) -> None:
        self._duty = duty
        self._group = group
        self._lanes: dict[TopicPartition, Lane] = {}
        self._runs: dict[TopicPartition, asyncio.Task[None]] = {}
        self._kept: dict[TopicPartition, int] = {}

    def begin(self, places: Iterable[TopicPartition]) -> None:
        """Start with partitions that are this member's from now on."""
        for place in sorted(places):
            self._begin(place)
        self._duty.on_assigned(len(self._lanes))

    async def finish(self) -> None:
        """Close all lanes, wait for what they have under way, commit what is done, and forget."""
        if not self._lanes:
            return
        for lane in self._lanes.values():
            lane.close()
        await asyncio.wait([self._runs[place] for place in self._lanes], timeout=FINISH_S)
        # What ends later counts for nothing: its lane is no longer looked at, and seeks nowhere.
        await self.commit()
        for place in self._lanes:
            self._duty.stage.forget(self._duty.stream(place), place.partition)
        self._lanes.clear()
        self._kept.clear()

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

    def check_progress(self) -> None:
        """End the process where a lane stands still, so that a new one can start."""
        limit_s = self._duty.stall_limit_s
        for lane in self._lanes.values():
            if lane.busy_s() > limit_s:
                cause = f"{lane.name} has made no progress for {limit_s:.0f} s."
                self._duty.on_failure(FatalError("worker_stalled", cause, "Look for what it waits for above."))

    def _begin(self, place: TopicPartition) -> None:
        """Start one lane, behind the last one of the same partition."""
        duty = self._duty
        stream = duty.stream(place)
        duty.stage.forget(stream, place.partition)
        source = _Source(self._group, place)
        lane = Lane(duty.stage, stream, place.partition, source, duty.waiting, batch_records=duty.batch_records)
        run = asyncio.create_task(lane.run(self._runs.get(place)), name=f"{duty.role}:{lane.name}")
        run.add_done_callback(self._ended)
        self._lanes[place] = lane
        self._runs[place] = run

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
