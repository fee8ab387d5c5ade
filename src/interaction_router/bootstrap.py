"""The only wiring: settings to clients to application objects."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Protocol

from prometheus_client import CollectorRegistry

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.shell import EmbeddedShell
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.adapters.embedded.topics import EmbeddedTopics
from interaction_router.adapters.embedded.upkeep import EmbeddedUpkeep
from interaction_router.adapters.examination import examine_progress
from interaction_router.adapters.failpoints import Failpoints
from interaction_router.adapters.kafka.client import client_options, milliseconds
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.adapters.kafka.shell import FaustShell, ShellOptions
from interaction_router.adapters.kafka.topics import Applied, Difference, TopicAdmin, TopicPlan, check_topics
from interaction_router.adapters.measured import MeasuredLog, MeasuredStage, MeasuredTables
from interaction_router.adapters.probes import Probes, serving
from interaction_router.adapters.prometheus import Meters
from interaction_router.adapters.redis.client import open_client
from interaction_router.adapters.redis.tables import RedisTables
from interaction_router.adapters.redis.upkeep import RedisUpkeep
from interaction_router.adapters.spool import DiskSpool
from interaction_router.application.delivery import Delivery
from interaction_router.application.diagnosis import Check, failed
from interaction_router.application.handled import HANDLED
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
from interaction_router.application.snapshots import SNAPSHOTS
from interaction_router.application.stages import AssignmentStage
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.application.views import DEAD_LETTERS, LOG, STATE, UPDATES, Views
from interaction_router.domain.errors import FatalError, RetryableError, RouterError
from interaction_router.domain.rows import Policy
from interaction_router.ports import Clock, Log, Observer, Stage, Tables, Upkeep
from interaction_router.settings import Settings
from interaction_router.settings.failpoints import parse_failpoints
from interaction_router.wire.addresses import canonical_contact_address, canonical_own_addresses

_LOGGER = logging.getLogger("interaction_router.bootstrap")
COMPACTED = frozenset({AGENTS, STATE, SNAPSHOTS, HANDLED})
_AGENTS_EVERY_S = 0.25
_TICK_EVERY_S = 1.0
_PULSE_EVERY_S = 0.5
_PATIENCE = timedelta(seconds=60)


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch."""
        return time.time_ns() // 1_000_000


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
                group.create_task(_every(_AGENTS_EVERY_S, self.agents.follow), name="agents")
            if "assignment" in roles:
                group.create_task(_every(_TICK_EVERY_S, self.assignment.tick), name="ticks")
                group.create_task(_every(_TICK_EVERY_S, self.assignment.mend_state), name="state-topic")


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        with suppress(RetryableError):
            await work()
        await asyncio.sleep(seconds)


async def build_router(
    settings: Settings, log: Log, tables: Tables, clock: Clock, observer: Observer = UNOBSERVED
) -> Router:
    """Return the router on a log whose topics are there; the agents are read to their end."""
    partitions = await log.partitions(LOG)
    agents = Agents(log)
    await agents.follow()
    intake = IntakeStage(
        log,
        agents,
        Hints(tables, clock, partitions=partitions),
        intake_settings(settings),
        partitions=partitions,
        lineages={stream: await log.lineage(stream) for stream in raw_streams(settings)},
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
        closed_retention_ms=None
        if settings.closed_retention is None
        else int(settings.closed_retention.total_seconds() * 1000),
    )


def intake_settings(settings: Settings) -> IntakeSettings:
    """Return what raw records are read with."""
    tenants = {
        name: TenantSettings(
            tenant.region, canonical_own_addresses(tenant.addresses, tenant.region or settings.default_region)
        )
        for name, tenant in settings.tenants.items()
    }
    return IntakeSettings(
        namespace=settings.namespace,
        channels=settings.channels,
        default_region=settings.default_region,
        tenants=tenants,
        unqualified=settings.unqualified,
        inputs=settings.inputs_namespace,
    )


def streams(settings: Settings) -> tuple[str, ...]:
    """Return every stream that a router needs."""
    return (*raw_streams(settings), AGENTS, LOG, OUTCOMES, UPDATES, STATE, DEAD_LETTERS, SNAPSHOTS)


def raw_streams(settings: Settings) -> tuple[str, ...]:
    """Return the streams that intake reads."""
    return (*(f"interactions.{channel}.v1" for channel in settings.channels), CONTACTS, COMMANDS)


async def _partitions_of(log: EmbeddedLog, settings: Settings) -> int:
    """Return how many partitions the storage has, which is for ever, or is to have where it is new."""
    with suppress(FatalError):
        return await log.partitions(LOG)
    return settings.topics.partitions


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
    path = embedded_file(settings)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    with EmbeddedDatabase(path) as database:
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


