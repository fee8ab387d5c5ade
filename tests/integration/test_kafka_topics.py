"""Topics on a real broker: made, compared, mended, and never shrunk."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from interaction_router.adapters.kafka.client import ClientOptions, client_options
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.adapters.kafka.topics import Difference, TopicAdmin, check_topics, plan
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.ports import Outgoing
from interaction_router.settings.model import KafkaSettings, TopicsSettings
from tests.servers import Broker
from tests.servers.addresses import free_port

CHANNELS = ("voice", "sms")
STREAMS = {
    "interactions.voice.v1", "interactions.sms.v1", "contacts.v1", "agents.v1", "commands.v1", "conversations.v1",
    "conversations.state.v1", "dlq.v1", "internal.log", "internal.outcomes", "internal.dlq.handled", "internal.snapshots",
}  # fmt: skip


@pytest.fixture
def options(broker: Broker) -> ClientOptions:
    return client_options(KafkaSettings(bootstrap_servers=broker.bootstrap))


@pytest.fixture
async def admin(options: ClientOptions, namespace: str) -> AsyncIterator[TopicAdmin]:
    admin = TopicAdmin(options, namespace)
    await admin.start()
    yield admin
    await admin.stop()


@pytest.fixture
async def log(options: ClientOptions, namespace: str) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(options, namespace)
    yield log
    await log.stop()


async def test_apply_makes_everything_once(admin: TopicAdmin, log: KafkaLog) -> None:
    plans = plan(TopicsSettings(partitions=3), CHANNELS)
    assert {(d.kind, d.stream) for d in await admin.diff(plans)} == {("missing", stream) for stream in STREAMS}
    applied = await admin.apply(plans)
    assert {d.stream for d in applied.done} == STREAMS
    assert not applied.refused
    assert await admin.diff(plans) == []
    assert not (await admin.apply(plans)).done
    assert await check_topics(log, CHANNELS) == 3


async def test_configurations_are_set_one_by_one(admin: TopicAdmin) -> None:
    await admin.apply(plan(TopicsSettings(partitions=1), CHANNELS))
    longer = plan(TopicsSettings(partitions=1, input_retention=None, dlq_retention=timedelta(days=1)), CHANNELS)
    changed = {d.stream: (d.name, d.wanted) for d in (await admin.apply(longer)).done}
    assert changed == {
        "interactions.voice.v1": ("retention.ms", "-1"),
        "interactions.sms.v1": ("retention.ms", "-1"),
        "contacts.v1": ("retention.ms", "-1"),
        "commands.v1": ("retention.ms", "-1"),
        "dlq.v1": ("retention.ms", "86400000"),
    }
    assert await admin.diff(longer) == []


async def test_only_inputs_grow_and_nothing_shrinks(admin: TopicAdmin, log: KafkaLog) -> None:
    await admin.apply(plan(TopicsSettings(partitions=2), CHANNELS))
    inputs = {"interactions.voice.v1", "interactions.sms.v1", "contacts.v1", "agents.v1", "commands.v1"}
    applied = await admin.apply(plan(TopicsSettings(partitions=4), CHANNELS))
    assert {d.stream for d in applied.done} == inputs
    assert {d.stream for d in applied.refused} == STREAMS - inputs
    assert Difference("partitions", "internal.log", "partitions", "4", "2", mendable=False) in applied.refused
    assert await log.partitions("contacts.v1") == 4
    assert await log.partitions("internal.log") == 2
    fewer = await admin.apply(plan(TopicsSettings(partitions=1), CHANNELS))
    assert not fewer.done
    assert {d.stream for d in fewer.refused} == STREAMS - inputs
    assert await log.partitions("contacts.v1") == 4


async def test_more_copies_than_brokers_is_said_in_the_brokers_words(admin: TopicAdmin) -> None:
    with pytest.raises(FatalError, match="topic_refused"):
        await admin.apply(plan(TopicsSettings(partitions=1, replication_factor=3), CHANNELS))


def test_two_of_three_copies_have_to_have_a_record() -> None:
    assert all(topic.configs["min.insync.replicas"] == "2" for topic in plan(TopicsSettings(replication_factor=3), ()))
    assert not any("min.insync.replicas" in topic.configs for topic in plan(TopicsSettings(), ()))


async def test_the_check_names_the_command(admin: TopicAdmin, log: KafkaLog) -> None:
    with pytest.raises(FatalError, match="topics apply") as caught:
        await check_topics(log, CHANNELS)
    assert caught.value.code == "topic_missing"
    plans = plan(TopicsSettings(partitions=2), CHANNELS)
    smaller = plan(TopicsSettings(partitions=1), CHANNELS)
    await admin.apply([t for t in plans if t.stream != "internal.outcomes"])
    await admin.apply([t for t in smaller if t.stream == "internal.outcomes"])
    with pytest.raises(FatalError, match="topics apply") as caught:
        await check_topics(log, CHANNELS)
    assert caught.value.code == "topic_too_small"
    assert "internal.outcomes" in caught.value.cause


async def test_a_broker_that_is_away_is_retryable(namespace: str) -> None:
    nobody = client_options(KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}"))
    with pytest.raises(RetryableError):
        await TopicAdmin(nobody, namespace).start()
    log = KafkaLog(nobody, namespace)
    with pytest.raises(RetryableError):
        await log.bounds("internal.log", 0)
    await log.stop()


async def test_records_before_an_offset_are_removed_for_good(admin: TopicAdmin, log: KafkaLog) -> None:
    await admin.apply(plan(TopicsSettings(partitions=2), CHANNELS))
    for partition in (0, 1):
        await log.append("internal.outcomes", partition, [Outgoing(None, b"%d" % number) for number in range(10)])
    await admin.trim("internal.outcomes", {0: 7, 1: 0})
    assert await log.bounds("internal.outcomes", 0) == (7, 10)
    assert await log.bounds("internal.outcomes", 1) == (0, 10)
    assert [record.value for record in await log.read("internal.outcomes", 0, 7)] == [b"7", b"8", b"9"]
