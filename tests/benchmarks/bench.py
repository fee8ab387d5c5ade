"""The servers, sizes and screen that all measurements share."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from rich.progress import Progress

from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.settings.model import KafkaSettings
from tests.benchmarks.measuring import Subjects
from tests.integration.running import Running
from tests.servers import Broker, RedisServer


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    records: int = 200_000
    contacts: int = 20_000
    faust_records: int = 10_000
    latency_rate: int = 1_000
    latency_s: int = 20
    takeover_contacts: int = 100_000
    memory_contacts: int = 200_000
    wiped_contacts: int = 200_000
    stops: int = 12
    webhooks: int = 20_000
    webhook_rate: int = 500
    webhook_s: int = 20


QUICK = Sizes(
    records=40_000,
    contacts=4_000,
    faust_records=3_000,
    latency_s=5,
    takeover_contacts=5_000,
    memory_contacts=10_000,
    wiped_contacts=10_000,
    stops=4,
    webhooks=5_000,
    webhook_s=5,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything a measurement needs."""

    broker: Broker
    redis: RedisServer
    folder: Path
    sizes: Sizes
    progress: Progress

    def running(self, namespace: str, **settings: str) -> Running:
        """Return a router of its own."""
        return Running(
            bootstrap=self.broker.bootstrap,
            redis_url=self.redis.url,
            namespace=namespace,
            folder=self.folder,
            **settings,
        )

    def subjects(self, pids: Sequence[int]) -> Subjects:
        """Return these processes with the servers that they use."""
        return Subjects(pids, self.broker.pid, self.redis.pid)

    def note(self, line: str) -> None:
        """Print what was found at once, so that a run that is cut short has not been for nothing."""
        self.progress.console.print(line)

    @contextmanager
    def step(self, what: str, total: int | None = None) -> Iterator["Step"]:
        """Show a step on the screen for as long as it lasts."""
        if not self.progress.console.is_terminal:
            self.progress.console.print(what)  # no bars there
        task = self.progress.add_task(what, total=total)
        yield Step(
            lambda done: self.progress.update(task, completed=done),
            lambda more: self.progress.advance(task, more),
        )
        found = next(each for each in self.progress.tasks if each.id == task)
        self.progress.update(task, total=found.completed or 1, completed=found.completed or 1)


@dataclass(frozen=True, slots=True)
class Step:
    """How far a step is: in all, or more than before."""

    done: Callable[[int], None]
    more: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group and the topic that it reads, named as Kafka has them."""

    name: str
    topic: str

    async def committed(self, settings: KafkaSettings) -> bool:
        """Tell whether the group has committed all that the topic has."""
        consumer = AIOKafkaConsumer(**client_options(settings), group_id=None)
        admin = AIOKafkaAdminClient(**client_options(settings))
        await consumer.start()
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(self.name)
            # A consumer knows the partitions of its own topics only, and this one has none.
            (described,) = await admin.describe_topics([self.topic])
            places = [TopicPartition(self.topic, each["partition"]) for each in described["partitions"]]
            last = await consumer.end_offsets(places)
        finally:
            await admin.close()
            await consumer.stop()
        return all(place in found and found[place].offset >= end for place, end in last.items() if end)


async def ends(log: KafkaLog, stream: str) -> int:
    """Return how many records the stream has had."""
    return sum([(await log.bounds(stream, partition)).end for partition in range(await log.partitions(stream))])
