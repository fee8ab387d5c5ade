"""The router in one process, without any server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from interaction_router.adapters.clock import SystemClock
from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.shell import EmbeddedShell
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.adapters.examination import examine_progress
from interaction_router.application.diagnosis import Check, failed
from interaction_router.application.handled import HANDLED
from interaction_router.application.intake import AGENTS
from interaction_router.application.snapshots import SNAPSHOTS
from interaction_router.application.views import LOG, STATE
from interaction_router.bootstrap.router import Router, build_router
from interaction_router.bootstrap.storage import embedded_file, existing_file, new_file, opened
from interaction_router.bootstrap.terms import streams
from interaction_router.domain.errors import FatalError, RouterError
from interaction_router.ports import Clock, Log, Tables
from interaction_router.settings import Settings

COMPACTED = frozenset({AGENTS, STATE, SNAPSHOTS, HANDLED})


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
    with EmbeddedDatabase(new_file(settings)) as database:
        log, tables = EmbeddedLog(database, clock), EmbeddedTables(database)
        partitions = await _partitions_of(log, settings)
        for stream in (*streams(settings), HANDLED):
            await log.create(stream, partitions, compacted=stream in COMPACTED)
        router = await build_router(settings, log, tables, clock)
        shell = EmbeddedShell(log, router.stages(), batch=settings.worker.batch_records)
        async with asyncio.TaskGroup() as group:
            timers = group.create_task(router.run_timers(), name="timers")
            running = group.create_task(shell.run(), name="shell")
            try:
                yield Embedded(router, log, shell)
            finally:
                shell.stop()
                await running
                timers.cancel()


async def _partitions_of(log: EmbeddedLog, settings: Settings) -> int:
    """Return how many partitions the storage has, which is for ever, or is to have where it is new."""
    with suppress(FatalError):
        return await log.partitions(LOG)
    return settings.topics.partitions


@asynccontextmanager
async def answering(settings: Settings) -> AsyncIterator[tuple[Log, Tables]]:
    """Have the log and the tables where somebody answers requests: the workers, or a router in this very process."""
    if settings.embedded.data_dir is None:
        async with opened(settings) as servers:
            yield servers
        return
    with EmbeddedDatabase(existing_file(settings)) as database:
        partitions = await EmbeddedLog(database, SystemClock()).partitions(LOG)
    topics = settings.topics.model_copy(update={"partitions": partitions})
    failure: RouterError | None = None
    try:
        async with embedded_router(settings.model_copy(update={"topics": topics})) as embedded:
            try:
                yield embedded.log, embedded.router.tables
            except RouterError as error:
                failure = error
    except* RouterError as errors:
        # The task group of the router wraps what its tasks raise.
        failure = failure or first_of(errors)
    if failure is not None:
        raise failure


def first_of(errors: BaseExceptionGroup[RouterError]) -> RouterError:
    """Return the first error of a group, however deep it is in."""
    first = errors.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


async def examine_embedded(settings: Settings) -> list[Check]:
    """Look at the embedded storage."""
    try:
        async with opened(settings) as (log, tables):
            for stream in streams(settings):
                await log.partitions(stream)
            return [Check("storage", "ok", str(embedded_file(settings))), *await examine_progress(log, tables)]
    except RouterError as error:
        return [failed("storage", error)]
