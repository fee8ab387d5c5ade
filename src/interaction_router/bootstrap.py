"""The only wiring: settings to clients to application objects."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.shell import EmbeddedShell
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.adapters.embedded.topics import EmbeddedTopics
from interaction_router.adapters.examination import examine_progress
from interaction_router.adapters.kafka.client import client_options, milliseconds
from interaction_router.adapters.kafka.groups import begin_at, committed
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.adapters.kafka.shell import FaustShell, ShellOptions
from interaction_router.adapters.kafka.survey import members_of
from interaction_router.adapters.kafka.topics import (
    Applied,
    Difference,
    TopicAdmin,
    TopicPlan,
    check_topics,
    plan,
    subscribers_plan,
)
from interaction_router.adapters.redis.client import open_client
from interaction_router.adapters.redis.tables import RedisTables
from interaction_router.application.diagnosis import Check, failed
from interaction_router.application.differences import Comparison
from interaction_router.application.handled import HANDLED, HandledLetters
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
from interaction_router.application.letters import Letters
from interaction_router.application.log_replay import LogReplay, ReplayScope
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.promotion import Finding, of_lag, of_undecided, of_workers, undecided
from interaction_router.application.redriving import Redriving
from interaction_router.application.second_log import SecondLogWriter
from interaction_router.application.stages import AssignmentStage
from interaction_router.application.views import DEAD_LETTERS, LOG, STATE, UPDATES, Views
from interaction_router.domain.errors import FatalError, RetryableError, RouterError
from interaction_router.domain.names import topic_name
from interaction_router.domain.rows import Policy
from interaction_router.ports import Clock, Log, Stage, Tables
from interaction_router.settings import Settings
from interaction_router.wire.addresses import canonical_contact_address, canonical_own_addresses

COMPACTED = frozenset({AGENTS, STATE, HANDLED})
_AGENTS_EVERY_S = 0.25
_TICK_EVERY_S = 1.0


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


async def build_router(settings: Settings, log: Log, tables: Tables, clock: Clock) -> Router:
    """Return the router on a log whose topics are there; the agents are read to their end."""
    partitions = await log.partitions(LOG)
    lineage = await _internal_lineage(log)
    agents = Agents(log)
    await agents.follow()
    intake = IntakeStage(
        log,
        agents,
        Hints(tables, clock, partitions=partitions),
        intake_settings(settings),
        partitions=partitions,
        lineages={stream: await log.lineage(stream) for stream in _raw_streams(settings)},
    )
    assignment = AssignmentStage(
        log,
        tables,
        clock,
        Views(namespace=settings.namespace, partitions=partitions, lineage=lineage, inputs=settings.inputs_namespace),
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
    return (*_raw_streams(settings), AGENTS, LOG, OUTCOMES, UPDATES, STATE, DEAD_LETTERS)


def _raw_streams(settings: Settings) -> tuple[str, ...]:
    return (*(f"interactions.{channel}.v1" for channel in settings.channels), CONTACTS, COMMANDS)


def letters(settings: Settings, log: Log) -> Letters:
    """Return the dead letters."""
    return Letters(log, namespace=settings.namespace, inputs=settings.inputs_namespace)


def redriving(settings: Settings, log: Log, letters: Letters, handled: HandledLetters) -> Redriving:
    """Return what sends dead letters back to where they came from, and marks them."""
    names = (settings.namespace, settings.inputs_namespace)
    inputs = {stream: topic_name(names[0], stream, names[1]) for stream in _raw_streams(settings)}
    return Redriving(letters, log, handled, SystemClock(), inputs=inputs)


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

    `ready` hears how many partitions the worker has, once each of its roles has been given its own.
    """
    assigned: dict[str, int] = {}

    def on_assigned(role: str, partitions: int) -> None:
        first = role not in assigned
        assigned[role] = partitions
        if first and len(assigned) == len(roles):
            ready(assigned.get("assignment", partitions))

    async with kafka_log(settings) as log, redis_tables(settings) as tables:
        await check_topics(log, settings.channels)
        router = await build_router(settings, log, tables, SystemClock())
        shell = FaustShell(_shell_options(settings), router.stages(roles), on_assigned=on_assigned)
        timers = asyncio.create_task(router.run_timers(roles), name="timers")
        timers.add_done_callback(lambda task: None if task.cancelled() else shell.stop())
        running = asyncio.create_task(shell.run(), name="shell")
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            shell.stop()
            await running
        finally:
            timers.cancel()
        with suppress(asyncio.CancelledError):
            await timers


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


@asynccontextmanager
async def opened_topics(settings: Settings) -> AsyncIterator[tuple[Log, Log]]:
    """Have the log alone, and topics of anybody by their whole names; embedded, all are in the one file."""
    if settings.embedded.data_dir is not None:
        async with opened_log(settings) as embedded:
            yield embedded, embedded
        return
    topics = KafkaLog(client_options(settings.kafka), "")
    try:
        async with kafka_log(settings) as log:
            yield log, topics
    finally:
        await topics.stop()


