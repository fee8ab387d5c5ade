"""`replay log` on embedded storage: the same log gives the same bytes, with as many partitions or more."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from interaction_router.application import log_replay
from interaction_router.bootstrap.embedded import embedded_router
from interaction_router.bootstrap.storage import opened_log
from interaction_router.cli import replay_log as cli_replay_log
from interaction_router.domain.decide import decide
from interaction_router.domain.events import Decision
from interaction_router.domain.ids import partition_of_key
from interaction_router.domain.messages import ContactSaved, LogRecord
from interaction_router.domain.rows import Head
from interaction_router.ports import Log, Outgoing
from interaction_router.settings import EmbeddedSettings, Settings, TopicsSettings
from tests.e2e.embedded import PARTITIONS, Program, saved, sms
from tests.faults.simulator import ManualClock
from tests.faults.traffic import Traffic

RECORDS = 120
UPDATES = "conversations.v1"
ANN, BEN = "+27821234567", "+27820000000"


def settings_of(data: Path, namespace: str = "router", partitions: int = PARTITIONS) -> Settings:
    return Settings(
        namespace=namespace,
        embedded=EmbeddedSettings(data_dir=data),
        topics=TopicsSettings(partitions=partitions),
        idle_close={"sms": timedelta(minutes=10), "email": timedelta(minutes=10)},
    )


async def _live_through(data: Path, seed: int, clock: ManualClock) -> None:
    """Let a router take traffic in which everything meets: saves, merges, erasures, repeats, poison, idle closing."""
    traffic = Traffic(Random(seed))
    async with embedded_router(settings_of(data), clock) as embedded:
        await embedded.shell.settled()
        for number in range(RECORDS):
            clock.ms += Random(seed * 1000 + number).choice((1, 1_000, 400_000, -20_000))
            heard = [update["conversation_id"] for update in await _updates(embedded.log) if "seq" in update]
            record = traffic.next(clock.ms, heard)
            await embedded.log.append(
                record.stream, partition_of_key(record.key, PARTITIONS), [Outgoing(record.key, record.value)]
            )
            if number % 3 == 0:
                await embedded.shell.settled()
            if number % 10 == 0:
                await embedded.router.assignment.tick()
        await embedded.shell.settled()


async def _updates(log: Log) -> list[dict[str, Any]]:
    return [
        orjson.loads(record.value or b"")
        for partition in range(await log.partitions(UPDATES))
        for record in await log.read(UPDATES, partition, 0, limit=100_000)
    ]


async def _told(data: Path, namespace: str, partitions: int, clock: ManualClock) -> dict[str, list[bytes]]:
    """Let a router decide what is left, and return what it has told by key, its topics' names made the first's."""
    told: dict[str, list[bytes]] = defaultdict(list)
    async with embedded_router(settings_of(data, namespace, partitions), clock) as embedded:
        await embedded.shell.settled()
        for stream in (UPDATES, "dlq.v1"):
            for partition in range(partitions):
                for record in await embedded.log.read(stream, partition, 0, limit=100_000):
                    if ("dlq_stage", b"intake") in record.headers:
                        continue  # before there was a log record
                    headers = [(name, value) for name, value in record.headers if name != "ce_time"]
                    text = repr((record.value, sorted(headers))).replace(f"{namespace}.", "router.")
                    told[f"{stream} {record.key!r}"].append(text.replace(f"/{namespace}", "/router").encode())
        for key, texts in told.items():
            if key.startswith("dlq"):  # of one key, letters of several partitions
                texts.sort()
        for partition in range(partitions):
            for record in await embedded.log.read("conversations.state.v1", partition, 0, limit=100_000):
                if record.value is not None:  # nothing, and that there is nothing, are the same of an erased one
                    told[f"state {record.key!r}"] = [record.value]
    return told


@pytest.mark.parametrize("partitions", [PARTITIONS, 2 * PARTITIONS])
@pytest.mark.parametrize("seed", range(2))
def test_the_same_log_gives_the_same_bytes(program: Program, seed: int, partitions: int) -> None:
    clock = ManualClock()
    asyncio.run(_live_through(program.data, seed, clock))
    before = asyncio.run(_told(program.data, "router", PARTITIONS, clock))
    assert any(b"conversation.closed" in text for texts in before.values() for text in texts)
    count = str(partitions)
    dry = program("replay", "log", "--partitions", count, "--json")
    assert (dry.code, dry.json["differing"], dry.json["records_left_out"]) == (0, [], 0)
    ran = program("replay", "log", "--into", "twin", "--partitions", count, "--yes", "--json")
    assert (ran.code, ran.json["differences"]) == (0, 0)
    after = asyncio.run(_told(program.data, "twin", partitions, clock))
    assert after == before
    assert asyncio.run(_told(program.data, "router", PARTITIONS, clock)) == before


@pytest.fixture
def lived(program: Program) -> Program:
    """Ann's conversation is open, Ben's message is unlinked; another tenant has one of its own."""
    program.feed(saved("c1", ANN), sms("1", ANN), sms("2", BEN), sms("3", ANN, tenant="other"))
    return program


def replay(program: Program, *args: str) -> Any:
    return program("replay", "log", "--json", *args)


async def _goes_on(data: Path, namespace: str, partitions: int) -> list[dict[str, Any]]:
    """Let the other router take one more message of Ann's; return its updates."""
    async with embedded_router(settings_of(data, namespace, partitions)) as embedded:
        await embedded.shell.settled()
        stream, fields = sms("9", ANN)
        await embedded.log.append(stream, 0, [Outgoing(None, orjson.dumps(fields))])
        await embedded.shell.settled()
        return await _updates(embedded.log)


