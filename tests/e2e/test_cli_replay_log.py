"""`replay log` on embedded storage: the same log gives the same bytes, with as many partitions or more."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Container, Coroutine, Mapping
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from interaction_router.adapters.clock import SystemClock
from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.application import replay_rows
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


OTHERS = (
    *((f'"c{number}"'.encode(), f'"d{number}"'.encode()) for number in (1, 2, 3)),
    (b"+2782123", b"+2783123"),
    (b"ann@", b"una@"),
    (b"bob@", b"rob@"),
    (b'"interaction_id":"i', b'"interaction_id":"j'),
    (b"8000-000000000001", b"8000-000000000002"),
)
"""What makes of the names in the traffic those of people who have nothing to do with the others."""


async def _live_through(data: Path, seed: int, clock: ManualClock, *, crowds: int = 1) -> None:
    """Let a router take traffic in which everything meets: saves, merges, erasures, repeats, poison, idle closing.

    Two crowds have nothing to do with each other, but that they share partitions and ticks.
    """
    traffic = [Traffic(Random(seed + crowd)) for crowd in range(crowds)]
    async with embedded_router(settings_of(data), clock) as embedded:
        await embedded.shell.settled()
        for number in range(RECORDS):
            clock.ms += Random(seed * 1000 + number).choice((1, 1_000, 400_000, -20_000))
            crowd = number % crowds
            heard = [
                update["conversation_id"]
                for update in await _updates(embedded.log)
                if "seq" in update and (crowds == 1 or _crowd_of(update) == crowd)
            ]
            record = traffic[crowd].next(clock.ms, heard)
            value = record.value
            for ours, theirs in OTHERS if crowd else ():
                value = value.replace(ours, theirs)
            await embedded.log.append(
                record.stream, partition_of_key(record.key, PARTITIONS), [Outgoing(record.key, value)]
            )
            if number % 3 == 0:
                await embedded.shell.settled()
            if number % 10 == 0:
                await embedded.router.assignment.tick()
        # Nothing is due any more: whoever goes on with it under this clock would close it, or not, as he comes to it.
        clock.ms += 3_000
        await embedded.shell.settled()
        await embedded.router.assignment.tick()
        await embedded.shell.settled()


def _crowd_of(update: Mapping[str, Any]) -> int | None:  # Any: the JSON of the contract
    """Return which crowd a conversation is of; None where nobody is named."""
    named = f'"{update["contact_id"]}" {update["endpoint"]}'
    return next((crowd for names in OTHERS for crowd in (0, 1) if names[crowd].decode() in named), None)


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


@pytest.mark.parametrize("seed", range(6))
def test_a_contact_decides_the_same_with_those_alone_that_had_to_do_with_it(program: Program, seed: int) -> None:
    """Saves, merges, erasures and commands of others are left out wherever nothing of them has reached it."""
    asyncio.run(_live_through(program.data, seed, ManualClock(), crowds=2))
    told = [each for each in program("tail", "--json").lines if "conversation_id" in each]
    whole = replay(program).json["updates_compared"]
    contacts = sorted({(each["tenant"], each["contact_id"]) for each in told if each["contact_id"] is not None})
    assert len(contacts) > 2
    compared = []
    for number, (tenant, contact) in enumerate(contacts):
        ran = replay(program, "--tenant", tenant, "--contact", contact)
        assert (ran.code, ran.json["differing"], ran.json["sends_left_out"]) == (0, [], 0), (
            contact,
            ran.json["differing"],
        )
        compared.append(ran.json["updates_compared"])
        if number < 2:
            name = f"part{number}"
            assert replay(program, "--tenant", tenant, "--contact", contact, "--into", name, "--yes").code == 0
            written = {each["conversation_id"] for each in asyncio.run(_told_of(program.data, name)) if "seq" in each}
            assert {each["conversation_id"] for each in told if each["contact_id"] == contact} <= written
            live, part = (asyncio.run(_told_of(program.data, each, written)) for each in ("router", name))
            assert sorted(part, key=_place) == sorted(live, key=_place)
    assert max(compared) < 0.8 * whole


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


@pytest.mark.parametrize(("words", "partitions"), [((), PARTITIONS), (("--partitions", "6"), 6)])
def test_partitions_that_have_nothing_yet_are_told_of_too(
    program: Program, words: tuple[str, ...], partitions: int
) -> None:
    program.feed(sms("1", ANN))
    for kind in ("log", "raw"):
        assert program("replay", kind, *words, "--json").json["partitions"] == partitions


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


def _place(update: Mapping[str, Any]) -> tuple[str, int]:  # Any: the JSON of the contract
    return update["conversation_id"], update["seq"]


async def _told_of(data: Path, namespace: str, of: Container[str] | None = None) -> list[dict[str, Any]]:
    """Return updates, of these conversations where they are given, the namespace of their causes made one."""
    async with opened_log(settings_of(data, namespace)) as log:
        found = await _updates(log)
    for each in found:
        each["cause"]["topic"] = each["cause"]["topic"].removeprefix(f"{namespace}.")
    return [each for each in found if of is None or each.get("conversation_id") in of]


def test_what_is_compared_is_narrowed(lived: Program) -> None:
    """All is decided, since what came first decides what comes of the rest; the report is of a part."""
    whole = replay(lived).json
    told = lived("tail", "--json").lines
    third = told[2]["at"]
    late = replay(lived, "--from", third).json
    assert late["records_read"] == whole["records_read"]
    assert late["updates_compared"] == len([each for each in told if each["at"] >= third])
    by_partition = [_compared(lived, "--partition", str(each)) for each in range(PARTITIONS)]
    assert sum(by_partition) == whole["updates_compared"]
    busiest = max(range(PARTITIONS), key=by_partition.__getitem__)
    end = len([each for each, _ in lived.records("internal.log") if each == busiest])
    ranges = [_compared(lived, "--partition", str(busiest), "--offsets", f"{at}:{at + 1}") for at in range(end)]
    assert sum(ranges) == by_partition[busiest]
    assert replay(lived, "--from", third, "--into", "twin", "--yes").code == 0
    assert len(asyncio.run(_told_of(lived.data, "twin"))) == len(told)


def _compared(program: Program, *args: str) -> int:
    """Return how many updates are compared; none where there is no record of the range."""
    ran = program("replay", "log", "--json", *args)
    if ran.code == 0:
        return int(ran.json["updates_compared"])
    assert "range_empty" in ran.err
    return 0


@pytest.mark.parametrize(
    ("choice", "code"),
    [
        (["--tenant", "nobody"], "range_empty"),
        (["--until", "2001-01-01T00:00:00Z"], "range_empty"),
        (["--from", "2099-01-01T00:00:00Z"], "range_empty"),
        (["--partition", "0", "--offsets", "900:901"], "range_empty"),
        (["--partition", str(PARTITIONS)], "partition_unknown"),
        (["--tenant", "acme", "--contact", "nobody"], "contact_unknown"),
        (["--tenant", "other", "--contact", "c1"], "contact_unknown"),
        (["--tenant", "acme", "--contact", "c1", "--from", "2099-01-01T00:00:00Z"], "range_empty"),
    ],
)
def test_a_choice_with_nothing_in_it_makes_no_router(lived: Program, choice: list[str], code: str) -> None:
    before = {stream: lived.records(stream) for stream in ("internal.log", "internal.outcomes", UPDATES)}
    ran = lived("replay", "log", "--into", "twin", "--yes", *choice)
    assert (ran.code, ran.err.split()[1]) == (1, f"{code}:")
    assert sorted(path.name for path in lived.data.iterdir()) == ["router.sqlite"]
    assert {stream: lived.records(stream) for stream in before} == before


def test_wrong_words_are_told(lived: Program) -> None:
    for words in (["--contact", "c1"], ["--anew"], ["--offsets", "1:2"], ["--from", "PT1H", "--until", "PT2H"]):
        assert lived("replay", "log", *words).code == 2, words


def test_what_another_version_would_decide_is_told(lived: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that knows no contacts' numbers: nothing of Ann's is joined, and nothing is sent between homes."""

    def forgetful(rows: Any, buckets: Any, head: Head, record: LogRecord, *, offset: int) -> Any:
        if isinstance(record.message, ContactSaved):
            return Decision(record.stamp_ms or 0), {}
        return decide(rows, buckets, head, record, offset=offset)

    monkeypatch.setattr(replay_rows, "decide", forgetful)
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


@pytest.mark.parametrize("words", [(), ("--from", "2099-01-01T00:00:00Z"), ("--into", "twin", "--yes")])
def test_a_log_without_its_beginning_is_refused(program: Program, words: tuple[str, ...]) -> None:
    program.feed(sms("1", ANN), sms("2", BEN), saved("c1", ANN))
    with EmbeddedDatabase(program.data / "router.sqlite") as database:
        log = EmbeddedLog(database, SystemClock())
        for partition in range(PARTITIONS):
            asyncio.run(log.trim("internal.log", partition, 1))
    ran = program("replay", "log", *words)
    assert (ran.code, ran.err.split()[1]) == (1, "log_trimmed:")
    assert "has no record 0 any more: 1 of 20" in ran.err
    assert not (program.data / "twin.sqlite").exists()
