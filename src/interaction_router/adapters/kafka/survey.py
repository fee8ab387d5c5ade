"""Asks a cluster what it is like, for people who want to know why something does not work."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final, Literal

from aiokafka import errors
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.protocol.admin import (
    ApiVersionRequest,
    CreateTopicsRequest,
    DeleteRecordsRequest,
    DescribeConfigsRequest,
    DescribeGroupsRequest_v0,
)
from aiokafka.protocol.api import Request
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from interaction_router.adapters.kafka.client import ClientOptions
from interaction_router.adapters.kafka.connecting import bootstrap
from interaction_router.adapters.kafka.failures import translated, translating
from interaction_router.adapters.kafka.requests import (
    AlterTopicConfigs,
    DescribeQuorum,
    DescribeTopics,
    MetadataRequestV12,
)
from interaction_router.application.diagnosis import BrokerFacts, Node

CONNECT_S = 3.0
"""How long a broker may take to accept a connection."""
COORDINATOR_TRIES = 10
COORDINATOR_PAUSE_S = 0.5

_NO_TOPIC_ID = bytes(16)

_METADATA, _FETCH = 3, 1
_RELEASES: Final = (("4.0", _METADATA, 13), ("3.7", _FETCH, 16), ("3.5", _FETCH, 15), ("3.1", _METADATA, 12))
"""Releases, the newest first, by the version of a request that came with them. Source: Apache Kafka's messages."""


class DescribeAllowed(DescribeTopics):
    """Ask what topics are like, and what this user may do with them."""

    def build(self, request_struct_class: type[MetadataRequestV12]) -> MetadataRequestV12:
        """Return the request as it goes out."""
        return request_struct_class([(_NO_TOPIC_ID, topic, {}) for topic in self._topics], False, True, {})


class DescribeMembers(Request[DescribeGroupsRequest_v0]):
    """Ask who is in a group, in the oldest form: aiokafka 0.14 reads the newer answers wrongly."""

    API_KEY: ClassVar[int] = 15

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: type[DescribeGroupsRequest_v0]) -> DescribeGroupsRequest_v0:
        """Return the request as it goes out."""
        return request_struct_class([self._group])


_NEEDED: Final[dict[str, type[Request[Any]]]] = {  # Any: requests of every kind
    "Produce": ProduceRequest,
    "Fetch": FetchRequest,
    "ListOffsets": OffsetRequest,
    "Metadata": DescribeTopics,
    "OffsetCommit": OffsetCommitRequest,
    "OffsetFetch": OffsetFetchRequest,
    "FindCoordinator": FindCoordinatorRequest,
    "JoinGroup": JoinGroupRequest,
    "Heartbeat": HeartbeatRequest,
    "LeaveGroup": LeaveGroupRequest,
    "SyncGroup": SyncGroupRequest,
    "DescribeGroups": DescribeMembers,
    "CreateTopics": CreateTopicsRequest,
    "DeleteRecords": DeleteRecordsRequest,
    "InitProducerId": InitProducerIdRequest,
    "DescribeConfigs": DescribeConfigsRequest,
    "IncrementalAlterConfigs": AlterTopicConfigs,
}


async def survey(options: ClientOptions, namespace: str, *, topics: Sequence[str], roles: Sequence[str]) -> BrokerFacts:
    """Return what the cluster says of itself; a topic that is missing, or that may not be seen, allows nothing.

    Raises:
        RetryableError: no bootstrap server answers.
        FatalError: it refuses the login or speaks too old a protocol.
    """
    client = AIOKafkaClient(**options)
    try:
        with translating("the bootstrap servers"):
            await bootstrap(client, options)
            brokers = sorted(client.cluster.brokers(), key=lambda broker: broker.nodeId)
            nodes = await asyncio.gather(*(_node(client, broker) for broker in brokers))
            servers = str(options["bootstrap_servers"]).split(",")
            # A broker that cannot be reached, or is too old, answers none of the rest.
            if any(node.trouble is not None or node.lacking for node in nodes):
                return BrokerFacts(servers, nodes, {}, {})
            allowed = await _allowed(client, topics)
            members = await _members(client, [f"{namespace}-{role}" for role in roles])
            return BrokerFacts(servers, nodes, allowed, members, await _clock(client))
    finally:
        await client.close()


async def members_of(options: ClientOptions, groups: Sequence[str]) -> dict[str, int]:
    """Return how many members each group has.

    Raises:
        FatalError: this user may not see it.
    """
    client = AIOKafkaClient(**options)
    try:
        with translating("the consumer groups"):
            await client.bootstrap()
            found = await _members(client, groups)
    finally:
        await client.close()
    members = {group: count for group, count in found.items() if count is not None}
    if hidden := sorted(found.keys() - members.keys()):
        raise translated(errors.GroupAuthorizationFailedError(), ", ".join(hidden))
    return members


