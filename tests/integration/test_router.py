"""The router on a real broker and a real Valkey: one SMS from its raw topic to an update and its rows."""

from pathlib import Path

import orjson
import redis

from interaction_router.ports import Outgoing
from tests.integration.running import Running, saved, sms, until, updates
from tests.servers import Broker, RedisServer


async def test_an_sms_becomes_an_update_and_rows(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    """Also a duplicate that changes nothing, a bad record, a save that links, and a restart that goes on."""
    running = Running(
        bootstrap=broker.bootstrap,
        redis_url=redis_server.url,
        namespace=namespace,
        folder=tmp_path,
        KAFKA__SESSION_TIMEOUT="3",
        KAFKA__HEARTBEAT_INTERVAL="1",
    )
    await running.apply_topics()
    log = running.log()
    worker = running.worker()
    try:
        await worker.ready()
        await log.append("interactions.sms.v1", 0, [sms("SM1"), sms("SM1"), Outgoing(b"k", b"{", [("h", b"v")])])

        async def opened() -> bool:
            return len(await updates(log)) == 2 and (await log.bounds("dlq.v1", 0)).end == 1

        await until(opened)
        kinds = [(each["type"], each["seq"]) for each in await updates(log)]
        assert kinds == [("conversation.opened", 1), ("conversation.interaction_added", 2)]
        (letter,) = await log.read("dlq.v1", 0, 0)
        headers = dict(letter.headers)
        assert (letter.key, letter.value, headers["h"], headers["dlq_code"]) == (b"k", b"{", b"v", b"malformed_json")
        assert worker.stop() == 0
        await log.append("contacts.v1", 0, [saved("c1", "+27821234567")])
        worker = running.worker()
        await worker.ready()

        async def linked() -> bool:
            return len(await updates(log)) == 3

        await until(linked)
        update = (await updates(log))[-1]
        assert (update["type"], update["contact_id"], update["seq"]) == ("conversation.linked", "c1", 3)
        worker.kill()
        worker = running.worker("--role", "all")
        await worker.ready()
        await log.append("interactions.sms.v1", 1, [sms("SM2")])

        async def joined() -> bool:
            return len(await updates(log)) == 4

        await until(joined)
        update = (await updates(log))[-1]
        assert (update["seq"], update["cause"]["rule"]) == (4, "joined_open_conversation")
        key = f"conversation:{update['conversation_id']}"
        rows = redis.Redis.from_url(redis_server.url)
        found = [name for name in rows.scan_iter(f"{namespace}:*") if name.endswith(key.encode())]
        values = [orjson.loads(value) for name in found if (value := rows.get(name))]
        assert [row["seq"] for row in values if row["type"] == "conversation"] == [4]
        rows.close()
        assert worker.stop() == 0
    finally:
        worker.kill()
        await log.stop()


async def test_a_worker_without_topics_says_what_to_do(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    """It does not start, and names the command."""
    running = Running(bootstrap=broker.bootstrap, redis_url=redis_server.url, namespace=namespace, folder=tmp_path)
    worker = running.worker()
    assert worker.process.wait(timeout=20) != 0
    assert "topics apply" in worker.errors.read_text()


async def test_a_worker_without_a_broker_is_unavailable(redis_server: RedisServer, tmp_path: Path) -> None:
    """One clear line, and the exit code of a server that is away."""
    running = Running(bootstrap="127.0.0.1:1", redis_url=redis_server.url, namespace="nobody", folder=tmp_path)
    worker = running.worker()
    assert worker.process.wait(timeout=60) == 69
    lines = worker.errors.read_text().strip().splitlines()
    assert [line for line in lines if line.startswith("error:")] == lines[-1:]