@pytest.mark.parametrize("partitions", [PARTITIONS, 4 * PARTITIONS])
def test_the_other_router_goes_on_from_it(lived: Program, partitions: int) -> None:
    assert replay(lived, "--into", "twin", "--partitions", str(partitions), "--yes").code == 0
    told = asyncio.run(_goes_on(lived.data, "twin", partitions))
    by_conversation: dict[str, list[int]] = defaultdict(list)
    for update in told:
        by_conversation[update["conversation_id"]].append(update["seq"])
    assert sorted(by_conversation.values()) == [[1, 2], [1, 2], [1, 2, 3]]
    (joined,) = [each for each in told if each["seq"] == 3]
    assert (joined["contact_id"], joined["cause"]["rule"]) == ("c1", "joined_open_conversation")


def test_a_replay_names_where_each_record_stood(lived: Program) -> None:
    """Each stands where it stood, one that was sent again after a crash too."""
    sends = [(at, record) for at, record in lived.records("internal.log") if b'"internal.log/' in (record.value or b"")]
    assert sends
    for partition, record in sends:
        lived.place_bytes("internal.log", partition, record.key, record.value or b"", record.headers)
    lived.feed()
    assert replay(lived, "--into", "twin", "--yes").code == 0

    async def marks() -> list[bytes]:
        async with opened_log(settings_of(lived.data, "twin")) as log:
            return [
                dict(record.headers)["replayed_from"]
                for partition in range(PARTITIONS)
                for record in await log.read("internal.log", partition, 0)
            ]

    places = [f"router.internal.log/{at}@{record.offset}".encode() for at, record in lived.records("internal.log")]
    assert asyncio.run(marks()) == places


def test_a_part_is_replayed(lived: Program) -> None:
    whole = replay(lived).json
    other = replay(lived, "--tenant", "other").json
    assert (other["records_read"], other["updates_compared"], other["differences"]) == (whole["records_read"], 2, 0)
    (third,) = {each["at"] for each in lived("tail", "--tenant", "other", "--json").lines}
    before = replay(lived, "--until", third).json
    assert before["records_left_out"] >= 1
    earlier = [each for each in lived("tail", "--json").lines if each["at"] < third]
    assert (before["updates_compared"], before["differences"]) == (len(earlier), 0)
    assert replay(lived, "--into", "twin", "--tenant", "other", "--yes").code == 0
    assert [each["tenant"] for each in asyncio.run(_told_of(lived.data, "twin"))] == ["other", "other"]


async def _told_of(data: Path, namespace: str) -> list[dict[str, Any]]:
    async with opened_log(settings_of(data, namespace)) as log:
        return await _updates(log)


def test_what_another_version_would_decide_is_told(lived: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that knows no contacts' numbers: nothing of Ann's is joined, and nothing is sent between homes."""

    def forgetful(rows: Any, buckets: Any, head: Head, record: LogRecord, *, offset: int) -> Any:
        if isinstance(record.message, ContactSaved):
            return Decision(record.stamp_ms or 0), {}
        return decide(rows, buckets, head, record, offset=offset)

    monkeypatch.setattr(log_replay, "decide", forgetful)
    before = lived.records("internal.log")
    ran = replay(lived)
    assert ran.code == 1
    (difference,) = ran.json["differing"]
    assert difference["live"][0]["cause"]["rule"] == "opened_for_contact"
    assert difference["live"][0]["contact_id"] == "c1"
    table = lived("replay", "log")
    assert table.code == 1
    assert "opened" in table.out
    assert lived.records("internal.log") == before
    assert sorted(path.name for path in lived.data.iterdir()) == ["router.sqlite"]


def test_what_cannot_be_replayed_is_told(lived: Program, program: Program) -> None:
    assert lived("replay", "log", "--yes").code == 2
    assert lived("replay", "log", "--into", "router").code == 2
    mixed = lived("replay", "log", "--into", "twin", "--partitions", "4", "--yes")
    assert (mixed.code, mixed.err.split()[1]) == (1, "partitions_mixed:")
    assert lived("replay", "log", "--into", "No!", "--yes").code == 78
    assert not (lived.data / "twin.sqlite").exists()
    assert replay(lived, "--into", "twin", "--yes").code == 0
    again = lived("replay", "log", "--into", "twin", "--yes")
    assert (again.code, again.err.split()[1]) == (1, "target_exists:")
    program.feed()
    empty = program("replay", "log", "--set", "namespace=nobody")
    assert (empty.code, empty.err.split()[1]) == (1, "embedded_missing:")


def test_a_replay_that_is_interrupted_leaves_no_router(lived: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_replay_log, "BATCH", 1)
    monkeypatch.setattr(cli_replay_log, "run_interruptible", _stopped_at_once)
    ran = lived("replay", "log", "--into", "twin", "--yes")
    assert ran.code == 130
    assert "twin is not whole" in ran.err
    assert not (lived.data / "twin.sqlite").exists()
    monkeypatch.undo()
    assert replay(lived, "--into", "twin", "--yes").code == 0


def _stopped_at_once(work: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> int:
    async def run() -> int:
        stop = asyncio.Event()
        stop.set()
        return await work(stop)

    return asyncio.run(run())
