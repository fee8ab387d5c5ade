"""The servers of the tests keep their promises: they come back as they were, and never outlive who started them."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.servers import Broker, RedisServer, ServerError
from tests.servers.addresses import is_free

ROOT = Path(__file__).parents[2]


async def test_a_broker_that_was_killed_still_has_its_records(mortal_broker: Broker, namespace: str) -> None:
    topic = f"{namespace}.kept"
    admin = AIOKafkaAdminClient(bootstrap_servers=mortal_broker.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=mortal_broker.bootstrap) as producer:
        await producer.send_and_wait(topic, b"kept")

    mortal_broker.kill()
    mortal_broker.restart()

    async with AIOKafkaConsumer(bootstrap_servers=mortal_broker.bootstrap, auto_offset_reset="earliest") as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        assert (await consumer.getone()).value == b"kept"


@pytest.mark.redis
@pytest.mark.parametrize(("append_only", "kept"), [(True, b"1"), (False, None)])
async def test_redis_keeps_over_a_crash_what_it_was_told_to(
    tmp_path: Path, *, append_only: bool, kept: bytes | None
) -> None:
    with RedisServer(tmp_path, append_only=append_only) as server:
        async with Redis.from_url(server.url) as client:
            await client.set("key", "1")
        server.kill()
        server.restart()
        async with Redis.from_url(server.url) as client:
            assert await client.get("key") == kept


async def test_a_paused_redis_answers_when_it_is_woken(redis_server: RedisServer) -> None:
    async with Redis.from_url(redis_server.url, socket_timeout=0.2, retry=None) as client:
        assert await client.ping()
        redis_server.pause()
        try:
            with pytest.raises(RedisTimeoutError):
                await client.ping()
        finally:
            redis_server.resume()
        assert await client.ping()


@pytest.mark.redis
def test_a_server_does_not_outlive_the_process_that_started_it(tmp_path: Path) -> None:
    script = """
        import sys, time
        from pathlib import Path
        from tests.servers import RedisServer
        server = RedisServer(Path(sys.argv[1]))
        server.start()
        server.pause()  # and not even then
        print(server.port, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        port = int(starter.stdout.readline())
        assert not is_free(port)

        os.kill(starter.pid, signal.SIGKILL)

    deadline = time.monotonic() + 5
    while not is_free(port) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_free(port)


@pytest.mark.redis
def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, options=["--no-such-option", "1"])
    with pytest.raises(ServerError, match="no-such-option"):
        server.start()
