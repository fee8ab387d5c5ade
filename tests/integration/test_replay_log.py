"""`replay log` on a real broker: the log of workers that were killed, into a router with twice the partitions."""

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.adapters.kafka.topics import check_topics
from interaction_router.bootstrap.replay import intake_offsets, second_log, standing_of
from interaction_router.bootstrap.storage import kafka_log
from interaction_router.bootstrap.topics import topics_of
from interaction_router.domain.errors import FatalError
from tests.integration.running import Running, saved, sms, until, updates
from tests.integration.test_redrive import Program
from tests.servers import Broker, RedisServer

PARTIES = 40
NUMBERS = [f"+2782123{number:04}" for number in range(PARTIES)]
SMS = "interactions.sms.v1"


async def _told(log: KafkaLog, namespace: str) -> dict[str, list[str]]:
    """Return each conversation's updates as they are promised: those above the highest `seq`."""
    told: dict[str, list[str]] = defaultdict(list)
    for update in await updates(log):
        if update["seq"] > len(told[update["conversation_id"]]):
            told[update["conversation_id"]].append(
                json.dumps(update).replace(f'"{namespace}.internal.', '"NS.internal.')
            )
    return told


async def _live_through(running: Running, log: KafkaLog) -> None:
    """Messages, saves that link them, and more messages; the worker is killed in the middle."""
    first = running.worker()
    await first.ready()
    await log.append(SMS, 0, [sms(f"a{n}", number) for n, number in enumerate(NUMBERS)])
    await log.append("contacts.v1", 0, [saved(f"c{n}", number) for n, number in enumerate(NUMBERS[::2])])
    await until(lambda: _at_least(log, PARTIES))
    first.kill()
    await log.append(SMS, 1, [sms(f"b{n}", number) for n, number in enumerate(NUMBERS)])
    second = running.worker()
    try:
        await until(lambda: _settled(log))
        assert second.stop() == 0
    finally:
        second.kill()


async def _at_least(log: KafkaLog, count: int) -> bool:
    return len(await updates(log)) >= count


async def _settled(log: KafkaLog) -> bool:
    """Tell whether every message is in a conversation, and every saved party's are its contact's."""
    found = await updates(log)
    added = {
        each["interaction"]["interaction_id"] for each in found if each["type"] == "conversation.interaction_added"
    }
    owners = {each["contact_id"] for each in found if each["type"] == "conversation.linked"}
    return len(added) == 2 * PARTIES and len(owners) == PARTIES // 2


def _pair(
    broker: Broker, redis_server: RedisServer, namespace: str, folder: Path, *, partitions: int
) -> tuple[Running, Running]:
    """Return a router with four partitions, and one that reads the same inputs, with so many."""
    servers = {"bootstrap": broker.bootstrap, "redis_url": redis_server.url}
    session = {"KAFKA__SESSION_TIMEOUT": "6"}
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    return (
        Running(**servers, namespace=namespace, folder=folder / "a", TOPICS__PARTITIONS="4", **session),
        Running(
            **servers,
            namespace=f"{namespace}b",
            folder=folder / "b",
            TOPICS__PARTITIONS=str(partitions),
            INPUTS_NAMESPACE=namespace,
            **session,
        ),
    )


