"""A router without faults, driven by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.application.intake import (
    AGENTS,
    COMMANDS,
    CONTACTS,
    Agents,
    Hints,
    IntakeSettings,
    IntakeStage,
    RawReading,
)
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.stages import AssignmentStage
from interaction_router.application.timekeeping import Timekeeping
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.application.views import DEAD_LETTERS, LOG, STATE, UPDATES, Views
from interaction_router.domain.rows import Policy
from tests.faults.simulator import PARTITIONS, Lane, ManualClock

NO_IDLING = Policy()


class Bench:
    """A router without faults on embedded storage in memory, driven by hand: no task, no time but the one given."""

    def __init__(
        self, log: EmbeddedLog, tables: EmbeddedTables, settings: IntakeSettings, clock: ManualClock, policy: Policy
    ) -> None:
        self.log = log
        self.tables = tables
        self.clock = clock
        self.policy = policy
        self.partitions = PARTITIONS
        self._settings = settings
        self._next: dict[Lane, int] = {}

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: IntakeSettings, policy: Policy = NO_IDLING) -> AsyncIterator[Self]:
        """Make the topics and the stages."""
        with EmbeddedDatabase() as database:
            clock = ManualClock()
            log, tables = EmbeddedLog(database, clock), EmbeddedTables(database)
            raw = (*(f"interactions.{channel}.v1" for channel in settings.channels), CONTACTS, COMMANDS)
            for stream in (*raw, AGENTS, LOG, OUTCOMES, UPDATES, STATE, DEAD_LETTERS):
                await log.create(stream, PARTITIONS)
            bench = cls(log, tables, settings, clock, policy)
            lineage = f"{await log.lineage(LOG)}/{await log.lineage(OUTCOMES)}"
            bench._agents = Agents(log)
            bench._intake = IntakeStage(
                log,
                RawReading(bench._agents, settings, lineages={each: await log.lineage(each) for each in raw}),
                Hints(tables, clock, partitions=PARTITIONS),
                partitions=PARTITIONS,
            )
            views = Views(namespace=settings.namespace, partitions=PARTITIONS, lineage=lineage)
            bench._assignment = AssignmentStage(log, tables, clock, views, policy=policy, cache_rows=100)
            yield bench

    _agents: Agents
    _intake: IntakeStage
    _assignment: AssignmentStage

    async def tick(self) -> None:
        """Close what is idle by now, however short ago that was done."""
        time = Timekeeping(self.log, self.tables, self.clock, policy=self.policy, observer=UNOBSERVED)
        for partition in range(PARTITIONS):
            await time.tick(partition)
        await self.settle()

    async def settle(self) -> None:
        """Hand over everything, until there is nothing more."""
        await self._agents.follow()
        self.clock.ms += 1
        busy = True
        while busy:
            busy = False
            for stage in (self._intake, self._assignment):
                for stream in stage.streams:
                    for partition in range(PARTITIONS):
                        lane = Lane(stream, partition)
                        records = await self.log.read(*lane, self._next.get(lane, 0))
                        if records:
                            busy = True
                            self._next[lane] = await stage.handle(*lane, records)