@dataclass(frozen=True, slots=True)
class SecondLog:
    """The log of a router that is being made; `complete` makes the topics that it needs besides, last."""

    lineage: str
    writer: SecondLogWriter
    complete: Callable[[], Awaitable[None]]


async def is_free(settings: Settings) -> bool:
    """Tell whether nothing is there of the router of these settings."""
    path = embedded_file(settings)
    if path is not None:
        return not path.exists()
    plans = _plans(settings)
    async with topics_of(settings) as topics:
        missing = [each for each in await topics.diff(plans) if each.kind == "missing"]
    return len(missing) == len(plans)


def _plans(settings: Settings) -> list[TopicPlan]:
    return plan(settings.topics, settings.channels, inputs_elsewhere=settings.inputs_namespace is not None)


@asynccontextmanager
async def second_log(settings: Settings) -> AsyncIterator[SecondLog]:
    """Make the topics of a router that are written, and have them; until it is complete no worker starts on it."""
    plans = _plans(settings)
    written = [each for each in plans if each.stream in {LOG, OUTCOMES, UPDATES, STATE, DEAD_LETTERS}]
    path = embedded_file(settings)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        done = False
        with EmbeddedDatabase(part) as database:
            embedded = EmbeddedLog(database, SystemClock())
            await EmbeddedTopics(embedded).apply(written)

            async def complete_file() -> None:
                nonlocal done
                await EmbeddedTopics(embedded).apply(plans)
                done = True

            yield await _second(settings, embedded, complete_file)
        if done:
            part.rename(path)
        return
    async with topics_of(settings) as topics, kafka_log(settings) as log:

        async def complete_topics() -> None:
            await topics.apply(plans)

        await topics.apply(written)
        yield await _second(settings, log, complete_topics)


async def _second(settings: Settings, log: Log, complete: Callable[[], Awaitable[None]]) -> SecondLog:
    lineage = await _internal_lineage(log)
    views = Views(
        namespace=settings.namespace,
        partitions=await log.partitions(LOG),
        lineage=lineage,
        inputs=settings.inputs_namespace,
    )
    return SecondLog(lineage, SecondLogWriter(log, views), complete)


async def _internal_lineage(log: Log) -> str:
    """Return what names the internal log as a whole: its two topics."""
    return f"{await log.lineage(LOG)}/{await log.lineage(OUTCOMES)}"


def second_settings(
    settings: Settings, namespace: str, partitions: int | None, *, whole: bool = True
) -> dict[str, object]:
    """Return what the settings of a router that is made by a replay have otherwise.

    One that has the whole log goes on with the same inputs; a part of it is for looking at.
    """
    alone = settings.embedded.data_dir is not None or not whole
    inputs = None if alone else settings.inputs_namespace or settings.namespace
    return {"namespace": namespace, "inputs_namespace": inputs, "topics.partitions": partitions}


async def intake_offsets(settings: Settings) -> dict[tuple[str, int], int]:
    """Return how far intake has got with the inputs; nothing of embedded storage."""
    if settings.embedded.data_dir is not None:
        return {}
    return await committed(client_options(settings.kafka), f"{settings.namespace}-intake")


async def begin_intake_at(settings: Settings, offsets: Mapping[tuple[str, int], int]) -> None:
    """Let intake of a router that was never started begin there."""
    await begin_at(client_options(settings.kafka), f"{settings.namespace}-intake", offsets)


async def examine_promotion(settings: Settings, second: Settings) -> list[Finding]:
    """Look at whether the second router can take over.

    Raises:
        FatalError: it is not whole.
    """
    options = client_options(second.kafka)
    async with kafka_log(second) as log:
        await check_topics(log, second.channels)
        left = await undecided(log)
    members = await members_of(options, [f"{second.namespace}-{role}" for role in ROLES])
    return [
        of_workers(members),
        of_lag(await intake_offsets(settings), await intake_offsets(second)),
        of_undecided(left),
    ]


async def log_replay(
    settings: Settings, log: Log, *, partitions: int | None, lineage: str, scope: ReplayScope
) -> LogReplay:
    """Return the replay of a router's log for one of another lineage; as many partitions where no number is given."""
    count = await log.partitions(LOG)
    return LogReplay(
        log,
        namespace=settings.namespace,
        partitions=(count, partitions or count),
        lineages=(await _internal_lineage(log), lineage),
        scope=scope,
        comparison=Comparison(namespace=settings.namespace),
    )


async def create_topic(settings: Settings, topics: Log, topic: str, partitions: int) -> None:
    """Make a topic that is nobody's yet, by its whole name, and with as many partitions."""
    wanted = subscribers_plan(settings.topics, topic, partitions)
    if isinstance(topics, EmbeddedLog):
        await EmbeddedTopics(topics).apply([wanted])
        return
    admin = TopicAdmin(client_options(settings.kafka), "")
    await admin.start()
    try:
        await admin.apply([wanted])
    finally:
        await admin.stop()


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
