"""A worker that dies by `kill -9` of itself in every gap between two effects, on the real broker and Valkey.

One namespace, one death after the other: each next worker has to take over what the last has left, and is let die
itself. In the end the checker compares everything.
"""

import asyncio
import signal
import time
from pathlib import Path
from typing import get_args

import pytest
import redis.asyncio as aioredis

from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.bootstrap.storage import redis_tables
from interaction_router.bootstrap.terms import intake_settings
from interaction_router.ports import CommandGap, Gap, WorkerGap
from tests.checker import check
from tests.faults.stories import merged, story
from tests.integration.running import Running, Worker, at_rest, until
from tests.servers import Broker, RedisServer

PARTITIONS = 2
DEATH_S = 40.0
TAKEOVER: tuple[WorkerGap, ...] = (
    "takeover_begun",
    "takeover_told",
    "takeover_applied",
    "takeover_state_written",
    "taken_over",
)
REBUILDS: tuple[CommandGap, ...] = (
    "rebuild_folded",
    "rebuild_suspended",
    "rebuild_fenced",
    "rebuild_caught_up",
    "rebuild_flipped",
)
REPLAYS: tuple[CommandGap, ...] = ("replay_begun", "replay_updates_written", "replay_intake_placed")
LEAVES_WORK: tuple[WorkerGap, ...] = ("outcomes_acknowledged", *TAKEOVER)
"""A death there leaves the next worker something to take over."""
RESTORES: tuple[WorkerGap, ...] = ("tables_chunk_restored", "tables_emptied", "tables_restored")
"""Redis is lost before the first; before each there is a new snapshot, so that the second finds a part of an older one."""
LAST = (*LEAVES_WORK, *RESTORES)
DEATHS = (*(gap for gap in get_args(WorkerGap) if gap not in LAST), *LAST)


