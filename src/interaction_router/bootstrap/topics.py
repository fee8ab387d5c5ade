"""Topics, to compare, to make and to read by their whole names."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from interaction_router.adapters.clock import SystemClock
from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.topics import EmbeddedTopics
from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.adapters.kafka.topics import Applied, Difference, TopicAdmin, TopicPlan, subscribers_plan
from interaction_router.bootstrap.storage import existing_file, kafka_log, new_file, opened_log
from interaction_router.ports import Log
from interaction_router.settings import Settings


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
    if settings.embedded.data_dir is None:
        async with _admin(settings, settings.namespace) as admin:
            yield admin
        return
    with EmbeddedDatabase(new_file(settings) if create else existing_file(settings)) as database:
        yield EmbeddedTopics(EmbeddedLog(database, SystemClock()))


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


async def create_topic(settings: Settings, topics: Log, topic: str, partitions: int) -> None:
    """Make a topic that is nobody's yet, by its whole name, and with as many partitions."""
    wanted = subscribers_plan(settings.topics, topic, partitions)
    if isinstance(topics, EmbeddedLog):
        await EmbeddedTopics(topics).apply([wanted])
        return
    async with _admin(settings, "") as admin:
        await admin.apply([wanted])


def kafka_topics(settings: Settings) -> AbstractAsyncContextManager[TopicAdmin]:
    """Have the topics on Kafka alone, where they can be removed too."""
    return _admin(settings, settings.namespace)


@asynccontextmanager
async def _admin(settings: Settings, namespace: str) -> AsyncIterator[TopicAdmin]:
    admin = TopicAdmin(client_options(settings.kafka), namespace)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.stop()
