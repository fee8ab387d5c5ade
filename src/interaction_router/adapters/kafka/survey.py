"""Asks a cluster what it is like, for people who want to know why something does not work."""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from aiokafka import errors
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.protocol.admin import DescribeGroupsRequest_v0
from aiokafka.protocol.api import Request

from interaction_router.adapters.kafka.client import ClientOptions
from interaction_router.adapters.kafka.connecting import bootstrap
from interaction_router.adapters.kafka.failures import translated, translating
from interaction_router.adapters.kafka.requests import DescribeTopics, MetadataRequestV12
from interaction_router.application.diagnosis import BrokerFacts, Node

CONNECT_S = 3.0
"""How long a broker may take to accept a connection."""
COORDINATOR_TRIES = 10
COORDINATOR_PAUSE_S = 0.5

_NO_TOPIC_ID = bytes(16)


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


async def survey(
    options: ClientOptions, namespace: str, *, streams: Sequence[str], roles: Sequence[str]
) -> BrokerFacts:
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
            nodes = await asyncio.gather(*(_node(broker) for broker in brokers))
            # A broker that cannot be reached answers none of the rest: its address is what there is to tell.
            reachable = all(node.trouble is None for node in nodes)
            topics = [f"{namespace}.{stream}" for stream in streams]
            allowed = await _allowed(client, topics) if reachable else {}
            members = await _members(client, [f"{namespace}-{role}" for role in roles]) if reachable else {}
    finally:
        await client.close()
    return BrokerFacts(str(options["bootstrap_servers"]).split(","), nodes, allowed, members)


async def members_of(options: ClientOptions, groups: Sequence[str]) -> dict[str, int]:
    """Return how many members each group has."""
    client = AIOKafkaClient(**options)
    try:
        with translating("the consumer groups"):
            await client.bootstrap()
            return await _members(client, groups)
    finally:
        await client.close()


async def _node(broker: Any) -> Node:  # Any: aiokafka's metadata has no types
    """Return a broker's advertised address, after a try to connect to it."""
    trouble = None
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(broker.host, broker.port)
        writer.close()
        await writer.wait_closed()
    except TimeoutError:
        trouble = f"no answer within {CONNECT_S:g} s"
    except OSError as error:
        trouble = error.strerror or type(error).__name__
    return Node(str(broker.nodeId), str(broker.host), int(broker.port), trouble)


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


async def _members(client: AIOKafkaClient, groups: Sequence[str]) -> dict[str, int]:
    """Return how many members each group has."""
    members = dict.fromkeys(groups, 0)
    for group in groups:
        node = await _coordinator(client, group)
        answer = await client.send(node, DescribeMembers(group))
        for code, name, _, _, _, found in answer.groups:
            error: Any = errors.for_code(code)  # Any: aiokafka's classes of errors have no common constructor
            if error is not errors.NoError:
                raise translated(error(), name)
            members[name] = len(found)
    return members


async def _coordinator(client: AIOKafkaClient, group: str) -> int:
    """Return the node that knows the group; the first question in a cluster's life makes it a topic for that."""
    for _ in range(COORDINATOR_TRIES - 1):
        try:
            return int(await client.coordinator_lookup(CoordinationType.GROUP, group))
        except errors.GroupCoordinatorNotAvailableError:
            await asyncio.sleep(COORDINATOR_PAUSE_S)
    return int(await client.coordinator_lookup(CoordinationType.GROUP, group))