@asynccontextmanager
async def kafka_log(settings: Settings) -> AsyncIterator[KafkaLog]:
    """Have the log on Kafka as long as the context lasts; it connects at its first call."""
    log = KafkaLog(client_options(settings.kafka), settings.namespace, inputs=settings.inputs_namespace)
    try:
        yield log
    finally:
        await log.stop()


@asynccontextmanager
async def redis_tables(settings: Settings) -> AsyncIterator[RedisTables]:
    """Have the tables on Redis as long as the context lasts; the server is checked first."""
    client = open_client(settings.redis)
    try:
        tables = RedisTables(client, settings.namespace)
        await tables.check()
        yield tables
    finally:
        await client.close()


async def run_worker(settings: Settings, roles: Sequence[Role], *, ready: Callable[[int], None]) -> None:
    """Run the stages of these roles on Kafka and Redis until cancelled; then finish what is under way.

    `ready` hears how many partitions the worker has, once each of its roles has been given its own and has taken them
    over.
    """
    had: dict[str, int] = {}

    def on_ready(role: str, partitions: int) -> None:
        first = role not in had
        had[role] = partitions
        if first and len(had) == len(roles):
            ready(had.get("assignment", partitions))

    meters, watch, clock = Meters(CollectorRegistry()), time.perf_counter, SystemClock()
    async with kafka_log(settings) as log, redis_tables(settings) as tables:
        await check_topics(log, settings.channels)
        measured = MeasuredLog(log, meters, watch), MeasuredTables(tables, meters, watch)
        observer = _observer(settings, meters)
        router = await build_router(settings, *measured, clock, observer)
        stages = {role: MeasuredStage(stage, role, meters, watch) for role, stage in router.stages(roles).items()}
        shell = FaustShell(_shell_options(settings), stages, on_ready=on_ready, observer=observer)
        probes = Probes(shell, meters, clock, stall_limit_s=settings.worker.stall_limit.total_seconds())
        with serving(settings.worker, probes.pages()):
            await _run_shell(shell, router.run_timers(roles), _every(_PULSE_EVERY_S, probes.pulse))


def _observer(settings: Settings, meters: Meters) -> Observer:
    """Return who hears what the stages do: the meters alone, where no test wants the worker to die."""
    if settings.failpoints is None:
        return meters
    _LOGGER.warning("failpoints_set", extra={"failpoints": settings.failpoints})
    return Failpoints(parse_failpoints(settings.failpoints), meters)


async def _run_shell(shell: FaustShell, *timers: Coroutine[None, None, None]) -> None:
    """Run the shell until it ends or this is cancelled; a timer that ends, ends the shell."""
    beside = [asyncio.create_task(timer, name="timers") for timer in timers]
    for task in beside:
        task.add_done_callback(lambda task: None if task.cancelled() else shell.stop())
    running = asyncio.create_task(shell.run(), name="shell")
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        shell.stop()
        await running
    finally:
        for task in beside:
            task.cancel()
    for task in beside:
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def delivery(settings: Settings, log: Log, receiver: str) -> AsyncIterator[Delivery]:
    """Have what takes a receiver's records as long as the context lasts; its spool is drained meanwhile.

    `receiver` names the spool's file, since a spool is one process's.
    """
    at = settings.receivers.spool
    path = None if at.dir is None else at.dir / f"{settings.namespace}.{receiver}.spool"
    spool = None if path is None else DiskSpool(path, max_bytes=at.max_bytes)
    try:
        taker = Delivery(log, spool)
        await taker.start()
        draining = asyncio.create_task(taker.run(), name="spool")
        try:
            yield taker
        finally:
            draining.cancel()
            with suppress(asyncio.CancelledError):
                await draining
    finally:
        if spool is not None:
            await spool.close()


def _shell_options(settings: Settings) -> ShellOptions:
    kafka = settings.kafka
    return ShellOptions(
        client=client_options(kafka),
        namespace=settings.namespace,
        inputs=settings.inputs_namespace,
        session_timeout_ms=milliseconds(kafka.session_timeout),
        heartbeat_interval_ms=milliseconds(kafka.heartbeat_interval),
        group_instance_id=kafka.group_instance_id,
        batch_records=settings.worker.batch_records,
        stall_limit_s=settings.worker.stall_limit.total_seconds(),
    )


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[Log, Tables]]:
    """Have the log and the tables, to look at: of the embedded data directory where one is set, else of the servers."""
    if settings.embedded.data_dir is None:
        async with kafka_log(settings) as log, redis_tables(settings) as tables:
            yield log, tables
        return
    with EmbeddedDatabase(_existing_file(settings)) as database:
        yield EmbeddedLog(database, SystemClock()), EmbeddedTables(database)


@dataclass(frozen=True, slots=True)
class State:
    """What the commands about the state stand on; `shared` where workers may be at it meanwhile."""

    log: Log
    tables: Tables
    upkeep: Upkeep
    views: Views
    shared: bool


