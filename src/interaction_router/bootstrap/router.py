"""The two stages and their timers, on whatever log and tables."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from interaction_router.application.intake import Agents, Hints, IntakeStage, RawReading
from interaction_router.application.stages import AssignmentStage
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.application.views import LOG
from interaction_router.bootstrap.storage import views_of
from interaction_router.bootstrap.terms import intake_settings, policy_of, raw_streams
from interaction_router.domain.errors import RetryableError
from interaction_router.ports import Clock, Log, Observer, Stage, Tables
from interaction_router.settings import Settings

_AGENTS_EVERY_S = 0.25
_TICK_EVERY_S = 1.0

Role = Literal["intake", "assignment"]
ROLES: Sequence[Role] = ("intake", "assignment")


@dataclass(frozen=True, slots=True)
class Router:
    """The two stages with what they stand on."""

    log: Log
    tables: Tables
    clock: Clock
    intake: IntakeStage
    assignment: AssignmentStage
    agents: Agents

    def stages(self, roles: Sequence[Role] = ROLES) -> Mapping[str, Stage]:
        """Return the stages by their roles."""
        stages: Mapping[str, Stage] = {"intake": self.intake, "assignment": self.assignment}
        return {role: stages[role] for role in roles}

    async def run_timers(self, roles: Sequence[Role] = ROLES) -> None:
        """Follow the agents, close what is idle and mend the state topic until cancelled; an error ends it."""
        async with asyncio.TaskGroup() as group:
            if "intake" in roles:
                group.create_task(every(_AGENTS_EVERY_S, self.agents.follow), name="agents")
            if "assignment" in roles:
                group.create_task(begun_every(_TICK_EVERY_S, self.assignment.tick), name="ticks")
                group.create_task(every(_TICK_EVERY_S, self.assignment.mend_state), name="state-topic")


async def every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do it again and again until cancelled; where a server is away, the next time serves."""
    while True:
        with suppress(RetryableError):
            await work()
        await asyncio.sleep(seconds)


async def begun_every(seconds: float, work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Begin it again and again until cancelled, whether it has ended the time before or not."""
    async with asyncio.TaskGroup() as group:
        while True:
            group.create_task(work())
            await asyncio.sleep(seconds)


async def raw_reading(settings: Settings, log: Log, agents: Agents) -> RawReading:
    """Return what reads the raw records of these settings."""
    lineages = {stream: await log.lineage(stream) for stream in raw_streams(settings)}
    return RawReading(agents, intake_settings(settings), lineages=lineages)


async def build_router(
    settings: Settings, log: Log, tables: Tables, clock: Clock, observer: Observer = UNOBSERVED
) -> Router:
    """Return the router on a log whose topics are there; the agents are read to their end."""
    partitions = await log.partitions(LOG)
    agents = Agents(log)
    await agents.follow()
    intake = IntakeStage(
        log,
        await raw_reading(settings, log, agents),
        Hints(tables, clock, partitions=partitions),
        partitions=partitions,
        observer=observer,
    )
    assignment = AssignmentStage(
        log,
        tables,
        clock,
        await views_of(settings, log),
        policy=policy_of(settings),
        cache_rows=max(100, settings.worker.cache_rows // partitions),
        observer=observer,
    )
    return Router(log, tables, clock, intake, assignment, agents)
