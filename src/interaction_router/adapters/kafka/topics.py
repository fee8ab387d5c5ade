"""The topics: what they are to be like, how they differ from that, and the bringing about of it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

from aiokafka import TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient

from interaction_router.adapters.kafka.client import ClientOptions, milliseconds
from interaction_router.adapters.kafka.connecting import bootstrap
from interaction_router.adapters.kafka.failures import APPLY, translated, translating
from interaction_router.adapters.kafka.requests import AlterTopicConfigs, DescribeTopics
from interaction_router.application.handled import HANDLED
from interaction_router.application.intake import AGENTS, COMMANDS, CONTACTS
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.snapshots import SNAPSHOTS
from interaction_router.application.views import DEAD_LETTERS, LOG, STATE, UPDATES
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.ports import Log
from interaction_router.settings.model import TopicsSettings

RECORD_BYTES = 2 * 1024 * 1024
"""A raw record of 1 MiB with what the router writes around it."""
INTERNAL_RECORD_BYTES = 3 * 1024 * 1024
"""The same, once more around it."""
FOR_EVER = "-1"
SAFE_REPLICAS = 3
"""From so many copies on, two have to have a record before it counts as written."""
SHOWN_S = 10.0
"""How long a broker may take to show what it has just made."""

_BROKER_DEFAULT = -1
_TOPIC_EXISTS = 36


_STAMPED_BY_BROKER = {"message.timestamp.type": "LogAppendTime"}
"""Log time is the broker's: a worker whose clock is wrong moves nothing."""


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """What one topic is to be like; a `fixed` one keeps its number of partitions for ever."""

    stream: str
    partitions: int
    fixed: bool
    replication_factor: int | None
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a topic is not as planned; `found` is None where the topic is missing.

    `name` is `partitions`, `replication_factor` or a configuration's. Only what is `mendable` is changed by `apply`.
    """

    kind: Literal["missing", "partitions", "replication", "config"]
    stream: str
    name: str
    wanted: str
    found: str | None
    mendable: bool


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done, and what was refused because it would lose or mix up records."""

    done: Sequence[Difference]
    refused: Sequence[Difference]


@dataclass(frozen=True, slots=True)
class _Found:
    """A topic as it is."""

    partitions: int
    replication_factor: int


def plan(settings: TopicsSettings, channels: Sequence[str], *, inputs_elsewhere: bool = False) -> list[TopicPlan]:
    """Return every topic of the router; where its inputs are another's, without those."""
    return [*([] if inputs_elsewhere else _inputs(settings, channels)), *_own(settings)]


def _inputs(settings: TopicsSettings, channels: Sequence[str]) -> list[TopicPlan]:
    raw = [f"interactions.{channel}.v1" for channel in channels]
    inputs = _deleting(settings.input_retention, RECORD_BYTES)
    return [
        *(_topic(settings, stream, inputs, fixed=False) for stream in (*raw, CONTACTS)),
        _topic(settings, AGENTS, _compacting(), fixed=False),
        _topic(settings, COMMANDS, inputs, fixed=False),
    ]


def _own(settings: TopicsSettings) -> list[TopicPlan]:
    return [
        _topic(settings, UPDATES, _deleting(settings.updates_retention, RECORD_BYTES), fixed=True),
        _topic(settings, STATE, _compacting(), fixed=True),
        _topic(settings, DEAD_LETTERS, _deleting(settings.dlq_retention, INTERNAL_RECORD_BYTES), fixed=True),
        _topic(settings, LOG, _deleting(None, INTERNAL_RECORD_BYTES) | _STAMPED_BY_BROKER, fixed=True),
        _topic(settings, OUTCOMES, _deleting(None, INTERNAL_RECORD_BYTES), fixed=True),
        _topic(settings, SNAPSHOTS, _compacting() | {"max.message.bytes": str(INTERNAL_RECORD_BYTES)}, fixed=True),
        _topic(settings, HANDLED, _compacting(), fixed=True),
    ]


def subscribers_plan(settings: TopicsSettings, topic: str, partitions: int) -> TopicPlan:
    """Return a topic that updates are replayed to; it keeps them until whoever asked for it removes it."""
    made = _topic(settings, topic, _deleting(None, RECORD_BYTES), fixed=True)
    return replace(made, partitions=partitions)


async def check_topics(log: Log, channels: Sequence[str]) -> int:
    """Return the number of partitions of the internal log, once every topic is found good enough to start.

    What has become of dead letters, no worker needs to know. The snapshots neither; but they are made last where a replay
    makes a router, and one that is not whole has none.

    Raises:
        FatalError: a topic is missing, or has fewer partitions than the internal log, whose partition `p` writes to `p`.
    """
    partitions = await log.partitions(LOG)
    for stream in (*(f"interactions.{channel}.v1" for channel in channels), CONTACTS, AGENTS, COMMANDS):
        await log.partitions(stream)
    for stream in (OUTCOMES, UPDATES, STATE, DEAD_LETTERS, SNAPSHOTS):
        found = await log.partitions(stream)
        if found < partitions:
            cause = f"{stream} has {found} partitions, fewer than the {partitions} of {LOG}."
            raise FatalError("topic_too_small", cause, f"See `interaction-router topics diff`. {APPLY}")
    return partitions


