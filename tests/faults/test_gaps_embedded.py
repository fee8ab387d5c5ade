"""A death and a failure in every gap between two effects, on embedded storage: what is left is mended by the next."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import pytest

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.adapters.embedded.upkeep import EmbeddedUpkeep
from interaction_router.adapters.failpoints import Failpoints
from interaction_router.application import snapshots
from interaction_router.application.intake import AGENTS, COMMANDS, CONTACTS, Agents, Hints, IntakeStage, RawReading
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.snapshots import SNAPSHOTS, Snapshots
from interaction_router.application.snapshotting import take_snapshot
from interaction_router.application.stages import AssignmentStage
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.application.views import DEAD_LETTERS, LOG, STATE, UPDATES, Views
from interaction_router.bootstrap.state import scratch
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.rows import Policy
from interaction_router.ports import Observer, Outgoing, WorkerGap
from interaction_router.settings.failpoints import Failpoint
from tests.checker import check
from tests.faults.simulator import SETTINGS, Lane, ManualClock
from tests.faults.stories import merged, story

PARTITIONS = 2
BATCH = 3
PASSES = 100
STORY = [*story("a"), *merged("a", times=2), *story("b")]
SHELL_GAPS = {"committed"}
"""Gaps of the shell, which embedded storage does not have."""
TAKEOVERS: dict[WorkerGap, WorkerGap] = {
    "takeover_told": "outcomes_acknowledged",
    "takeover_applied": "outcomes_acknowledged",
}
"""Gaps of a takeover that has something to do, each with the death before it that leaves it."""
RESTORES: frozenset[WorkerGap] = frozenset({"tables_emptied", "tables_chunk_restored", "tables_restored"})
"""Gaps of a takeover that finds no rows, and a snapshot."""
CHUNK_BYTES = 2_000


class DeathError(BaseException):
    """The process is dead: nothing catches it."""


def _die() -> None:
    raise DeathError


class Process:
    """One life of a worker: its stages, driven by hand."""

    def __init__(self, log: EmbeddedLog, intake: IntakeStage, assignment: AssignmentStage) -> None:
        self._log = log
        self.assignment = assignment
        self._stages = (intake, assignment)

    async def settle(self, committed: dict[Lane, int]) -> None:
        """Hand over everything until there is nothing more; try again what fails."""
        quiet = 0
        for _ in range(PASSES):
            busy = False
            for stage in self._stages:
                for stream in stage.streams:
                    for partition in range(PARTITIONS):
                        try:
                            busy |= await self._hand_over(stage, Lane(stream, partition), committed)
                        except RetryableError:
                            busy = True
            quiet = 0 if busy else quiet + 1
            if quiet == 2:  # a takeover at the end of a pass may have sent to a partition that was passed
                break
        assert quiet == 2, "it does not come to rest"
        await self.assignment.mend_state()

    async def take_in(self, committed: dict[Lane, int]) -> None:
        """Hand what there is over to intake alone."""
        intake, _ = self._stages
        for stream in intake.streams:
            for partition in range(PARTITIONS):
                await self._hand_over(intake, Lane(stream, partition), committed)

    async def _hand_over(self, stage: IntakeStage | AssignmentStage, lane: Lane, committed: dict[Lane, int]) -> bool:
        start = await stage.committed(*lane)
        records = await self._log.read(*lane, committed.get(lane, 0) if start is None else start, limit=BATCH)
        if records:
            committed[lane] = await stage.handle(*lane, records)
        return bool(records)


class World:
    """Storage that outlives the processes."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        self._clock = ManualClock()
        self._database = database
        self.log, self.tables = EmbeddedLog(database, self._clock), EmbeddedTables(database)
        self.committed: dict[Lane, int] = {}

    @property
    def raw(self) -> tuple[str, ...]:
        return (*(f"interactions.{channel}.v1" for channel in SETTINGS.channels), CONTACTS, COMMANDS)

    async def begin(self) -> None:
        for stream in (*self.raw, AGENTS, LOG, OUTCOMES, UPDATES, STATE, DEAD_LETTERS):
            await self.log.create(stream, PARTITIONS)
        await self.log.create(SNAPSHOTS, PARTITIONS, compacted=True)

    async def feed(self, records: list[tuple[str, Outgoing]]) -> None:
        for stream, record in records:
            self._clock.ms += 1
            await self.log.append(stream, 0, [record])

    async def lineage(self) -> str:
        return f"{await self.log.lineage(LOG)}/{await self.log.lineage(OUTCOMES)}"

    async def take_snapshots(self) -> None:
        live = self.tables, EmbeddedUpkeep(self._database)
        for partition in range(PARTITIONS):
            snapshots = Snapshots(self.log, lineage=await self.lineage())
            with scratch() as fold:
                await take_snapshot(self.log, snapshots, partition, live=live, scratch=fold)

    async def wipe(self) -> None:
        for partition in range(PARTITIONS):
            await self.tables.clear(partition)

    async def process(self, observer: Observer) -> Process:
        lineage = await self.lineage()
        intake = IntakeStage(
            self.log,
            RawReading(Agents(self.log), SETTINGS, lineages={each: await self.log.lineage(each) for each in self.raw}),
            Hints(self.tables, self._clock, partitions=PARTITIONS),
            partitions=PARTITIONS,
            observer=observer,
        )
        views = Views(namespace="router", partitions=PARTITIONS, lineage=lineage)
        assignment = AssignmentStage(
            self.log, self.tables, self._clock, views, policy=Policy(), cache_rows=100, observer=observer
        )
        return Process(self.log, intake, assignment)

    async def dies(self, gap: WorkerGap, *, nth: int) -> bool:
        """Live until the gap is reached for the nth time, or to the end; return which."""
        process = await self.process(Failpoints((Failpoint(gap, "die", nth),), UNOBSERVED, die=_die))
        try:
            await process.settle(self.committed)
        except DeathError:
            return True
        return False