@asynccontextmanager
async def opened_state(settings: Settings) -> AsyncIterator[State]:
    """Have log and tables as `opened` does, with what acts on the tables as a whole."""
    if settings.embedded.data_dir is not None:
        with EmbeddedDatabase(_existing_file(settings)) as database:
            log = EmbeddedLog(database, SystemClock())
            views = await views_of(settings, log)
            yield State(log, EmbeddedTables(database), EmbeddedUpkeep(database), views, shared=False)
        return
    await _look_at_redis(settings)
    # A flip of many rows takes long, and its answer is worth waiting for.
    client = open_client(settings.redis.model_copy(update={"timeout": max(settings.redis.timeout, _PATIENCE)}))
    try:
        async with kafka_log(settings) as kafka:
            tables = RedisTables(client, settings.namespace)
            upkeep = RedisUpkeep(client, settings.namespace)
            yield State(kafka, tables, upkeep, await views_of(settings, kafka), shared=True)
    finally:
        await client.close()


async def _look_at_redis(settings: Settings) -> None:
    """See that it answers, as soon as it is to answer anything else."""
    client = open_client(settings.redis)
    try:
        await RedisTables(client, settings.namespace).check()
    finally:
        await client.close()


@contextmanager
def scratch() -> Iterator[tuple[Tables, Upkeep]]:
    """Have empty tables in a file of one's own, which is gone afterwards."""
    with (
        TemporaryDirectory(prefix="interaction-router-") as folder,
        EmbeddedDatabase(Path(folder) / "fold") as database,
    ):
        yield EmbeddedTables(database), EmbeddedUpkeep(database)


async def lineage_of(log: Log) -> str:
    """Return what names the internal log as a whole: its two topics."""
    return f"{await log.lineage(LOG)}/{await log.lineage(OUTCOMES)}"


async def views_of(settings: Settings, log: Log) -> Views:
    """Return what makes the views of this router's outcomes."""
    return Views(
        namespace=settings.namespace,
        partitions=await log.partitions(LOG),
        lineage=await lineage_of(log),
        inputs=settings.inputs_namespace,
    )


@asynccontextmanager
async def answering(settings: Settings) -> AsyncIterator[tuple[Log, Tables]]:
    """Have the log and the tables where somebody answers requests: the workers, or a router in this very process."""
    if settings.embedded.data_dir is None:
        async with opened(settings) as servers:
            yield servers
        return
    with EmbeddedDatabase(_existing_file(settings)) as database:
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


def embedded_file(settings: Settings) -> Path | None:
    """Return the file of the embedded storage, None where it is in memory."""
    directory = settings.embedded.data_dir
    return None if directory is None else directory / f"{settings.namespace}.sqlite"


def _existing_file(settings: Settings) -> Path:
    path = embedded_file(settings)
    if path is None or not path.exists():
        cause = f"There is no router's storage at {path}."
        advice = "Check the directory and `namespace`; `interaction-router topics apply --data DIR` makes a new one."
        raise FatalError("embedded_missing", cause, advice)
    return path


@asynccontextmanager
async def opened_log(settings: Settings) -> AsyncIterator[Log]:
    """Have the log alone, likewise."""
    if settings.embedded.data_dir is None:
        async with kafka_log(settings) as log:
            yield log
    else:
        async with opened(settings) as (embedded, _):
            yield embedded


def endpoint_of(settings: Settings, tenant: str, address: str) -> str:
    """Return the endpoint that an address means to a person of this tenant.

    Raises:
        RejectedError: `address_invalid`.
    """
    return canonical_contact_address(address, intake_settings(settings).region(tenant), field="address")


class Topics(Protocol):
    """Compares topics with their plans and mends them."""

    async def diff(self, plans: Sequence[TopicPlan]) -> Sequence[Difference]:
        """Return how they differ."""
        ...

    async def apply(self, plans: Sequence[TopicPlan]) -> Applied:
        """Mend what can be mended."""
        ...

    async def trim(self, stream: str, ends: Mapping[int, int]) -> None:
        """Remove the records of each partition that are before an offset, for good."""
        ...


@asynccontextmanager
async def topics_of(settings: Settings, *, create: bool = False) -> AsyncIterator[Topics]:
    """Have the topics to compare and mend; `create` makes the embedded storage where there is none."""
    path = embedded_file(settings)
    if path is None:
        admin = TopicAdmin(client_options(settings.kafka), settings.namespace)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.stop()
        return
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
    with EmbeddedDatabase(path if create else _existing_file(settings)) as database:
        yield EmbeddedTopics(EmbeddedLog(database, SystemClock()))


async def examine_embedded(settings: Settings) -> list[Check]:
    """Look at the embedded storage."""
    try:
        async with opened(settings) as (log, tables):
            for stream in streams(settings):
                await log.partitions(stream)
            return [Check("storage", "ok", str(embedded_file(settings))), *await examine_progress(log, tables)]
    except RouterError as error:
        return [failed("storage", error)]
