"""The only wiring: settings to clients to application objects."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.shell import EmbeddedShell
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.application.intake import (
    AGENTS,
    COMMANDS,
    CONTACTS,
    Agents,
    Hints,
    IntakeSettings,
    IntakeStage,
    TenantSettings,
)
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.stages import AssignmentStage
from interaction_router.application.views import DEAD_LETTERS, LOG, STATE, UPDATES, Views
from interaction_router.domain.errors import RejectedError, RetryableError
from interaction_router.domain.rows import Policy
from interaction_router.ports import Clock, Log, Stage, Tables
from interaction_router.settings import Settings
from interaction_router.wire.addresses import canonical_contact_address

COMPACTED = frozenset({AGENTS, STATE})
_AGENTS_EVERY_S = 0.25
_TICK_EVERY_S = 1.0


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch."""
        return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Router:
    """The two stages with what they stand on, and the names of their consumer groups."""

    log: Log
    tables: Tables
    clock: Clock
    intake: IntakeStage
    assignment: AssignmentStage
    agents: Agents

    async def run_timers(self) -> None:
        """Follow the agents, close what is idle and mend the state topic until cancelled; an error ends it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_every(_AGENTS_EVERY_S, self.agents.follow), name="agents")
            group.create_task(_every(_TICK_EVERY_S, self.assignment.tick), name="ticks")
            group.create_task(_every(_TICK_EVERY_S, self.assignment.mend_state), name="state-topic")


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        with suppress(RetryableError):
            await work()
        await asyncio.sleep(seconds)


async def build_router(settings: Settings, log: Log, tables: Tables, clock: Clock) -> Router:
    """Return the router on a log whose topics are there; the agents are read to their end."""
    partitions = await log.partitions(LOG)
    lineage = f"{await log.lineage(LOG)}/{await log.lineage(OUTCOMES)}"
    agents = Agents(log)
    await agents.follow()
    intake = IntakeStage(
        log,
        agents,
        Hints(tables, clock, partitions=partitions),
        intake_settings(settings),
        partitions=partitions,
        lineages={stream: await log.lineage(stream) for stream in (CONTACTS, COMMANDS)},
    )
    assignment = AssignmentStage(
        log,
        tables,
        clock,
        Views(namespace=settings.namespace, partitions=partitions, lineage=lineage),
        policy=policy_of(settings),
        cache_rows=max(100, settings.worker.cache_rows // partitions),
    )
    return Router(log, tables, clock, intake, assignment, agents)


def policy_of(settings: Settings) -> Policy:
    """Return the settings that decide, as the log has them."""
    return Policy(
        dedup_window_ms=int(settings.dedup_window.total_seconds() * 1000),
        late_grace_ms=int(settings.late_grace.total_seconds() * 1000),
        idle_close_ms={
            channel: int(span.total_seconds() * 1000)
            for channel, span in sorted(settings.idle_close.items())
            if span is not None
        },
    )


def intake_settings(settings: Settings) -> IntakeSettings:
    """Return what raw records are read with."""
    tenants = {
        name: TenantSettings(tenant.region, _own_addresses(tenant.addresses, tenant.region or settings.default_region))
        for name, tenant in settings.tenants.items()
    }
    return IntakeSettings(
        namespace=settings.namespace,
        channels=settings.channels,
        default_region=settings.default_region,
        tenants=tenants,
        unqualified=settings.unqualified,
    )


def _own_addresses(addresses: tuple[str, ...], region: str | None) -> frozenset[str]:
    """Return a tenant's addresses as interactions have them; one that is no number or mailbox stays as it is."""
    own = set(addresses)
    for address in addresses:
        with suppress(RejectedError):
            own.add(canonical_contact_address(address, region))
    return frozenset(own)


def streams(settings: Settings) -> tuple[str, ...]:
    """Return every stream of the router."""
    raw = (f"interactions.{channel}.v1" for channel in settings.channels)
    return (*raw, CONTACTS, AGENTS, COMMANDS, LOG, OUTCOMES, UPDATES, STATE, DEAD_LETTERS)


@dataclass(frozen=True, slots=True)
class Embedded:
    """A router in one process, with its log and tables in one file or in memory."""

    router: Router
    log: EmbeddedLog
    shell: EmbeddedShell


@asynccontextmanager
async def embedded_router(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Embedded]:
    """Run a router on embedded storage as long as the context lasts; its topics are made where they are missing."""
    clock = clock or SystemClock()
    directory = settings.embedded.data_dir
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    path = None if directory is None else directory / f"{settings.namespace}.sqlite"
    with EmbeddedDatabase(path) as database:
        log, tables = EmbeddedLog(database, clock), EmbeddedTables(database)
        for stream in streams(settings):
            await log.create(stream, settings.topics.partitions, compacted=stream in COMPACTED)
        router = await build_router(settings, log, tables, clock)
        stages: dict[str, Stage] = {"intake": router.intake, "assignment": router.assignment}
        shell = EmbeddedShell(log, stages, batch=settings.worker.batch_records)
        async with asyncio.TaskGroup() as group:
            timers = group.create_task(router.run_timers(), name="timers")
            running = group.create_task(shell.run(), name="shell")
            try:
                yield Embedded(router, log, shell)
            finally:
                shell.stop()
                await running
                timers.cancel()