class TopicAdmin:
    """Compares topics with their plans and mends them; never takes a partition away.

    Of an empty namespace, streams are topics by their whole names.

    Raises `RetryableError` where Kafka does not answer and `FatalError` where it refuses.
    """

    def __init__(self, options: ClientOptions, namespace: str) -> None:
        self._namespace = namespace
        self._options = options
        self._admin = AIOKafkaAdminClient(**options)
        self._client = AIOKafkaClient(**options)

    async def start(self) -> None:
        """Connect."""
        with translating("topics"):
            try:
                await bootstrap(self._client, self._options)
                await self._admin.start()
            except BaseException:
                await self.stop()
                raise

    async def stop(self) -> None:
        """Disconnect."""
        await self._admin.close()
        await self._client.close()

    async def diff(self, plans: Sequence[TopicPlan]) -> list[Difference]:
        """Return how the topics differ from their plans; changes nothing."""
        with translating("topics"):
            found = await self._described([topic.stream for topic in plans])
            configs = await self._configs(list(found))
        differences: list[Difference] = []
        for topic in plans:
            if topic.stream in found:
                differences += _shape(topic, found[topic.stream])
                differences += _configuration(topic, configs[topic.stream])
            else:
                differences.append(Difference("missing", topic.stream, "partitions", str(topic.partitions), None, True))
        return differences

    async def apply(self, plans: Sequence[TopicPlan]) -> Applied:
        """Make topics that are missing, add partitions to inputs, set configurations; what is right stays untouched."""
        differences = await self.diff(plans)
        done = [difference for difference in differences if difference.mendable]
        by_stream = {topic.stream: topic for topic in plans}
        with translating("topics"):
            await self._create([by_stream[d.stream] for d in done if d.kind == "missing"])
            await self._grow({d.stream: int(d.wanted) for d in done if d.kind == "partitions"})
            await self._alter([d for d in done if d.kind == "config"])
            await self._shown([by_stream[stream] for stream in dict.fromkeys(d.stream for d in done)])
        return Applied(done, [difference for difference in differences if not difference.mendable])

    async def remove(self, plans: Sequence[TopicPlan]) -> None:
        """Remove topics with all that is in them, for good; return once no broker knows of any."""
        streams = [topic.stream for topic in plans]
        with translating("topics"):
            found = await self._described(streams)
            answer: Any = await self._admin.delete_topics([self._topic(stream) for stream in found])  # Any: by version
            for name, code, *_ in answer.topic_error_codes:
                _raise_for(code, None, name)
            async with asyncio.timeout(SHOWN_S):
                for broker in [each.nodeId for each in self._client.cluster.brokers()]:
                    while await self._described(streams, broker):  # noqa: ASYNC110 - nothing tells of it
                        await asyncio.sleep(0.1)

    async def trim(self, stream: str, ends: Mapping[int, int]) -> None:
        """Remove the records of each partition that are before an offset, for good."""
        topic = self._topic(stream)
        with translating("topics"):
            await self._admin.delete_records(
                {TopicPartition(topic, partition): RecordsToDelete(end) for partition, end in ends.items()}
            )

    async def _described(self, streams: Sequence[str], broker: int | None = None) -> dict[str, _Found]:
        """Return the topics that there are, as `broker` has it, or any."""
        node = self._client.get_random_node() if broker is None else broker
        answer = await self._client.send(node, DescribeTopics([self._topic(stream) for stream in streams]))
        found: dict[str, _Found] = {}
        for code, name, _, _, partitions, *_ in answer.topics:
            error = errors.for_code(code)
            if error is errors.NoError:
                copies = min(len(replicas) for _, _, _, _, replicas, *_ in partitions)
                found[self._stream(name)] = _Found(len(partitions), copies)
            elif error is not errors.UnknownTopicOrPartitionError:
                raise translated(error(), name)
        return found

    async def _configs(self, streams: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return each topic's configurations as they are in force."""
        if not streams:
            return {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, self._topic(stream)) for stream in streams]
        configs: dict[str, dict[str, str]] = {}
        answers: list[Any] = await self._admin.describe_configs(resources)  # Any: fields by the version spoken
        for answer in answers:
            for code, message, _, name, entries in answer.resources:
                _raise_for(code, message, name)
                configs[self._stream(name)] = {entry[0]: entry[1] for entry in entries}
        return configs

    async def _create(self, plans: Sequence[TopicPlan]) -> None:
        """Make topics; one that somebody else has made meanwhile is looked at by the next `diff`."""
        if not plans:
            return
        topics = [
            NewTopic(
                self._topic(topic.stream),
                topic.partitions,
                topic.replication_factor or _BROKER_DEFAULT,
                # aiokafka wants assignments, if empty ones, with the broker's default, and none with a number.
                replica_assignments={} if topic.replication_factor is None else None,
                topic_configs=dict(topic.configs),
            )
            for topic in plans
        ]
        answer: Any = await self._admin.create_topics(topics)  # Any: fields by the version spoken
        for name, code, message in answer.topic_errors:
            if code != _TOPIC_EXISTS:
                _raise_for(code, message, name)

    async def _grow(self, partitions: Mapping[str, int]) -> None:
        """Add partitions."""
        if partitions:
            wanted = {self._topic(stream): NewPartitions(count) for stream, count in partitions.items()}
            await self._admin.create_partitions(wanted)

    async def _alter(self, differences: Sequence[Difference]) -> None:
        """Set single configurations; the others of the topic stay."""
        changes: dict[str, dict[str, str]] = {}
        for difference in differences:
            changes.setdefault(self._topic(difference.stream), {})[difference.name] = difference.wanted
        if not changes:
            return
        answer = await self._client.send(self._client.get_random_node(), AlterTopicConfigs(changes))
        for code, message, _, name in answer.responses:
            _raise_for(code, message, name)

    async def _shown(self, plans: Sequence[TopicPlan]) -> None:
        """Wait until every broker shows what was done: they learn of it one after the other, and any may be asked."""
        streams = [topic.stream for topic in plans]
        async with asyncio.timeout(SHOWN_S):
            for broker in [each.nodeId for each in self._client.cluster.brokers()]:
                while not await self._knows(broker, streams):  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.1)
            while any(difference.mendable for difference in await self.diff(plans)):  # noqa: ASYNC110 - nor of this
                await asyncio.sleep(0.1)

    async def _knows(self, broker: int, streams: Sequence[str]) -> bool:
        """Return whether the broker has heard of all of them; one that is away will, before it answers again."""
        try:
            return len(await self._described(streams, broker)) == len(streams)
        except errors.KafkaError:
            return True
        except RetryableError:  # a topic without a leader yet
            return False

    def _topic(self, stream: str) -> str:
        return f"{self._namespace}.{stream}" if self._namespace else stream

    def _stream(self, topic: str) -> str:
        return topic.removeprefix(f"{self._namespace}.") if self._namespace else topic


