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

from interaction_router.bootstrap.storage import redis_tables
from interaction_router.bootstrap.terms import intake_settings
from interaction_router.ports import Gap
from tests.checker import check
from tests.faults.stories import merged, story
from tests.integration.running import Running, Worker, at_rest, until
from tests.servers import Broker, RedisServer

PARTITIONS = 2
DEATH_S = 40.0
TAKEOVER: tuple[Gap, ...] = (
    "takeover_begun",
    "takeover_told",
    "takeover_applied",
    "takeover_state_written",
    "taken_over",
)
LEAVES_WORK: tuple[Gap, ...] = ("outcomes_acknowledged", *TAKEOVER)
"""A death there leaves the next worker something to take over."""
DEATHS = (*(gap for gap in get_args(Gap) if gap not in LEAVES_WORK), *LEAVES_WORK)


@pytest.mark.slow
async def test_a_death_in_every_gap_loses_nothing_and_does_nothing_twice(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    running = _running(broker, redis_server, namespace, tmp_path)
    await running.apply_topics()
    log = running.log()
    try:
        for number, gap in enumerate(DEATHS):
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


async def _dies(running: Running, gap: Gap) -> None:
    worker = running.worker("--set", f"failpoints={gap}=die")
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
