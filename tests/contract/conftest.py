"""Every implementation of the two ports, each made ready for one test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.adapters.redis.client import open_client
from interaction_router.adapters.redis.tables import RedisTables
from interaction_router.ports import Log, Tables
from interaction_router.settings import KafkaSettings, RedisSettings
from interaction_router.settings.kinds import ServerUrl
from tests.servers import Broker, RedisServer

NOW_MS = 1_795_000_000_000
LARGEST_RECORD = 3 * 1024 * 1024


class FixedClock:
    def now_ms(self) -> int:
        return NOW_MS


class LogUnderTest(NamedTuple):
    """A log, and how to make a stream on it."""

    log: Log
    create: Callable[[str, int], Awaitable[None]]


@pytest.fixture(params=["embedded-memory", "embedded-file", "kafka"])
async def log(request: pytest.FixtureRequest, tmp_path: Path, namespace: str) -> AsyncIterator[LogUnderTest]:
    if request.param == "kafka":
        broker: Broker = request.getfixturevalue("broker")
        options = client_options(KafkaSettings(bootstrap_servers=broker.bootstrap))
        real = KafkaLog(options, namespace)
        yield LogUnderTest(real, _TopicMaker(broker.bootstrap, namespace))
        await real.stop()
    else:
        with EmbeddedDatabase(tmp_path / "log.db" if request.param == "embedded-file" else None) as database:
            embedded = EmbeddedLog(database, FixedClock())
            yield LogUnderTest(embedded, embedded.create)


class _TopicMaker:
    """Makes a stream's topic on the broker, as `topics apply` would."""

    def __init__(self, bootstrap: str, namespace: str) -> None:
        self._bootstrap = bootstrap
        self._namespace = namespace

    async def __call__(self, stream: str, partitions: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            configs = {"max.message.bytes": str(LARGEST_RECORD)}
            topic = NewTopic(f"{self._namespace}.{stream}", partitions, 1, topic_configs=configs)
            await admin.create_topics([topic])
        finally:
            await admin.close()


@pytest.fixture(params=["embedded-memory", "embedded-file", "redis"])
async def tables(request: pytest.FixtureRequest, tmp_path: Path, namespace: str) -> AsyncIterator[Tables]:
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        client = open_client(RedisSettings(url=ServerUrl(server.url)))
        yield RedisTables(client, namespace)
        await client.close()
    else:
        with EmbeddedDatabase(tmp_path / "tables.db" if request.param == "embedded-file" else None) as database:
            yield EmbeddedTables(database)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs on a real server: the parameter, not a fixture's name, tells it here."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is None:
            continue
        for server in ("kafka", "redis"):
            if server in callspec.params.values():
                item.add_marker(server)