def _topic(settings: TopicsSettings, stream: str, configs: Mapping[str, str], *, fixed: bool) -> TopicPlan:
    """Return a plan with what holds for every topic."""
    copies = settings.replication_factor
    in_sync = settings.min_insync_replicas
    if in_sync is None and copies is not None and copies >= SAFE_REPLICAS:
        in_sync = 2
    safety = {} if in_sync is None else {"min.insync.replicas": str(in_sync)}
    return TopicPlan(stream, settings.partitions, fixed, copies, {**configs, **safety})


def _deleting(retention: timedelta | None, record_bytes: int) -> dict[str, str]:
    """Return what keeps records for a time, or for ever; never by size, which would cut off what nobody has read."""
    return {
        "cleanup.policy": "delete",
        "max.message.bytes": str(record_bytes),
        "retention.bytes": FOR_EVER,
        "retention.ms": FOR_EVER if retention is None else str(milliseconds(retention)),
    }


def _compacting() -> dict[str, str]:
    """Return what keeps the last record of each key."""
    return {"cleanup.policy": "compact", "max.message.bytes": str(RECORD_BYTES)}


def _shape(topic: TopicPlan, found: _Found) -> list[Difference]:
    """Compare partitions and copies; an input with more partitions than planned is as good."""
    differences = []
    if found.partitions < topic.partitions or (topic.fixed and found.partitions != topic.partitions):
        wanted = str(topic.partitions)
        differences.append(
            Difference("partitions", topic.stream, "partitions", wanted, str(found.partitions), not topic.fixed)
        )
    if topic.replication_factor is not None and found.replication_factor != topic.replication_factor:
        wanted, copies = str(topic.replication_factor), str(found.replication_factor)
        differences.append(Difference("replication", topic.stream, "replication_factor", wanted, copies, False))
    return differences


def _configuration(topic: TopicPlan, configs: Mapping[str, str]) -> list[Difference]:
    """Compare configurations, those in force by default too."""
    return [
        Difference("config", topic.stream, name, wanted, configs.get(name), True)
        for name, wanted in topic.configs.items()
        if configs.get(name) != wanted
    ]


def _raise_for(code: int, message: str | None, topic: str) -> None:
    """Raise what the broker's code stands for, in its own words where it has some."""
    error: Any = errors.for_code(code)  # Any: aiokafka's classes of errors have no common constructor
    if error is errors.NoError:
        return
    if error in (errors.NotControllerError, errors.RequestTimedOutError):
        raise RetryableError("kafka_unavailable", f"Kafka does not answer ({error.__name__}): {topic}.")
    known = translated(error(), topic)
    if isinstance(known, FatalError):
        raise known
    raise FatalError("topic_refused", f"Kafka refuses {topic} ({error.__name__}): {message or 'no reason given'}")
