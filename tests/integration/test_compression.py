"""Gateways compress as they like: what they send is read, whichever of Kafka's codecs it is."""

import pytest
from aiokafka import AIOKafkaProducer

from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.adapters.kafka.topics import TopicAdmin, TopicPlan
from interaction_router.settings.model import KafkaSettings
from tests.servers import Broker

STREAM = "interactions.sms.v1"


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_a_compressed_batch_is_read(broker: Broker, namespace: str, codec: str) -> None:
    options = client_options(KafkaSettings(bootstrap_servers=broker.bootstrap))
    admin = TopicAdmin(options, namespace)
    await admin.start()
    await admin.apply([TopicPlan(STREAM, 1, fixed=False, replication_factor=None, configs={})])
    await admin.stop()
    log = KafkaLog(options, namespace)
    try:
        async with AIOKafkaProducer(**options, compression_type=codec) as producer:
            await producer.send_and_wait(f"{namespace}.{STREAM}", b"hello " * 100)
        (record,) = await log.read(STREAM, 0, 0)
        assert record.value == b"hello " * 100
    finally:
        await log.stop()
