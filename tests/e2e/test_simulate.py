"""`simulate`: what it writes to a real broker, and how it ends without one."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from interaction_router.application.simulation import Load, first_records, load_records
from tests.integration.running import Running
from tests.servers import Broker, RedisServer


def run(*args: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "interaction_router", *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


async def test_everything_is_on_the_broker_in_order(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    running = Running(bootstrap=broker.bootstrap, redis_url=redis_server.url, namespace=namespace, folder=tmp_path)
    await running.apply_topics()
    args = (
        "simulate",
        "--count",
        "400",
        "--rate",
        "400",
        "--seed",
        "3",
        "--contacts",
        "30",
        "--poison",
        "0.1",
        "--json",
    )
    done = run(*args, env=running.env)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["records"], summary["agents"], summary["seed"]) == (400 + 3 + 21, 3, 3)
    assert summary["seconds"] < 10
    load = Load(seed=3, start_ms=0, contacts=30, rate=400, poison=0.1)
    records = [*first_records(load), *(record for record, _ in zip(load_records(load), range(400), strict=False))]
    assert summary["to_be_refused"] == Counter(record.code for record in records if record.code is not None)
    log = running.log()
    try:
        for stream in {record.stream for record in records}:
            keys: Counter[bytes | None] = Counter()
            for partition in range(await log.partitions(stream)):
                keys.update(record.key for record in await log.read(stream, partition, 0))
            assert keys == Counter(record.key for record in records if record.stream == stream)
    finally:
        await log.stop()


def test_without_a_broker_it_is_unavailable() -> None:
    done = run("simulate", "--count", "1", env={"INTERACTION_ROUTER_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert done.returncode == 69
    assert "error: kafka_unavailable: " in done.stderr


def test_seconds_and_count_exclude_each_other() -> None:
    done = run("simulate", "--count", "1", "--seconds", "1", env={})
    assert done.returncode == 2
    assert "exclude each other" in done.stderr
