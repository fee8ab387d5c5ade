"""`replay raw` on embedded storage: the raw topics once more, by other settings, with any number of partitions."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

from interaction_router.adapters.clock import SystemClock
from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.bootstrap.embedded import embedded_router
from interaction_router.bootstrap.replay import raw_ranges_of, raw_replay
from interaction_router.domain.errors import FatalError
from interaction_router.domain.ids import partition_of_key
from interaction_router.ports import Outgoing
from tests.e2e.embedded import PARTITIONS, Program, saved, sms
from tests.e2e.test_cli_replay_log import UPDATES, _told_of, _updates, settings_of
from tests.faults.simulator import ManualClock
from tests.faults.traffic import Traffic

RECORDS = 120
IDLE = {"INTERACTION_ROUTER_IDLE_CLOSE__SMS": "600", "INTERACTION_ROUTER_IDLE_CLOSE__EMAIL": "600"}
ANN = "+27821234567"


async def _live_evenly(data: Path, seed: int, clock: ManualClock) -> None:
    """Let a router take traffic one record after the other, each decided, and what is idle closed, before the next."""
    traffic = Traffic(Random(seed))
    async with embedded_router(settings_of(data), clock) as embedded:
        await embedded.shell.settled()
        for number in range(RECORDS):
            clock.ms += Random(seed * 1000 + number).choice((1, 1_000, 400_000))
            await embedded.router.assignment.tick()
            await embedded.shell.settled()
            heard = [update["conversation_id"] for update in await _updates(embedded.log) if "seq" in update]
            record = traffic.next(clock.ms, heard)
            await embedded.log.append(
                record.stream, partition_of_key(record.key, PARTITIONS), [Outgoing(record.key, record.value)]
            )
            await embedded.shell.settled()


def replay(program: Program, *args: str, **env: str) -> Any:
    return program("replay", "raw", "--json", *args, env={**IDLE, **env})


@pytest.mark.parametrize("partitions", [PARTITIONS, PARTITIONS + 2])
@pytest.mark.parametrize("seed", range(3))
def test_the_same_settings_tell_the_same(
    program: Program, seed: int, partitions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With any number of partitions; and what is written is a router that has all of it."""
    clock = ManualClock()
    asyncio.run(_live_evenly(program.data, seed, clock))
    monkeypatch.setattr("time.time_ns", lambda: clock.ms * 1_000_000)
    before = {stream: program.records(stream) for stream in ("internal.log", "internal.outcomes", UPDATES)}
    dry = replay(program, "--partitions", str(partitions))
    assert (dry.code, dry.json["differing"], dry.json["records_read"]) == (0, [], RECORDS)
    assert not (program.data / "twin.sqlite").exists()
    ran = replay(program, "--into", "twin", "--partitions", str(partitions), "--yes")
    assert (ran.code, ran.json["differences"], ran.json["records_undecided"]) == (0, 0, 0)
    assert {stream: program.records(stream) for stream in before} == before
    live, twin = (asyncio.run(_told_of(program.data, each)) for each in ("router", "twin"))
    assert sorted(map(_bare, twin)) == sorted(map(_bare, live))
    assert ran.json["records_refused"] == _refused(program)
    named = ("--set", "namespace=twin")
    assert program("state", "rebuild", "--yes", *named).code == 0
    assert program("state", "verify", *named).code == 0


def _bare(update: dict[str, Any]) -> tuple[str, int, str, str]:  # Any: the JSON of the contract
    return update["id"], update.get("seq", 0), update["type"], update["cause"]["rule"]


def _refused(program: Program) -> int:
    return len([each for _, each in program.records("dlq.v1") if ("dlq_stage", b"intake") in each.headers])


@pytest.fixture
def lived(program: Program) -> Program:
    program.feed(saved("c1", ANN), sms("1", ANN), sms("2", "082 000 0000"))
    return program


def test_what_other_settings_would_tell_is_told(lived: Program) -> None:
    """A national number is somebody's where its region is known."""
    assert lived("replay", "raw", "--json").json["differences"] == 0
    ran = lived("replay", "raw", "--json", env={"INTERACTION_ROUTER_DEFAULT_REGION": "ZA"})
    assert ran.code == 1
    told = {each["type"] for difference in ran.json["differing"] for each in difference["live"]}
    assert told == {"conversation.opened", "conversation.interaction_added"}
    assert {bool(difference["live"]) for difference in ran.json["differing"]} == {True, False}
    assert lived("replay", "raw", env={"INTERACTION_ROUTER_DEFAULT_REGION": "ZA"}).code == 1


def test_what_is_not_there_any_more_is_told(lived: Program, program: Program) -> None:
    with EmbeddedDatabase(lived.data / "router.sqlite") as database, database.writing() as connection:
        connection.execute(
            "DELETE FROM record WHERE offset = 0 AND stream = (SELECT id FROM stream WHERE name = 'interactions.sms.v1')"
        )
    for words in ((), ("--into", "twin", "--yes")):
        ran = lived("replay", "raw", *words)
        assert (ran.code, ran.err.split()[1]) == (1, "inputs_trimmed:")
        assert "Partition 0 of interactions.sms.v1 begins at 1, of 20" in ran.err
    assert not (program.data / "twin.sqlite").exists()


def test_what_goes_while_it_is_read_is_told(lived: Program) -> None:
    async def replay() -> None:
        with EmbeddedDatabase(lived.data / "router.sqlite") as database:
            log = EmbeddedLog(database, SystemClock())
            ranges = await raw_ranges_of(lived.settings(), log, {})
            await log.trim("interactions.sms.v1", 0, 2)
            made = await raw_replay(lived.settings(), log, partitions=PARTITIONS, lineage="none")
            async for _ in made.run(ranges, until_ms=0):
                pass

    with pytest.raises(FatalError, match="inputs_trimmed"):
        asyncio.run(replay())


def test_wrong_words_and_empty_topics_are_told(program: Program) -> None:
    program.feed()
    assert program("replay", "raw", "--yes").code == 2
    assert program("replay", "raw", "--into", "router").code == 2
    empty = program("replay", "raw", "--into", "twin", "--yes")
    assert (empty.code, empty.err.split()[1]) == (1, "range_empty:")
    assert not (program.data / "twin.sqlite").exists()
    program.feed(sms("1", ANN))
    assert replay(program, "--into", "twin", "--yes").code == 0
    again = program("replay", "raw", "--into", "twin", "--yes")
    assert (again.code, again.err.split()[1]) == (1, "target_exists:")