@pytest.mark.slow
async def test_a_death_in_every_gap_loses_nothing_and_does_nothing_twice(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    running = _running(broker, redis_server, namespace, tmp_path)
    await running.apply_topics()
    log = running.log()
    try:
        for number, gap in enumerate(DEATHS):
            if gap in RESTORES:
                taken = running.run("state", "snapshot")
                assert taken.process.wait(timeout=DEATH_S) == 0, taken.errors.read_text()
            if gap == RESTORES[0]:
                await _lose_rows(redis_server, namespace)
            if gap not in TAKEOVER:
                for stream, record in [*story(f"s{number}x"), *merged(f"s{number}x", times=1)]:
                    await log.append(stream, number % PARTITIONS, [record])
            await _dies(running, gap)
        worker = running.worker()
        try:
            await worker.ready()
            async with redis_tables(running.settings) as tables:
                await at_rest(running.settings, log, tables)
                differences = await check(log, tables, intake_settings(running.settings))
                assert not differences, "\n".join(map(str, differences[:20]))
            assert worker.stop() == 0
        finally:
            worker.kill()
    finally:
        await log.stop()


def _running(broker: Broker, redis_server: RedisServer, namespace: str, folder: Path) -> Running:
    return Running(
        bootstrap=broker.bootstrap,
        redis_url=redis_server.url,
        namespace=namespace,
        folder=folder,
        TOPICS__PARTITIONS=str(PARTITIONS),
        # A worker of the same name has its partitions back at once.
        KAFKA__GROUP_INSTANCE_ID="only",
    )


@pytest.mark.slow
async def test_a_rebuild_that_dies_beside_a_worker_is_gone_on_with(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    running = _running(broker, redis_server, namespace, tmp_path)
    await running.apply_topics()
    log = running.log()
    worker = running.worker()
    try:
        await worker.ready()
        async with redis_tables(running.settings) as tables:
            for number, gap in enumerate(REBUILDS):
                for stream, record in story(f"r{number}x"):
                    await log.append(stream, number % PARTITIONS, [record])
                await _dies(running, gap, "state", "rebuild", "--yes")
            again = running.run("state", "rebuild", "--yes")
            assert again.process.wait(timeout=DEATH_S) == 0, again.errors.read_text()
            await at_rest(running.settings, log, tables)
            differences = await check(log, tables, intake_settings(running.settings))
            assert not differences, "\n".join(map(str, differences[:20]))
        verify = running.run("state", "verify")
        assert verify.process.wait(timeout=DEATH_S) == 0, verify.errors.read_text()
        assert worker.stop() == 0
    finally:
        worker.kill()
        await log.stop()


@pytest.mark.slow
async def test_a_replay_that_dies_leaves_no_router_that_starts(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    running = _running(broker, redis_server, namespace, tmp_path)
    await running.apply_topics()
    log = running.log()
    worker = running.worker()
    try:
        await worker.ready()
        for stream, record in story("r"):
            await log.append(stream, 0, [record])
        async with redis_tables(running.settings) as tables:
            await at_rest(running.settings, log, tables)
            assert worker.stop() == 0
            ends = [await log.bounds("internal.log", partition) for partition in range(PARTITIONS)]
            for gap in REPLAYS:
                other = f"{namespace}{gap.replace('_', '-')}"
                replay = ("replay", "log", "--into", other, "--yes")
                await _dies(running, gap, *replay)
                for command, code in (
                    (replay, b"replay_unfinished"),
                    (("replay", "promote", "--into", other), b"replay_unfinished"),
                    (
                        ("worker", "--set", f"namespace={other}", "--set", f"inputs_namespace={namespace}"),
                        b"topic_missing",
                    ),
                ):
                    refused = running.run(*command)
                    assert refused.process.wait(timeout=DEATH_S) == 1
                    assert code in refused.errors.read_bytes(), (gap, command)
                again = running.run(*replay, "--anew")
                assert again.process.wait(timeout=DEATH_S) == 0, (gap, again.errors.read_text())
                whole = running.run(*replay, "--anew")
                assert whole.process.wait(timeout=DEATH_S) == 1
                assert b"target_exists" in whole.errors.read_bytes()
                copy = KafkaLog(client_options(running.settings.kafka), other)
                copied = [await copy.bounds("internal.log", partition) for partition in range(PARTITIONS)]
                await copy.stop()
                assert copied == ends, gap
            assert [await log.bounds("internal.log", partition) for partition in range(PARTITIONS)] == ends
            differences = await check(log, tables, intake_settings(running.settings))
            assert not differences, "\n".join(map(str, differences[:20]))
    finally:
        worker.kill()
        await log.stop()


async def _lose_rows(redis_server: RedisServer, namespace: str) -> None:
    client = aioredis.Redis.from_url(redis_server.url)
    keys = [key async for key in client.scan_iter(f"{namespace}:*", count=10_000)]
    assert await client.delete(*keys) == len(keys) > 0
    await client.aclose()


async def _dies(running: Running, gap: Gap, *command: str) -> None:
    worker = running.run(*(command or ("worker",)), "--set", f"failpoints={gap}=die")
    try:
        deadline = time.monotonic() + DEATH_S
        while worker.process.poll() is None:
            assert time.monotonic() < deadline, f"{gap} is never reached"
            await asyncio.sleep(0.02)
        assert worker.process.returncode == -signal.SIGKILL, (gap, worker.errors.read_text())
    finally:
        worker.kill()


async def test_a_takeover_under_way_is_not_ready_and_holds_up_no_stop(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    running = _running(broker, redis_server, namespace, tmp_path)
    await running.apply_topics()
    log = running.log()
    worker = running.worker()
    try:
        await worker.ready()
        assert worker.stop() == 0
        worker = running.worker("--set", "failpoints=takeover_begun=hang@2", "--set", "log.level=info")
        await _until_said(worker, b" takeover partition=")
        assert b"ready partitions=" not in worker.errors.read_bytes()
        assert worker.stop(within_s=10) == 0
        assert b"ready partitions=" not in worker.errors.read_bytes()
    finally:
        worker.kill()
        await log.stop()


async def _until_said(worker: Worker, words: bytes) -> None:
    async def said() -> bool:
        return words in worker.errors.read_bytes()

    await until(said)
