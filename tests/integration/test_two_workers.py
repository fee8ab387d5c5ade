"""Two workers on real servers under load, killed, robbed of Redis and stopped: afterwards all promises hold."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from random import Random

import orjson
import redis.asyncio as aioredis

from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.application.simulation import Load, Simulated, first_records, load_records
from interaction_router.bootstrap.storage import redis_tables
from interaction_router.bootstrap.terms import intake_settings
from interaction_router.ports import Outgoing
from tests.checker import check
from tests.integration.running import Running, Worker, at_rest, updates
from tests.servers import Broker, RedisServer

INTERACTIONS = 20_000
CHUNK = 500
CLOSES = 200
PARTITIONS = 8


async def test_nothing_is_lost_and_nothing_is_twice(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    """A worker killed twice, Redis emptied once, a worker stopped once, all in the middle of the load."""
    running = Running(
        bootstrap=broker.bootstrap,
        redis_url=redis_server.url,
        namespace=namespace,
        folder=tmp_path,
        KAFKA__SESSION_TIMEOUT="4",
        KAFKA__HEARTBEAT_INTERVAL="1",
    )
    await running.apply_topics()
    log = running.log()
    load = Load(seed=7, start_ms=int(time.time() * 1000) - 60_000, rate=1000.0, contacts=400)
    # Before the workers, which know at their start all agents that there are, and newer ones only after a while.
    await _append(log, list(first_records(load)))
    workers = [running.worker(), running.worker()]
    try:
        await asyncio.gather(*(worker.ready() for worker in workers))
        feeding = asyncio.create_task(_feed(log, load))
        await _trouble(running, workers, redis_server)
        await feeding
        async with redis_tables(running.settings) as tables:
            await at_rest(running.settings, log, tables, within_s=120)
            differences = await check(log, tables, intake_settings(running.settings))
            assert not differences, "\n".join(map(str, differences[:20]))
        told = await updates(log)
        assert {each["type"] for each in told} >= {
            "conversation.opened",
            "conversation.interaction_added",
            "conversation.interaction_updated",
            "conversation.linked",
            "conversation.closed",
        }
        assert all(worker.stop() == 0 for worker in workers)
    finally:
        for worker in workers:
            worker.kill()
        await log.stop()


async def _trouble(running: Running, workers: list[Worker], redis_server: RedisServer) -> None:
    """Kill, empty, kill and stop, one after the other; each worker is started again."""
    await asyncio.sleep(3)
    await _again(running, workers, 0, kill=True)
    await asyncio.sleep(3)
    client = aioredis.Redis.from_url(redis_server.url)
    await client.flushall()
    await client.aclose()
    await asyncio.sleep(3)
    await _again(running, workers, 0, kill=True)
    await asyncio.sleep(3)
    await _again(running, workers, 1, kill=False)


async def _again(running: Running, workers: list[Worker], nth: int, *, kill: bool) -> None:
    if kill:
        workers[nth].kill()
    else:
        assert await asyncio.to_thread(workers[nth].stop) == 0, workers[nth].errors.read_text()
    workers[nth] = running.worker()
    await workers[nth].ready()


async def _feed(log: KafkaLog, load: Load) -> None:
    """Write the load as gateways do, and close some conversations on the way."""
    records = load_records(load)
    closed: set[str] = set()
    for _ in range(INTERACTIONS // CHUNK):
        started = time.monotonic()
        await _append(log, list(islice(records, CHUNK)))
        await _close_some(log, closed)
        await asyncio.sleep(max(0.0, 0.7 - (time.monotonic() - started)))


async def _append(log: KafkaLog, records: Sequence[Simulated]) -> None:
    batches: dict[tuple[str, int], list[Outgoing]] = defaultdict(list)
    for record in records:
        # A key's records stay in order, as a partitioner keeps them.
        partition = sum(record.key) % PARTITIONS
        batches[record.stream, partition].append(Outgoing(record.key, record.value))
    await asyncio.gather(*(log.append(stream, partition, batch) for (stream, partition), batch in batches.items()))


async def _close_some(log: KafkaLog, closed: set[str]) -> None:
    if len(closed) >= CLOSES:
        return
    partition = len(closed) % PARTITIONS
    first, end = await log.bounds("conversations.v1", partition)
    seen = await log.read("conversations.v1", partition, max(first, end - 50))
    told = [orjson.loads(record.value or b"{}") for record in seen]
    opened = [each for each in told if each.get("status") == "open" and each["conversation_id"] not in closed]
    for update in Random(len(closed)).sample(opened, min(5, len(opened))):
        key = update["conversation_id"]
        command = {
            "tenant": update["tenant"],
            "type": "conversation.close",
            "conversation_id": key,
            "command_id": f"close-{key}",
            "actor": "test",
            "at": "2026-11-22T10:15:30Z",
        }
        closed.add(key)
        await log.append("commands.v1", partition, [Outgoing(None, orjson.dumps(command))])
