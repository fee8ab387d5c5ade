"""Reads partitions by offset, without a group: one request to the leader a call, and what it brought too much is kept."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka import errors
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from interaction_router.adapters.kafka.client import ClientOptions
from interaction_router.adapters.kafka.connecting import bootstrap
from interaction_router.adapters.kafka.failures import translating
from interaction_router.adapters.kafka.requests import DescribeTopics
from interaction_router.domain.errors import RetryableError
from interaction_router.ports import Bounds

FETCH_BYTES = 1024 * 1024
"""How much a read asks for; a single batch that is larger comes whole."""
KEPT_PARTITIONS = 16
"""Of how many partitions the rest of the last answer is kept."""
TRIES = 5
"""How often a leader that has moved is looked for within one call."""
PAUSE_S = 0.2
"""The pause before the next try."""

_EARLIEST = -2
_LATEST = -1
_NO_OFFSET = -1
_NO_LEADER = -1
_UNCOMMITTED = 0

_MOVED = (
    errors.NotLeaderForPartitionError,
    errors.LeaderNotAvailableError,
    errors.ReplicaNotAvailableError,
    errors.UnknownTopicOrPartitionError,
    errors.StaleMetadata,
    errors.NodeNotReadyError,
    errors.KafkaConnectionError,
)


class ReadRecord(NamedTuple):
    """A record as it was read; satisfies `ports.Received`."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class _OutOfRangeError(Exception):
    """The leader has nothing at the offset, and it is not the end."""


class _Rest(NamedTuple):
    """Records of the last answer that nobody has asked for yet."""

    start: int
    records: list[ReadRecord]


class PartitionReader:
    """Asks leaders directly; any number of calls at once.

    aiokafka's consumer would have to be given a new assignment for every partition that is looked at, and forgets what
    it has read ahead of all the others each time.
    """

    def __init__(self, options: ClientOptions) -> None:
        self._options = options
        self._client: AIOKafkaClient | None = None
        self._starting = asyncio.Lock()
        self._rests: OrderedDict[TopicPartition, _Rest] = OrderedDict()

    async def read(self, topic: str, partition: int, start: int, limit: int) -> Sequence[ReadRecord]:
        """Return up to `limit` records from `start` on, or from the first that is still there; none only at the end."""
        place = TopicPartition(topic, partition)
        rest = self._rests.pop(place, None)
        records = rest.records if rest is not None and rest.start == start else await self._fetch(place, start)
        if len(records) > limit:
            self._keep(place, _Rest(records[limit - 1].offset + 1, records[limit:]))
            return records[:limit]
        return records

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Return the first offset and the end, as the leader has them."""
        place = TopicPartition(topic, partition)
        first, end = await asyncio.gather(self._offset(place, _EARLIEST), self._offset(place, _LATEST))
        return Bounds(first, end)

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """Return the first offset stamped so or later, else the end."""
        place = TopicPartition(topic, partition)
        found = await self._offset(place, max(timestamp_ms, 0))
        return await self._offset(place, _LATEST) if found == _NO_OFFSET else found

    async def describe(self, topic: str) -> tuple[str, int]:
        """Return the topic's id and how many partitions it has; asked anew each time."""
        with translating(topic):
            for attempt in range(TRIES):
                client = await self._started()
                node = client.get_random_node()
                try:
                    answer = await client.send(node, DescribeTopics([topic]))
                    ((code, _, topic_id, _, partitions, *_),) = answer.topics
                    _raise_for(code)
                except _MOVED as error:
                    # A broker that has just started may not know its topics yet.
                    await _look_again(client, attempt, error)
                else:
                    return bytes(topic_id).hex(), len(partitions)
        raise RetryableError("kafka_unavailable", f"Kafka does not answer: {topic}.")

    async def stop(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _fetch(self, place: TopicPartition, start: int) -> list[ReadRecord]:
        """Ask for records; an answer without any is one at the end."""
        wanted = (place.partition, start, FETCH_BYTES)
        request = FetchRequest(0, 0, FETCH_BYTES, _UNCOMMITTED, [(place.topic, [wanted])])
        try:
            answer = await self._ask(place, request)
        except _OutOfRangeError:
            first, end = await self.bounds(*place)
            return [] if start >= end else await self._fetch(place, max(first, start))
        return _unpacked(bytes(answer[-1] or b""), start)

    async def _offset(self, place: TopicPartition, timestamp: int) -> int:
        """Ask for an offset by time, or by one of the signs for the first and the end."""
        answer = await self._ask(
            place, OffsetRequest(-1, _UNCOMMITTED, [(place.topic, [(place.partition, timestamp)])])
        )
        return int(answer[-1])

    async def _ask(self, place: TopicPartition, request: Any) -> Sequence[Any]:
        """Return the leader's answer for the one partition; Any: requests and answers have no common type."""
        with translating(f"{place.topic}/{place.partition}"):
            for attempt in range(TRIES):
                client = await self._started()
                client.add_topic(place.topic)
                try:
                    answer = await client.send(_leader(client, place), request)
                    ((_, ((_, code, *rest),)),) = answer.topics
                    _raise_for(code)
                except _MOVED as error:
                    await _look_again(client, attempt, error)
                except errors.OffsetOutOfRangeError as error:
                    raise _OutOfRangeError from error
                else:
                    return list(rest)
        raise RetryableError("kafka_unavailable", f"Kafka does not answer: {place.topic}/{place.partition}.")

    async def _started(self) -> AIOKafkaClient:
        """Return the client, connected."""
        if self._client is not None:
            return self._client
        async with self._starting:
            if self._client is None:
                client = AIOKafkaClient(**self._options)
                try:
                    await bootstrap(client, self._options)
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            return self._client

    def _keep(self, place: TopicPartition, rest: _Rest) -> None:
        """Keep what was read too much, of the partitions that were read last."""
        self._rests[place] = rest
        while len(self._rests) > KEPT_PARTITIONS:
            self._rests.popitem(last=False)


async def _look_again(client: AIOKafkaClient, attempt: int, error: errors.KafkaError) -> None:
    """Learn who leads now; the last time in vain, raise what the try has raised."""
    if attempt == TRIES - 1:
        raise error
    await asyncio.sleep(PAUSE_S * attempt)
    await client.force_metadata_update()


def _leader(client: AIOKafkaClient, place: TopicPartition) -> int:
    """Return the node that leads the partition."""
    leader = client.cluster.leader_for_partition(place)
    if leader is None:
        raise errors.UnknownTopicOrPartitionError
    if leader == _NO_LEADER:
        raise errors.LeaderNotAvailableError
    return int(leader)


def _raise_for(code: int) -> None:
    """Raise what the broker's code stands for."""
    error = errors.for_code(code)
    if error is not errors.NoError:
        raise error


def _unpacked(message_set: bytes, start: int) -> list[ReadRecord]:
    """Return the records from `start` on; a batch begins where it was appended, which may be before."""
    found: list[ReadRecord] = []
    batches = MemoryRecords(message_set)
    while batches.has_next():
        batch: Any = batches.next_batch()  # Any: the types allow for formats that Kafka 4 no longer has
        if not batch.is_control_batch:
            found.extend(
                ReadRecord(r.offset, r.timestamp, r.key, r.value, r.headers) for r in batch if r.offset >= start
            )
    return found
