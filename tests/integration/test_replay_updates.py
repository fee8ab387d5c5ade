"""`replay updates` as a process on a real broker: a rate, a range of time, Ctrl-C and kill, and going on."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson

from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.domain.ids import Entity, Place, conversation_hash, conversation_id
from interaction_router.ports import Outgoing
from tests.integration.running import Running, until, updates
from tests.servers import Broker

CONVERSATIONS, SEQS = 60, 5
UPDATES = "conversations.v1"
HOUR_MS = 3_600_000


async def _lay(log: KafkaLog, partitions: int) -> None:
    """Updates of an hour each, `seq` by `seq`, every second batch twice as after a crash."""
    names = [conversation_id(Entity("acme", "contact", f"c{n}"), Place("x", 0, n)) for n in range(CONVERSATIONS)]
    for seq in range(1, SEQS + 1):
        for partition in range(partitions):
            batch = [
                Outgoing(name.encode(), orjson.dumps(_update(name, seq)), [("ce_id", b"x")], seq * HOUR_MS)
                for name in names
                if conversation_hash(name) % partitions == partition
            ]
            for _ in range(1 + seq % 2):
                await log.append(UPDATES, partition, batch)


def _update(name: str, seq: int) -> dict[str, Any]:
    return {"conversation_id": name, "seq": seq, "tenant": "acme", "contact_id": name}


async def _program(running: Running, folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "interaction_router",
        "replay",
        "updates",
        *arguments,
        cwd=folder,
        env={**os.environ, **running.env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_replay_is_interrupted_killed_and_gone_on_with(broker: Broker, namespace: str, tmp_path: Path) -> None:
    running = Running(
        bootstrap=broker.bootstrap, redis_url="redis://127.0.0.1:1/0", namespace=namespace, folder=tmp_path
    )
    await running.apply_topics()
    log, theirs = running.log(), KafkaLog(client_options(running.settings.kafka), "")
    to = f"theirs-{namespace}"
    kept = tmp_path / f"{to}.replay.json"
    try:
        await _lay(log, await log.partitions(UPDATES))
        ends = {each: await log.bounds(UPDATES, each) for each in range(await log.partitions(UPDATES))}
        choice = ("--to", to, "--create", "--from", "1970-01-01T02:00:00Z", "--until", "1970-01-01T05:00:00Z")

        dry = await _program(running, tmp_path, *choice, "--json")
        out, err = await dry.communicate()
        assert dry.returncode == 0, err
        assert json.loads(out)["records"] == 3 * CONVERSATIONS

        async def some(count: int) -> bool:
            return kept.exists() and orjson.loads(kept.read_bytes())["written"] >= count

        first = await _program(running, tmp_path, *choice, "--yes", "--rate", "50")
        await until(lambda: some(20))
        first.send_signal(signal.SIGINT)
        _, err = await first.communicate()
        assert first.returncode == 130
        assert f"interaction-router replay updates --resume {to}.replay.json --yes" in err.decode()

        before = orjson.loads(kept.read_bytes())["written"]
        assert before < 3 * CONVERSATIONS
        second = await _program(running, tmp_path, "--resume", str(kept), "--yes", "--rate", "50")
        await until(lambda: some(before + 20))
        second.kill()
        await second.wait()

        third = await _program(running, tmp_path, "--resume", str(kept), "--yes", "--json")
        out, err = await third.communicate()
        assert third.returncode == 0, err
        assert json.loads(out)["left"] == 0
        assert not kept.exists()

        found = await updates(theirs, to)
        assert Counter(each["seq"] for each in found) == dict.fromkeys((2, 3, 4), CONVERSATIONS)
        order: dict[str, list[int]] = {}
        for each in found:
            order.setdefault(each["conversation_id"], []).append(each["seq"])
        assert set(map(tuple, order.values())) == {(2, 3, 4)}
        assert {each: await log.bounds(UPDATES, each) for each in ends} == ends
    finally:
        await theirs.stop()
        await log.stop()