@contextmanager
def world() -> Iterator[World]:
    with EmbeddedDatabase() as database:
        yield World(database)


@pytest.fixture(autouse=True)
def many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "CHUNK_BYTES", CHUNK_BYTES)


@pytest.mark.parametrize("gap", [gap for gap in get_args(WorkerGap) if gap not in SHELL_GAPS])
async def test_a_death_in_a_gap_loses_nothing_and_does_nothing_twice(gap: WorkerGap) -> None:
    """Each time that the gap is reached in the story is a story of its own."""
    nth = 1
    while await _survives(gap, nth):
        nth += 1
    assert nth > 1, "the story never reaches the gap"


async def _lose(storage: World, *, begun: bool) -> None:
    """Have all rows lost behind a snapshot, `begun`: while an older one was being put into the tables."""
    await (await storage.process(UNOBSERVED)).settle(storage.committed)
    await storage.take_snapshots()
    await storage.feed(story("c"))
    await storage.wipe()
    if begun:
        assert await storage.dies("tables_chunk_restored", nth=2)
        await storage.take_snapshots()


async def _survives(gap: WorkerGap, nth: int) -> bool:
    """Return whether the gap is reached so often; fail where anything is wrong after the death in it."""
    with world() as storage:
        await storage.begin()
        await storage.feed(STORY)
        if gap in RESTORES:
            await _lose(storage, begun=gap == "tables_emptied")
        if gap in TAKEOVERS:
            reached = await storage.dies(TAKEOVERS[gap], nth=nth)
            assert not reached or await storage.dies(gap, nth=1)
        else:
            reached = await storage.dies(gap, nth=nth)
        if reached:
            await (await storage.process(UNOBSERVED)).settle(storage.committed)
            assert [str(each) for each in await check(storage.log, storage.tables, SETTINGS)] == [], f"{gap}=die@{nth}"
        return reached


@pytest.mark.parametrize("gap", [gap for gap in get_args(WorkerGap) if gap not in SHELL_GAPS | TAKEOVERS.keys()])
async def test_a_failure_in_a_gap_is_tried_again_and_does_nothing_twice(gap: WorkerGap) -> None:
    with world() as storage:
        await storage.begin()
        await storage.feed(STORY)
        if gap in RESTORES:
            await _lose(storage, begun=gap == "tables_emptied")
        observer = Failpoints([Failpoint(gap, "fail", nth) for nth in (1, 3, 4, 9)], UNOBSERVED, die=_die)
        await (await storage.process(observer)).settle(storage.committed)
        assert [str(each) for each in await check(storage.log, storage.tables, SETTINGS)] == []


async def test_a_takeover_that_folds_tells_that_it_gets_on() -> None:
    """So that no watchdog ends one of a large partition."""
    with world() as storage:
        await storage.begin()
        await storage.feed(STORY)
        await (await storage.process(UNOBSERVED)).settle(storage.committed)
        await storage.wipe()
        process = await storage.process(Failpoints((Failpoint("takeover_applied", "hang"),), UNOBSERVED, die=_die))
        taking = asyncio.create_task(process.assignment.committed(LOG, 0))
        assert process.assignment.progress(LOG, 0) == 0
        async with asyncio.timeout(10):
            while not process.assignment.progress(LOG, 0):  # noqa: ASYNC110 - each turn is one of the takeover
                await asyncio.sleep(0)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert process.assignment.progress(LOG, 0) == 0, "it is over"
