"""The README's example, on a real broker and a real Valkey: its programs run, and what it shows is what comes out."""

import json
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import redis

from interaction_router.adapters.kafka.log import KafkaLog
from tests.integration.running import Running, until, updates
from tests.servers import Broker, RedisServer
from tests.unit.test_readme import README, SUBSCRIBE, blocks, examples, key_table

Programs = Mapping[str, Path]


async def test_the_example_comes_out_as_it_is_shown(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    running = Running(bootstrap=broker.bootstrap, redis_url=redis_server.url, namespace=namespace, folder=tmp_path)
    await running.apply_topics()
    programs = _programs(tmp_path, namespace)
    worker, log = running.worker(), running.log()
    try:
        await worker.ready()
        _run(running, tmp_path, sys.executable, str(programs["send.py"]))
        await _told(log, 2)
        for command in _commands("interaction-router contacts save ann"):
            _run(running, tmp_path, sys.executable, "-m", "interaction_router", *shlex.split(command)[1:])
        await _told(log, 3)
        told = _first_lines(running, programs["subscribe.py"], 3)
        assert _comparable(told[1], namespace) == _shown_update()
        _stores_each_once(running, programs["store.py"])
        conversation = told[1]["conversation_id"]
        shown = _run(
            running, tmp_path, sys.executable, "-m", "interaction_router", "conversations", "show", conversation
        )
        assert _story(shown, namespace) == _shown_story()
        with redis.Redis.from_url(redis_server.url, decode_responses=True) as rows:
            keys = {key.replace(f"{namespace}:", "router:", 1): key for key in rows.scan_iter(f"{namespace}:*")}
            assert {key: rows.type(name) for key, name in keys.items()} == key_table()
            found = [json.loads(rows.get(keys[key])) for key in _keys_asked_for()]
        assert [_without_times(row) for row in found] == [
            _without_times(row) for row in (*examples("saves"), *examples("opened_at_ms"))
        ]
        assert worker.stop() == 0
    finally:
        worker.kill()
        await log.stop()


def _programs(folder: Path, namespace: str) -> Programs:
    """Write down the programs of the pages, each named by its first line, for another namespace."""
    programs = {}
    for text in (*blocks(README, "python"), *blocks(SUBSCRIBE, "python")):
        name = text.splitlines()[0].removeprefix("# ")
        programs[name] = folder / name
        programs[name].write_text(text.replace('"router.', f'"{namespace}.'))
    return programs


def _commands(beginning: str) -> list[str]:
    return [line for text in blocks(README, "sh") for line in text.splitlines() if line.startswith(beginning)]


def _run(running: Running, folder: Path, *command: str) -> str:
    done = subprocess.run(command, env=running.env, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def _told(log: KafkaLog, count: int) -> None:
    async def there() -> bool:
        return len(await updates(log)) == count

    await until(there)


def _first_lines(running: Running, program: Path, count: int) -> list[dict[str, Any]]:  # Any: JSON
    command = [sys.executable, str(program)]
    with subprocess.Popen(command, env=running.env, cwd=program.parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(count)]
        process.kill()
    return lines


def _stores_each_once(running: Running, program: Path) -> None:
    assert [line["seq"] for line in _first_lines(running, program, 3)] == [1, 2, 3]
    with closing(sqlite3.connect(program.parent / "conversations.db")) as database:
        assert list(database.execute("SELECT seq FROM seen")) == [(3,)]


def _shown_update() -> Mapping[str, Any]:  # Any: JSON
    (shown,) = examples("cause")
    return _comparable(shown, "router")


def _comparable(update: Mapping[str, Any], namespace: str) -> Mapping[str, Any]:
    cause = {**update["cause"], "topic": update["cause"]["topic"].replace(namespace, "router", 1)}
    return {**update, "at": None, "cause": cause}


def _shown_story() -> list[str]:
    (shown,) = (text for text in blocks(README, "") if text.startswith("SEQ "))
    return _story(shown, "router")


def _story(shown: str, namespace: str) -> list[str]:
    """Return the table of updates without what depends on the clock and on how wide the columns are."""
    table = shown[shown.index("SEQ ") :].replace(f" {namespace}.", " router.")
    lines = re.sub(r"\d{4}-\d\d-\d\dT\S+Z", "TIME", table).splitlines()
    return [" ".join(line.split()) for line in lines]


def _keys_asked_for() -> list[str]:
    return [
        shlex.split(line)[2] for text in blocks(README, "sh") for line in text.splitlines() if "redis-cli get" in line
    ]


def _without_times(row: Mapping[str, Any]) -> Mapping[str, Any]:  # Any: JSON
    return {**row, **{name: "TIME" for name in ("opened_at_ms", "activity") if name in row}}
