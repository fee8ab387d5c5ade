"""Faust as the shell: group membership, rebalances and supervised services; whole batches as the hand-over.

Faust's own path, an event at a time, handles a few thousand events a second and loses some on an exception. So its
consumer is replaced where it would drain messages: every assigned partition gets a `Lane`, and Faust keeps the rest.
Private names of Faust are overridden here and nowhere else; a test checks that they still are what they were.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import aiokafka
import faust
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.app.base import BootStrategy
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP
from mode.threads import ServiceThread, WorkerThread

from interaction_router.adapters.kafka.client import ClientOptions
from interaction_router.adapters.kafka.consumer import PacedConsumer, paced_consumer
from interaction_router.adapters.kafka.failures import translated
from interaction_router.adapters.kafka.lane import Waiting
from interaction_router.adapters.kafka.lanes import COMMIT_LIMIT_S, FINISH_S, Duty, Extent, Lanes
from interaction_router.application.health import LaneState
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.domain.errors import FatalError
from interaction_router.domain.names import topic_name
from interaction_router.ports import Observer, Received, Stage

logger = logging.getLogger(__name__)

POLL_S = 5.0
"""How long a lane waits for records before it asks again."""
PARTITION_FETCH_BYTES = 2 * 1024 * 1024
"""What is fetched ahead of one partition at most, but for a single batch that is larger."""
FETCH_BYTES = 16 * 1024 * 1024
"""What one answer of a broker holds at most."""
POLL_LIMIT_MS = 3_600_000
"""Longer than any batch: the shell's own watchdog ends a worker that stands still long before."""
COMMIT_EVERY_S = 1.0
CHECK_EVERY_S = 10.0
"""How often the broker is asked whether there are records that are not fetched."""
LEAVE_S = 1.0
"""How long the brokers may take to hear that a member leaves; its session ends by itself otherwise."""
STOP_S = 3.0
"""How long the services of Faust may take to stop behind that; all of it together stays under 10 s."""


@dataclass(frozen=True, slots=True)
class ShellOptions:
    """How to be a member of the stages' groups."""

    client: ClientOptions
    namespace: str
    inputs: str | None = None
    session_timeout_ms: int = 10_000
    heartbeat_interval_ms: int = 300
    group_instance_id: str | None = None
    leave_at_stop: bool = True
    batch_records: int = 1000
    stall_limit_s: float = 60.0