async def _node(client: AIOKafkaClient, broker: Any) -> Node:  # Any: aiokafka's metadata has no types
    """Return a broker's advertised address, after a try to connect to it, and what it speaks."""
    node = Node(str(broker.nodeId), str(broker.host), int(broker.port), None)
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(broker.host, broker.port)
        writer.close()
        await writer.wait_closed()
    except TimeoutError:
        return replace(node, trouble=f"no answer within {CONNECT_S:g} s")
    except OSError as error:
        return replace(node, trouble=error.strerror or type(error).__name__)
    answer = await client.send(broker.nodeId, ApiVersionRequest())
    spoken = {key: (lowest, highest) for key, lowest, highest in answer.api_versions}
    return replace(node, release=release_of(spoken), lacking=lacking_of(spoken))


def release_of(spoken: dict[int, tuple[int, int]]) -> str | None:
    """Return the oldest release that speaks these versions of requests, None where it is older than any that will do.

    Kafka does not tell its release; what takes its place does not have one.
    """
    for release, key, version in _RELEASES:
        if key in spoken and spoken[key][1] >= version:
            return release
    return None


def lacking_of(spoken: dict[int, tuple[int, int]]) -> list[str]:
    """Return the requests that are needed, and that a broker speaks in no version that this program does."""
    lacking = []
    for name, request in _NEEDED.items():
        lowest, highest = spoken.get(request.API_KEY, (0, -1))
        # aiokafka chooses from them in the same way, when a request goes out.
        if not any(lowest <= each.API_VERSION <= highest for each in request._CLASSES):  # noqa: SLF001
            lacking.append(name)
    return lacking


async def _clock(client: AIOKafkaClient) -> int | Literal["forbidden", "not_told"]:
    """Return how many milliseconds the controller's clock is ahead of this one.

    A leader of the metadata says of itself that it is caught up now, by its own clock. What is not KRaft, or older
    than 3.3, does not answer.
    """
    asked_ms = _now_ms()
    try:
        answer = await client.send(client.get_random_node(), DescribeQuorum())
    except (NotImplementedError, errors.KafkaError):
        return "not_told"
    between_ms = (asked_ms + _now_ms()) // 2
    if errors.for_code(answer.error_code) is errors.ClusterAuthorizationFailedError:
        return "forbidden"
    for _, partitions, _ in answer.topics:
        for _, code, leader, _, _, voters, *_ in partitions:
            for voter, _, _, caught_up_ms, _ in voters:
                if code == 0 and voter == leader and caught_up_ms > 0:
                    return int(caught_up_ms) - between_ms
    return "not_told"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _allowed(client: AIOKafkaClient, topics: Sequence[str]) -> dict[str, int]:
    """Return the operations that are allowed on each topic that there is, as bits."""
    answer = await client.send(client.get_random_node(), DescribeAllowed(list(topics)))
    allowed = {}
    for code, name, _, _, _, operations, *_ in answer.topics:
        error = errors.for_code(code)
        if error is errors.TopicAuthorizationFailedError:
            allowed[name] = 0
        elif error is errors.NoError:
            allowed[name] = int(operations)
        elif error is not errors.UnknownTopicOrPartitionError:
            raise translated(error(), name)
    return allowed


async def _members(client: AIOKafkaClient, groups: Sequence[str]) -> dict[str, int | None]:
    """Return how many members each group has, None where this user may not see it."""
    return {group: await _members_of(client, group) for group in groups}


async def _members_of(client: AIOKafkaClient, group: str) -> int | None:
    try:
        node = await _coordinator(client, group)
    except errors.GroupAuthorizationFailedError:
        return None
    answer = await client.send(node, DescribeMembers(group))
    ((code, _, _, _, _, found),) = answer.groups
    error: Any = errors.for_code(code)  # Any: aiokafka's classes of errors have no common constructor
    if error is errors.GroupAuthorizationFailedError:
        return None
    if error is not errors.NoError:
        raise translated(error(), group)
    return len(found)


async def _coordinator(client: AIOKafkaClient, group: str) -> int:
    """Return the node that knows the group; the first question in a cluster's life makes it a topic for that."""
    for _ in range(COORDINATOR_TRIES - 1):
        try:
            return int(await client.coordinator_lookup(CoordinationType.GROUP, group))
        except errors.GroupCoordinatorNotAvailableError:
            await asyncio.sleep(COORDINATOR_PAUSE_S)
    return int(await client.coordinator_lookup(CoordinationType.GROUP, group))
