"""Requests that aiokafka 0.14 cannot build: topic ids, changing single configurations, the controller's time.

Source: Apache Kafka protocol guide, Metadata (key 3) version 12, IncrementalAlterConfigs (key 44) version 0 and
DescribeQuorum (key 55) version 1.
"""

import io
from typing import ClassVar

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

_UUID_BYTES = 16
_NO_TOPIC_ID = bytes(_UUID_BYTES)

SET = 0
"""The operation of a configuration's change: give it a value."""
DELETE = 1
"""The operation of a configuration's change: back to the broker's own default."""


class _Uuid(AbstractType[bytes]):
    """Sixteen bytes."""

    @classmethod
    def decode(cls, data: io.BytesIO) -> bytes:
        """Read them."""
        return data.read(_UUID_BYTES)

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        """Write them."""
        return value


class MetadataResponseV12(Response):
    """Brokers, and topics with their ids."""

    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class MetadataRequestV12(RequestStruct):
    """Ask for topics by name."""

    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = MetadataResponseV12
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class DescribeTopics(Request[MetadataRequestV12]):
    """Ask what topics are like, with their ids; makes none."""

    API_KEY: ClassVar[int] = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[MetadataRequestV12]) -> MetadataRequestV12:
        """Return the request as it goes out."""
        return request_struct_class([(_NO_TOPIC_ID, topic, {}) for topic in self._topics], False, False, {})


class AlterConfigsResponseV0(Response):
    """What became of each resource's changes."""

    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "responses",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class AlterConfigsRequestV0(RequestStruct):
    """Change single configurations and leave the others."""

    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = AlterConfigsResponseV0
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                ("configs", Array(("name", String("utf-8")), ("operation", Int8), ("value", String("utf-8")))),
            ),
        ),
        ("validate_only", Boolean),
    )


class AlterTopicConfigs(Request[AlterConfigsRequestV0]):
    """Set configurations of topics; those that are not named stay.

    aiokafka's own AlterConfigs replaces all of a topic's configurations at once.
    """

    API_KEY: ClassVar[int] = 44
    _TOPIC: ClassVar[int] = 2

    def __init__(self, changes: dict[str, dict[str, str]]) -> None:
        self._changes = changes

    def build(self, request_struct_class: type[AlterConfigsRequestV0]) -> AlterConfigsRequestV0:
        """Return the request as it goes out."""
        resources = [
            (self._TOPIC, topic, [(name, SET, value) for name, value in configs.items()])
            for topic, configs in self._changes.items()
        ]
        return request_struct_class(resources, False)


_REPLICA = (
    ("replica_id", Int32),
    ("log_end_offset", Int64),
    ("last_fetch_timestamp", Int64),
    ("last_caught_up_timestamp", Int64),
    ("tags", TaggedFields),
)


class DescribeQuorumResponseV1(Response):
    """How far each replica of the metadata is, by its leader's clock; of the leader itself that is now."""

    API_KEY = 55
    API_VERSION = 1
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("high_watermark", Int64),
                        ("voters", CompactArray(*_REPLICA)),
                        ("observers", CompactArray(*_REPLICA)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeQuorumRequestV1(RequestStruct):
    """Ask for the replicas of partitions of the metadata."""

    FLEXIBLE_VERSION = True
    API_KEY = 55
    API_VERSION = 1
    RESPONSE_TYPE = DescribeQuorumResponseV1
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("partitions", CompactArray(("partition", Int32), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeQuorum(Request[DescribeQuorumRequestV1]):
    """Ask how the quorum of a KRaft cluster is; changes nothing."""

    API_KEY: ClassVar[int] = 55

    def build(self, request_struct_class: type[DescribeQuorumRequestV1]) -> DescribeQuorumRequestV1:
        """Return the request as it goes out."""
        return request_struct_class([("__cluster_metadata", [(0, {})], {})], {})