async def test_twice_the_partitions_tell_the_same(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin_name = f"{namespace}b"
    running, twin = _pair(broker, redis_server, namespace, tmp_path, partitions=8)
    await running.apply_topics()
    program = Program(running, capsys)
    log, copy = running.log(), twin.log()
    try:
        await _live_through(running, log)
        live = await _told(log, namespace)
        ends = [await log.bounds("internal.log", each) for each in range(4)]
        replay = ("replay", "log", "--into", twin_name, "--partitions", "8")
        dry = await program(*replay, "--json")
        assert (dry.code, json.loads(dry.out)["differences"]) == (0, 0), dry.err
        assert await standing_of(twin.settings) == "free"
        ran = await program(*replay, "--yes", "--json")
        assert (ran.code, json.loads(ran.out)["differences"]) == (0, 0), ran.err
        assert await copy.partitions("conversations.v1") == 8
        assert await _told(copy, twin_name) == live
        assert [await log.bounds("internal.log", each) for each in range(4)] == ends
        assert "target_exists" in (await program(*replay, "--yes")).err

        part = ("replay", "log", "--into", f"{namespace}c", "--tenant", "acme", "--contact", "c0", "--yes", "--json")
        of_one = await program(*part)
        assert (of_one.code, json.loads(of_one.out)["differences"]) == (0, 0), of_one.err
        assert json.loads(of_one.out)["records_written"] < json.loads(ran.out)["records_written"]
        assert "promote_partial" in (await program("replay", "promote", "--into", f"{namespace}c")).err
        assert "promote_partial" not in (await program("replay", "promote", "--into", twin_name)).err

        promote = ("replay", "promote", "--into", twin_name, "--json")
        early = await program(*promote)
        assert (early.code, json.loads(early.out)["ready"]) == (1, False)
        await _both_go_on(running, twin, log, copy)
        ready = await program(*promote)
        assert ready.code == 1  # nobody is there any more
        assert [each["verdict"] for each in json.loads(ready.out)["findings"]] == ["fail", "ok", "ok", "ok"]
    finally:
        await copy.stop()
        await log.stop()


async def _both_go_on(running: Running, twin: Running, log: KafkaLog, copy: KafkaLog) -> None:
    """Let the workers of both take the same message: it joins the same conversation, and has the same cause."""
    workers = [running.worker(), twin.worker()]
    try:
        for worker in workers:
            await worker.ready()
        await log.append(SMS, 0, [sms("z", NUMBERS[0])])
        told: list[dict[str, Any]] = []

        async def joined() -> bool:
            told[:] = [
                each
                for of in (log, copy)
                for each in await updates(of)
                if each.get("interaction", {}).get("interaction_id") == "z"
            ]
            return len(told) == 2

        await until(joined)
        ours, theirs = ({**each, "at": None} for each in told)
        assert ours == theirs
        assert ours["cause"]["rule"] == "joined_open_conversation"
        assert ours["cause"]["topic"] == f"{running.settings.namespace}.{SMS}"
        assert [worker.stop() for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()


async def test_the_raw_topics_make_a_router_with_any_number_of_partitions(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes on behind what was replayed, and takes nothing twice."""
    running, twin = _pair(broker, redis_server, namespace, tmp_path, partitions=3)
    await running.apply_topics()
    program = Program(running, capsys)
    log, copy = running.log(), twin.log()
    worker = running.worker()
    try:
        await worker.ready()
        await log.append(SMS, 0, [sms(f"a{n}", number) for n, number in enumerate(NUMBERS)])
        await until(lambda: _at_least(log, 2 * PARTIES))
        await log.append("contacts.v1", 0, [saved(f"c{n}", number) for n, number in enumerate(NUMBERS[::2])])
        await until(lambda: _at_least(log, 2 * PARTIES + PARTIES // 2))
        await log.append(SMS, 1, [sms(f"b{n}", number) for n, number in enumerate(NUMBERS)])
        await until(lambda: _settled(log))
        assert worker.stop() == 0
        ends = [await log.bounds("internal.log", each) for each in range(4)]
        replay = ("replay", "raw", "--into", f"{namespace}b", "--partitions", "3", "--json")
        dry = await program(*replay)
        assert (dry.code, json.loads(dry.out)["differing"]) == (0, []), dry.err
        assert json.loads(dry.out)["records_read"] == 2 * PARTIES + PARTIES // 2
        assert await standing_of(twin.settings) == "free"
        ran = await program(*replay, "--yes")
        assert (ran.code, json.loads(ran.out)["differences"]) == (0, 0), ran.err
        assert await copy.partitions("conversations.v1") == 3
        assert [await log.bounds("internal.log", each) for each in range(4)] == ends
        assert await intake_offsets(twin.settings) == await intake_offsets(running.settings)
        before = len(await updates(copy))
        await _both_go_on(running, twin, log, copy)
        assert len(await updates(copy)) == before + 1
    finally:
        worker.kill()
        await copy.stop()
        await log.stop()


async def test_a_partition_of_which_nothing_is_kept_is_not_an_empty_one(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running, _ = _pair(broker, redis_server, namespace, tmp_path, partitions=4)
    await running.apply_topics()
    program = Program(running, capsys)
    log = running.log()
    try:
        await _live_through(running, log)
        async with topics_of(running.settings) as topics:
            await topics.trim("internal.log", {3: (await log.bounds("internal.log", 3)).end})
        ran = await program("replay", "log", "--into", f"{namespace}b", "--partitions", "8", "--yes")
        assert (ran.code, ran.err.split()[1]) == (1, "log_trimmed:")
        assert "Partition 3 of internal.log has no record 0 any more: nothing is kept" in ran.err
    finally:
        await log.stop()


@pytest.mark.parametrize("inputs", [None, "elsewhere"])
async def test_a_router_that_is_not_whole_does_not_start(
    broker: Broker, namespace: str, tmp_path: Path, inputs: str | None
) -> None:
    """Also one that has no inputs of its own, which are there already."""
    servers = {"bootstrap": broker.bootstrap, "redis_url": "redis://127.0.0.1:1/0"}
    first = Running(**servers, namespace=f"{namespace}{inputs}", folder=tmp_path)
    await first.apply_topics()
    more = {} if inputs is None else {"INPUTS_NAMESPACE": f"{namespace}{inputs}"}
    running = Running(**servers, namespace=namespace, folder=tmp_path, **more)
    async with second_log(running.settings):
        pass
    async with kafka_log(running.settings) as log:
        assert await standing_of(running.settings) == "unfinished"
        with pytest.raises(FatalError, match="topic_missing"):
            await check_topics(log, running.settings.channels)


async def test_what_a_worker_asks_for_there_makes_no_whole_router_of_it(
    broker: Broker, namespace: str, tmp_path: Path
) -> None:
    """The error of the worker names `topics apply`; the log that it would start on is without its end."""
    servers = {"bootstrap": broker.bootstrap, "redis_url": "redis://127.0.0.1:1/0"}
    await Running(**servers, namespace=f"{namespace}a", folder=tmp_path).apply_topics()
    running = Running(**servers, namespace=namespace, folder=tmp_path, INPUTS_NAMESPACE=f"{namespace}a")
    async with second_log(running.settings):
        pass
    forgetful = Running(**servers, namespace=namespace, folder=tmp_path)  # of the inputs of the other
    for each in (running, forgetful):
        apply = each.run("topics", "apply")
        assert await asyncio.to_thread(apply.process.wait, 60) == 1
        assert "replay_unfinished" in apply.errors.read_text()
    assert await standing_of(running.settings) == "unfinished"
