"""A partition's lane and the lanes of a member, without a broker: back-pressure, progress, what is ready and when."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import ConsumerRecord, TopicPartition

from interaction_router.adapters.kafka.lane import Waiting
from interaction_router.adapters.kafka.lanes import Duty, Extent, Lanes
from interaction_router.domain.errors import FatalError
from interaction_router.ports import Received

STREAM = "internal.log"
PLACE = TopicPartition(f"ns.{STREAM}", 0)


@dataclass
class Group:
    """A member of a group whose partitions never end; counts what is fetched."""

    fetched: int = 0
    stuck: bool = False
    read: int | None = None
    end: int | None = 1_000

    async def fetch(self, place: TopicPartition, limit: int) -> Sequence[Received]:
        await (asyncio.Event().wait() if self.stuck else asyncio.sleep(0))
        first, self.fetched = self.fetched, self.fetched + limit
        return [record(place, offset) for offset in range(first, self.fetched)]

    async def go_to(self, place: TopicPartition, offset: int) -> None:
        del place
        self.fetched = offset

    async def keep(self, offsets: Mapping[TopicPartition, int]) -> None:
        del offsets

    async def extents(self, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, Extent]:
        if self.end is None:
            raise KafkaConnectionError
        return {place: Extent(self.read if self.stuck else self.fetched, self.end) for place in places}


def record(place: TopicPartition, offset: int) -> Received:
    made: Received = ConsumerRecord(place.topic, 0, offset, 7_000, 0, None, b"", None, 0, 0, ())
    return made


class Stage:
    """A stage that waits where it is told to."""

    def __init__(self) -> None:
        self.may_start, self.may_go_on = asyncio.Event(), asyncio.Event()
        self.handling = asyncio.Event()
        self.steps = 0
        self.ended: list[str] = []
        self.streams: Sequence[str] = (STREAM,)

    async def committed(self, stream: str, partition: int) -> int | None:
        del stream, partition
        try:
            await self.may_start.wait()
        except asyncio.CancelledError:
            self.ended.append("broken off")
            raise
        return 40

    async def handle(self, stream: str, partition: int, records: Sequence[Received]) -> int:
        del stream, partition
        self.handling.set()
        await self.may_go_on.wait()
        self.ended.append("batch")
        return records[-1].offset + 1

    def progress(self, stream: str, partition: int) -> int:
        del stream, partition
        return self.steps

    def forget(self, stream: str, partition: int) -> None:
        del stream, partition


class Watch:
    """Lanes of one stage, and what is heard of them."""

    def __init__(self, *, stall_limit_s: float = 60.0) -> None:
        self.stage, self.group = Stage(), Group()
        self.ready: list[int] = []
        self.failures: list[BaseException] = []
        duty = Duty(
            "assignment",
            self.stage,
            namespace="ns",
            batch_records=10,
            stall_limit_s=stall_limit_s,
            waiting=Waiting(),
            on_ready=self.ready.append,
            on_failure=self.failures.append,
        )
        self.lanes = Lanes(duty, self.group)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_while_a_stage_is_busy_nothing_more_is_fetched() -> None:
    """So a slow stage leaves the records with the broker, not in memory."""
    watch = Watch()
    watch.stage.may_start.set()
    watch.lanes.begin([PLACE])
    await watch.stage.handling.wait()
    await turns(200)
    assert watch.group.fetched == 40 + 10
    (state,) = await watch.lanes.states()
    assert (state.position, state.end, state.oldest_ms) == (40, 1_000, 7_000)
    assert state.lag_records == 960, "what is in hand is not done"
    watch.stage.may_go_on.set()
    await watch.lanes.finish()
    assert watch.stage.ended[0] == "batch"


async def test_ready_is_told_once_every_takeover_is_done() -> None:
    watch = Watch()
    watch.lanes.begin([PLACE, TopicPartition(PLACE.topic, 1)])
    await turns()
    assert (watch.ready, watch.lanes.ready) == ([], False)
    watch.stage.may_start.set()
    await watch.stage.handling.wait()
    await turns()
    assert (watch.ready, watch.lanes.ready) == ([2], True)
    watch.stage.may_go_on.set()
    await watch.lanes.finish()
    assert not watch.lanes.ready


async def test_a_worker_that_gets_no_partitions_is_ready_with_none() -> None:
    watch = Watch()
    assert not watch.lanes.ready
    watch.lanes.begin([])
    assert (watch.ready, watch.lanes.ready) == ([0], True)


async def test_a_takeover_under_way_holds_up_no_stop() -> None:
    """Nothing of it has to be finished: whoever is next does all of it anew."""
    watch = Watch()
    watch.lanes.begin([PLACE])
    await turns()
    async with asyncio.timeout(1):
        await watch.lanes.finish()
    assert watch.stage.ended == ["broken off"]
    assert (watch.failures, watch.ready) == ([], [])


async def test_a_takeover_that_gets_on_is_not_taken_for_a_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr("interaction_router.adapters.kafka.lane.time.monotonic", lambda: now_s)
    watch = Watch(stall_limit_s=60)
    watch.lanes.begin([PLACE])
    await turns()
    for _ in range(5):
        now_s += 59
        watch.stage.steps += 1
        watch.lanes.check_progress()
    assert watch.failures == []
    now_s += 61
    assert watch.lanes.busy() == {f"{STREAM}:0": 61.0}
    watch.lanes.check_progress()
    (failure,) = watch.failures
    assert isinstance(failure, FatalError)
    assert failure.code == "worker_stalled"
    await watch.lanes.finish()


class Clock:
    """What the lanes take for the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr("interaction_router.adapters.kafka.lanes.time.monotonic", lambda: self.now_s)


async def waiting_lane(*, read: int | None, end: int | None) -> Watch:
    """Return lanes of which one waits for records of a consumer that brings none."""
    watch = Watch(stall_limit_s=60)
    watch.group.stuck, watch.group.read, watch.group.end = True, read, end
    watch.stage.may_start.set()
    watch.lanes.begin([PLACE])
    await turns()
    return watch


@pytest.mark.parametrize("read", [40, None])
async def test_records_that_are_there_and_do_not_come_end_the_worker(
    monkeypatch: pytest.MonkeyPatch, read: int | None
) -> None:
    clock = Clock(monkeypatch)
    watch = await waiting_lane(read=read, end=41)
    for _ in range(7):
        await watch.lanes.check_fetches()
        assert watch.failures == []
        clock.now_s += 10
    await watch.lanes.check_fetches()
    (failure,) = watch.failures
    assert isinstance(failure, FatalError)
    assert failure.code == "worker_stalled"
    await watch.lanes.finish()


async def test_rest_and_slow_reading_and_a_broker_that_is_away_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    watch = await waiting_lane(read=40, end=40)
    group = watch.group

    async def check_for_an_hour(then: Callable[[], None]) -> None:
        for _ in range(60):
            await watch.lanes.check_fetches()
            clock.now_s += 60
            then()

    def read_on() -> None:
        assert group.read is not None
        group.read += 1

    await check_for_an_hour(lambda: None)
    group.end = 1_000
    await check_for_an_hour(read_on)
    group.end = None
    await check_for_an_hour(lambda: None)
    assert watch.failures == []
    await watch.lanes.finish()