class FaustShell:
    """Drives stages, each as a Faust app of its own group `NS-<role>`, in one event loop.

    Delivery is at least once: the group's offset is committed behind `handle`, every second, at a stop and at a
    rebalance. One object is run once.
    """

    def __init__(
        self,
        options: ShellOptions,
        stages: Mapping[str, Stage],
        *,
        on_ready: Callable[[str, int], None],
        observer: Observer = UNOBSERVED,
    ) -> None:
        """Name each stage's role.

        `on_ready` hears of each role's number of partitions after each rebalance, once their takeovers are done.
        """
        self._options = options
        self._stages = stages
        self._on_ready = on_ready
        self._observer = observer
        self._apps: list[StageApp] = []
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Run until `stop`: batches under way are finished and committed, then each stage forgets its partitions.

        Raises:
            BaseException: the first exception of a stage that is no `RetryableError`, or of Faust; the process is to
                end non-zero, since a supervisor's new one starts from what is committed.
        """
        waiting = Waiting()
        apps = self._apps = [self._app(role, stage, waiting) for role, stage in self._stages.items()]
        watches = [asyncio.create_task(self._watch(app), name=f"watch:{app.duty.role}") for app in apps]
        try:
            for app in apps:
                await app.start()
            await self._stopping.wait()
        except KafkaError as error:
            raise translated(error, "start of the shell") from error
        finally:
            for watch in watches:
                watch.cancel()
            await _stop_all(apps)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    @property
    def ready(self) -> bool:
        """Whether every role has its partitions and their takeovers are done; those may be none."""
        apps = list(self._apps)
        return (
            bool(apps)
            and not self._stopping.is_set()
            and all(app.lanes is not None and app.lanes.ready for app in apps)
        )

    async def states(self) -> list[LaneState]:
        """Return how far each partition of each role is; to be called in any event loop."""
        found = [await app.lanes.states() for app in list(self._apps) if app.lanes is not None]
        return [state for states in found for state in states]

    def busy(self) -> Mapping[str, float]:
        """Return for how long each partition has not got on with what it has: the longest is what counts."""
        lanes = [app.lanes for app in list(self._apps) if app.lanes is not None]
        return {name: seconds for each in lanes for name, seconds in each.busy().items()}

    def fail(self, failure: BaseException) -> None:
        """Let `run` end with the failure, the first that there is."""
        if self._failure is None and not self._stopping.is_set():
            self._failure = failure
        self._stopping.set()

    async def _watch(self, app: "StageApp") -> None:
        """End the shell with an app that has crashed; Faust itself would only log it."""
        await app.wait_until_stopped()
        cause = f"The Faust app of {app.duty.role} has ended."
        self.fail(app.crash_reason or FatalError("shell_crashed", cause))

    def _app(self, role: str, stage: Stage, waiting: Waiting) -> "StageApp":
        """Return the role's app, which subscribes the stage's topics."""
        duty = Duty(
            role,
            stage,
            namespace=self._options.namespace,
            batch_records=self._options.batch_records,
            stall_limit_s=self._options.stall_limit_s,
            waiting=waiting,
            on_ready=lambda partitions: self._on_ready(role, partitions),
            on_failure=self.fail,
            observer=self._observer,
            inputs=self._options.inputs,
        )
        return StageApp(duty, self._options)


class _EndingThread(WorkerThread):
    """A thread that ends with the process, whatever it waits for."""

    def __init__(self, service: ServiceThread) -> None:
        super().__init__(service)
        self.daemon = True


class BatchConsumerThread(AIOKafkaConsumerThread):
    """Faust's thread with aiokafka's consumer in it, so that heartbeats go on while a batch keeps the main loop busy."""

    Worker = _EndingThread

    def _create_worker_consumer(self, transport: Transport) -> aiokafka.AIOKafkaConsumer:  # noqa: ARG002 - Faust's signature
        """Return the consumer; Faust's own would take neither the client's options nor limits of bytes.

        Round robin deals out topics of different partition counts evenly; Faust's own assignor wants the partitions of
        all topics in one hand.
        """
        app = _stage_app(self.app)
        options = app.options
        self._assignor = RoundRobinPartitionAssignor  # as Faust does without tables
        return paced_consumer(
            **options.client,
            group_id=app.conf.id,
            group_instance_id=options.group_instance_id,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=options.session_timeout_ms,
            heartbeat_interval_ms=options.heartbeat_interval_ms,
            rebalance_timeout_ms=max(30_000, options.session_timeout_ms),
            max_poll_interval_ms=POLL_LIMIT_MS,
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            check_crcs=False,  # TCP and the broker have checked; in Python it would cost as much as parsing
            isolation_level="read_uncommitted",
        )

    async def leave(self) -> None:
        """Leave the group, unless a restart is to find the partitions where they are; wait for a broker only so long."""
        if self.should_stop or not self.started:
            return
        with suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(LEAVE_S):
                await self._there(self._leave())

    async def _leave(self) -> None:
        consumer = self._consumer
        if isinstance(consumer, PacedConsumer):
            await consumer.leave(named=_stage_app(self.app).options.leave_at_stop)

    async def on_thread_stop(self) -> None:
        """Close the consumer, and leave the group where that has not been done.

        The main loop stands still until the thread has ended, and aiokafka would wait for a broker that says nothing as
        long as for any other answer.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await super().on_thread_stop()

    async def fetch(self, place: TopicPartition, limit: int) -> Sequence[Received]:
        """Return up to `limit` records of one partition."""
        found: Sequence[Received] = await self._there(self._fetch(place, limit))
        return found

    async def go_to(self, place: TopicPartition, offset: int) -> None:
        """Let the partition go on from `offset`."""
        await self._there(self._go_to(place, offset))

    async def keep(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit offsets; those of partitions that are no longer assigned are left out."""
        await self._there(self._keep(offsets))

    async def extents(self, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, Extent]:
        """Return where the next fetch begins and where partitions end; what is no longer assigned is left out."""
        found: Mapping[TopicPartition, Extent] = await self._there(self._extents(places))
        return found

    async def _extents(self, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, Extent]:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        asked = [place for place in places if place in assigned]
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets(asked) if asked else {}
        return {place: Extent(await _position(consumer, place), end) for place, end in ends.items()}

    async def _fetch(self, place: TopicPartition, limit: int) -> Sequence[Received]:
        consumer = self._ensure_consumer()
        found: Mapping[TopicPartition, Sequence[Received]] = await consumer.getmany(
            place, timeout_ms=int(POLL_S * 1000), max_records=limit
        )
        return found.get(place, ())

    async def _go_to(self, place: TopicPartition, offset: int) -> None:
        consumer = self._ensure_consumer()
        if place in consumer.assignment():
            consumer.seek(place, offset)

    async def _keep(self, offsets: Mapping[TopicPartition, int]) -> None:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        kept = {place: OffsetAndMetadata(offset, "") for place, offset in offsets.items() if place in assigned}
        if kept:
            await consumer.commit(kept)

    def _there(self, coroutine: Any) -> "asyncio.Future[Any]":
        """Run it in the thread's loop; Any: whatever the coroutine returns. Faust's queue has two workers for all."""
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.thread_loop))


class BatchConsumer(Consumer):
    """Gives each assigned partition a lane of its own: a slow one holds up no other."""

    _thread: BatchConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: Faust's signature, passed on
        super().__init__(*args, **kwargs)
        app = _stage_app(self.app)
        self._lanes = app.lanes = Lanes(app.duty, self._thread)

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Do nothing: aiokafka begins at the committed offsets, and Faust would undo what the lanes have sought."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: Faust watches its own streams here, which see no event."""

    async def _drain_messages(self, fetcher: Any) -> None:
        """Watch the lanes and commit behind them; Any: Faust's service that calls this where it would drain."""
        checked = 0.0
        while not (self.should_stop or fetcher.should_stop):
            await asyncio.sleep(COMMIT_EVERY_S)
            self._lanes.check_progress()
            await self._lanes.commit()
            if time.monotonic() - checked > CHECK_EVERY_S:
                await self._lanes.check_fetches()
                checked = time.monotonic()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let batches end, commit, forget; only then may others have the partitions."""
        await self._lanes.finish()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begin with what is assigned now, which is all there is: assignments are not incremental."""
        await super().on_partitions_assigned(assigned, generation_id)
        await self._lanes.finish()
        self._lanes.begin([TopicPartition(tp.topic, tp.partition) for tp in assigned])

    async def leave(self) -> None:
        """Let batches end and commit, and others have the partitions: before Faust stops, which takes its time."""
        await self._lanes.finish()
        await self._thread.leave()

    async def on_stop(self) -> None:
        """Let batches end and commit while the consumer still lives."""
        await self._lanes.finish()
        await super().on_stop()


class BatchTransport(Transport):
    """Faust's transport with the consumer that hands over batches."""

    Consumer: ClassVar[type[BatchConsumer]] = BatchConsumer


class _ConsumerOnly(BootStrategy):
    """No producer: what the stages write goes through the log. No web server: the worker has its own."""

    enable_kafka_producer = False
    enable_web = False


class StageApp(faust.App):
    """One stage as a Faust app."""

    BootStrategy = _ConsumerOnly

    def __init__(self, duty: Duty, options: ShellOptions) -> None:
        self.duty = duty
        self.options = options
        self.lanes: Lanes | None = None
        super().__init__(
            f"{options.namespace}-{duty.role}",
            broker="kafka://",  # the consumer thread has the addresses
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            consumer_auto_offset_reset="earliest",
            key_serializer="raw",
            value_serializer="raw",
            broker_session_timeout=options.session_timeout_ms / 1000,
            broker_heartbeat_interval=options.heartbeat_interval_ms / 1000,
            broker_request_timeout=max(90.0, options.session_timeout_ms / 1000),
        )
        # Straight to the conductor: an agent would do no more than bring it the topic.
        names = (topic_name(options.namespace, stream, options.inputs) for stream in duty.stage.streams)
        self.topics.add(self.topic(*names))

    async def leave(self) -> None:
        """Give the partitions up."""
        if isinstance(self._consumer, BatchConsumer):
            await self._consumer.leave()

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Make none: there are no tables."""


def _stage_app(app: object) -> StageApp:
    """Return the app as what it is; Faust's types know only its interface."""
    assert isinstance(app, StageApp)
    return app


async def _position(consumer: aiokafka.AIOKafkaConsumer, place: TopicPartition) -> int | None:
    """Return where the next fetch begins if that is known at once, else None."""
    try:
        async with asyncio.timeout(0):
            position: int = await consumer.position(place)
    except TimeoutError:
        return None
    return position


async def _stop_all(apps: Sequence[StageApp]) -> None:
    """Stop, and no longer than is allowed: what Faust leaves behind ends with the process.

    A time-out around a stop would not do: Faust's services pass over a cancellation, and go on.
    """
    stops = [asyncio.create_task(_stop(app), name=f"stop:{app.duty.role}") for app in reversed(apps)]
    if not stops:
        return
    ended, left = await asyncio.wait(stops, timeout=FINISH_S + COMMIT_LIMIT_S + STOP_S)
    if left:
        logger.warning("stop_cut_short")
    for each in ended:
        each.result()


async def _stop(app: StageApp) -> None:
    try:
        await app.leave()
    finally:
        await app.stop()
