"""`state` on embedded storage: what differs is named, and tables are made anew."""

import asyncio
import errno
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import orjson
import pytest

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.snapshots import SNAPSHOTS
from interaction_router.application.views import STATE, UPDATES
from interaction_router.bootstrap.state import State, opened_state
from interaction_router.cli import state as state_commands
from interaction_router.cli import state_copies
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Outgoing, Writes, shadow_of
from tests.e2e.embedded import PARTITIONS, Program, saved, sms

Answer = TypeVar("Answer")
CLEAN = "the tables are what the outcomes make of them\n"


@pytest.fixture
def fed(program: Program) -> Program:
    """A storage with contacts, conversations of theirs, and of parties that nobody has saved."""
    records = [saved("c1", "+27821234567", "ann@example.com"), saved("c2", "+27821234568")]
    records += [sms(f"{number}", f"+2782123456{number % 5}") for number in range(30)]
    program.feed(*records, saved("c3", "+27821234563"), sms("0", "+27821234560", status="read"))
    return program


def behind_the_back(program: Program, act: Callable[[State], Awaitable[Answer]]) -> Answer:
    async def done() -> Answer:
        async with opened_state(program.settings()) as state:
            return await act(state)

    return asyncio.run(done())


async def write(state: State, partition: int, writes: Writes) -> None:
    """Write where `applied` stays as it is."""
    applied = (await state.tables.load(partition, ())).applied
    assert await state.tables.apply(partition, after=applied, applied=applied, writes=writes) == applied


async def all_rows(state: State) -> list[dict[str, object]]:
    """Return everything that the tables have: rows, scores and `applied`, by partition."""
    found = []
    for partition in range(PARTITIONS):
        rows: dict[str, object] = {"applied": (await state.tables.load(partition, ())).applied}
        async for names in state.upkeep.names(partition):
            loaded = (await state.tables.load(partition, names.rows)).rows
            rows |= {f"{key}": value for key, value in zip(names.rows, loaded, strict=True)}
            scores = (await state.upkeep.scores(partition, names.members)).scores
            rows |= {f"{member}": score for member, score in zip(names.members, scores, strict=True)}
        found.append(rows)
    return found


async def empty(state: State) -> None:
    for partition in range(PARTITIONS):
        await state.tables.clear(partition)


async def one_of(state: State, kind: str) -> tuple[int, RowKey]:
    """Return the place of some row of a kind."""
    for partition in range(PARTITIONS):
        async for names in state.upkeep.names(partition):
            for key in names.rows:
                if key.bucket.startswith(kind):
                    return partition, key
    raise AssertionError(kind)


def test_right_tables_are_said_to_be_right(fed: Program) -> None:
    ran = fed("state", "verify")
    assert (ran.code, ran.out, ran.err) == (0, "", CLEAN)
    assert fed("state", "verify", "--json").json == {"differences": [], "state_topic_repaired": 0}


def test_a_changed_a_missing_and_an_extra_row_are_named(fed: Program) -> None:
    async def damage(state: State) -> tuple[str, str, int]:
        at, changed = await one_of(state, "conversation:")
        row = orjson.loads((await state.tables.load(at, [changed])).rows[0] or b"")
        await write(state, at, Writes(puts={changed: orjson.dumps({**row, "seq": 99, "endpoint": "tel:+1"})}))
        where, missing = await one_of(state, "interactions:")
        await write(state, where, Writes(deletes={missing}))
        await write(state, 0, Writes(puts={RowKey("contact:acme/nobody"): b'{"name": "Secret"}'}))
        return changed.bucket, f"{missing.bucket} {missing.field}", row["seq"]

    changed, missing, seq = behind_the_back(fed, damage)
    ran = fed("state", "verify", "--json")
    assert ran.code == 1
    found = {each["what"]: each for each in ran.json["differences"]}
    assert set(found) == {"row_changed", "row_missing", "row_extra"}
    assert found["row_changed"]["key"] == changed
    assert found["row_changed"]["found"] == {"seq": 99, "endpoint": "…"}
    assert found["row_changed"]["wanted"]["seq"] == seq
    assert found["row_missing"]["key"] == missing
    assert (found["row_extra"]["key"], found["row_extra"]["found"]) == ("contact:acme/nobody", {})
    table = fed("state", "verify")
    assert table.code == 1
    assert "Secret" not in table.out
    assert "row_missing" in table.out
    assert "Secret" in fed("state", "verify", "--values").out
    assert fed("state", "rebuild", "--yes").code == 0
    assert fed("state", "verify").code == 0


def test_what_is_found_is_the_same_whoever_reads_it(fed: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    behind_the_back(fed, empty)
    for as_json in ((), ("--json",)):
        reads, writes = os.pipe()
        os.close(reads)
        with monkeypatch.context() as piped, open(writes, "w", encoding="utf-8") as pipe:  # noqa: PTH123 - a descriptor
            piped.setattr(sys, "stdout", pipe)
            assert fed("state", "verify", *as_json).code == 1


def test_scores_are_compared(fed: Program) -> None:
    async def damage(state: State) -> None:
        members = [
            (partition, member)
            for partition in range(PARTITIONS)
            async for names in state.upkeep.names(partition)
            for member in names.members
            if member[0].startswith("open:")
        ]
        (first, changed), (second, missing) = members[:2]
        await write(state, first, Writes(scores={changed: 1.0}))
        await write(state, second, Writes(unscores={missing}))
        await write(state, 0, Writes(scores={("open:acme", "nobody"): 5.0}))

    behind_the_back(fed, damage)
    ran = fed("state", "verify", "--json")
    assert sorted(each["what"] for each in ran.json["differences"]) == ["score_changed", "score_extra", "score_missing"]
    assert fed("state", "rebuild", "--yes").code == 0
    assert fed("state", "verify").code == 0


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(fed: Program) -> None:
    before = behind_the_back(fed, all_rows)
    ran = fed("state", "rebuild", "--json")
    assert ran.code == 0
    assert ran.json["dry_run"] is True
    assert [each["partition"] for each in ran.json["partitions"]] == [0, 1, 2]
    assert {each["state"] for each in ran.json["partitions"]} == {"usable"}
    assert behind_the_back(fed, all_rows) == before
    assert "nothing was changed" in fed("state", "rebuild").err


def test_emptied_tables_are_seen_and_come_back_the_same(fed: Program) -> None:
    before = behind_the_back(fed, all_rows)
    behind_the_back(fed, empty)
    assert {each["what"] for each in fed("state", "verify", "--json").json["differences"]} >= {"tables_behind"}
    assert fed("state", "rebuild", "--yes", "--json").code == 0
    assert behind_the_back(fed, all_rows) == before
    assert fed("state", "verify").code == 0


@pytest.mark.parametrize(
    "question",
    [
        ("conversations", "list", "--tenant", "acme"),
        ("conversations", "show", "0c3b3bff-0000-8000-8000-000000000000"),
        ("contacts", "list", "--tenant", "acme"),
        ("contacts", "show", "c1", "--tenant", "acme"),
        ("contacts", "find", "+27821234567", "--tenant", "acme"),
    ],
)
def test_emptied_tables_do_not_answer_that_there_is_nothing(fed: Program, question: tuple[str, ...]) -> None:
    behind_the_back(fed, empty)
    ran = fed(*question)
    assert (ran.code, ran.out, ran.err.split()[1]) == (69, "", "tables_emptied:")
    assert fed("state", "rebuild", "--yes").code == 0
    assert "tables_emptied" not in fed(*question).err


def test_tables_that_never_had_anything_are_not_emptied(program: Program) -> None:
    program.feed()
    assert program("state", "rebuild", "--yes").code == 0  # leaves its fences behind
    assert program("contacts", "list", "--tenant", "acme").err == "no contacts\n"


def test_a_rebuild_of_one_partition_leaves_the_others(fed: Program) -> None:
    async def damage(state: State) -> None:
        for partition in range(PARTITIONS):
            await write(state, partition, Writes(puts={RowKey("contact:acme/nobody"): b"{}"}))

    behind_the_back(fed, damage)
    assert fed("state", "rebuild", "--partition", "1", "--yes").code == 0
    left = fed("state", "verify", "--json").json["differences"]
    assert [(each["what"], each["partition"]) for each in left] == [("row_extra", 0), ("row_extra", 2)]
    assert fed("state", "verify", "--partition", "1").code == 0


def test_a_rebuild_that_was_broken_off_is_gone_on_with(fed: Program) -> None:
    """Also where it was broken off behind the suspension, and where its shadow is of another log."""
    before = behind_the_back(fed, all_rows)

    async def break_off(state: State) -> None:
        strange = Writes(puts={RowKey("contact:acme/strange"): b"{}", RowKey("head", "lineage"): b"another"})
        await state.tables.apply(shadow_of(0), after=-1, applied=3, writes=strange)
        await state.upkeep.suspend(0, shadow_applied=3)

    behind_the_back(fed, break_off)
    (plan,) = fed("state", "rebuild", "--partition", "0", "--json").json["partitions"]
    assert (plan["state"], plan["applied"], plan["base"]) == ("tables_clearing", None, "a rebuild broken off at 3")
    unusable = fed("state", "verify", "--json").json["differences"]
    assert ("tables_unusable", 0) in {(each["what"], each["partition"]) for each in unusable}
    assert fed("state", "rebuild", "--partition", "0", "--yes").code == 0
    assert behind_the_back(fed, all_rows) == before


class StopsLater(asyncio.Event):
    """Is set once somebody has looked so often."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def is_set(self) -> bool:
        self._looks -= 1
        return self._looks < 0


def interrupt_later(monkeypatch: pytest.MonkeyPatch, commands: ModuleType, looks: int) -> None:
    def run_interrupted(work: Callable[[asyncio.Event], Coroutine[None, None, Answer]]) -> Answer:
        return asyncio.run(work(StopsLater(looks)))

    monkeypatch.setattr(commands, "run_interruptible", run_interrupted)


@pytest.mark.parametrize("looks", range(5))
def test_an_interrupted_rebuild_leaves_every_partition_in_use(
    fed: Program, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    before = behind_the_back(fed, all_rows)
    with monkeypatch.context() as interrupted:
        interrupt_later(interrupted, state_commands, looks)
        ran = fed("state", "rebuild", "--yes")
    assert (ran.code, "interrupted; to go on: interaction-router state rebuild --partition" in ran.err) == (130, True)
    assert behind_the_back(fed, all_rows) == before
    _, _, command = ran.err.strip().partition("to go on: interaction-router ")
    assert fed(*command.split()).code == 0
    assert fed("state", "verify").code == 0


@pytest.mark.parametrize("looks", range(2 * PARTITIONS))
def test_an_interrupted_import_leaves_each_partition_empty_or_whole(
    fed: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, looks: int
) -> None:
    before = behind_the_back(fed, all_rows)
    fed("state", "export", "--out", str(tmp_path / "copy.jsonl"))
    behind_the_back(fed, empty)
    with monkeypatch.context() as interrupted:
        interrupt_later(interrupted, state_copies, looks)
        ran = fed("state", "import", str(tmp_path / "copy.jsonl"), "--yes", "--json")
    put_in = max(looks - PARTITIONS, 0)
    assert (ran.code, len(ran.json["partitions"])) == (130, put_in)
    assert behind_the_back(fed, all_rows) == [*before[:put_in], *[{"applied": -1}] * (PARTITIONS - put_in)]


def test_tables_of_another_log_are_told_and_rebuilt(fed: Program) -> None:
    before = behind_the_back(fed, all_rows)

    async def strange(state: State) -> None:
        await write(state, 0, Writes(puts={RowKey("head", "lineage"): b"another"}))

    behind_the_back(fed, strange)
    found = fed("state", "verify", "--json").json["differences"]
    assert found[0]["what"] == "tables_of_another_log"
    assert fed("state", "rebuild", "--yes").code == 0
    assert behind_the_back(fed, all_rows) == before


def test_the_state_topic_is_compared_and_mended(fed: Program) -> None:
    async def damage(state: State) -> str:
        at, key = await one_of(state, "conversation:")
        name = key.bucket.removeprefix("conversation:")
        for partition in range(PARTITIONS):
            for record in await state.log.read(STATE, partition, 0):
                if record.key == name.encode():
                    await state.log.append(STATE, partition, [Outgoing(record.key, b'{"seq": 1}')])
        await state.log.append(STATE, 0, [Outgoing(b"00000000-0000-8000-8000-000000000000", b"{}")])
        assert at >= 0
        return key.bucket

    changed = behind_the_back(fed, damage)
    ran = fed("state", "verify", "--json")
    assert ran.code == 1
    found = {each["what"]: each["key"] for each in ran.json["differences"]}
    assert set(found) == {"state_changed", "state_extra"}
    assert found["state_changed"] == changed
    assert "2 conversations written" in fed("state", "verify", "--repair-state-topic").err
    assert fed("state", "verify").code == 0


def test_the_state_topic_is_not_mended_from_wrong_rows(fed: Program) -> None:
    async def damage(state: State) -> None:
        partition, key = await one_of(state, "conversation:")
        await write(state, partition, Writes(deletes={key}))

    behind_the_back(fed, damage)
    ends = [len(fed.records(STATE))]
    ran = fed("state", "verify", "--repair-state-topic")
    assert (ran.code, "untouched" in ran.err) == (1, True)
    assert [len(fed.records(STATE))] == ends


def test_a_copy_of_the_tables_goes_into_empty_ones_of_the_same_log(fed: Program, tmp_path: Path) -> None:
    before = behind_the_back(fed, all_rows)
    file = tmp_path / "copy.jsonl"
    assert fed("state", "export", "--out", str(file)).code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert fed("state", "import", str(file)).err.startswith("error: tables_not_empty: ")
    behind_the_back(fed, empty)
    dry = fed("state", "import", str(file), "--json")
    assert (dry.code, dry.json["dry_run"], len(dry.json["partitions"])) == (0, True, PARTITIONS)
    assert behind_the_back(fed, all_rows) == [{"applied": -1}] * PARTITIONS
    assert fed("state", "import", str(file), "--yes").code == 0
    assert behind_the_back(fed, all_rows) == before
    assert fed("state", "verify").code == 0
    fed.feed(sms("later", "+27821234561"))
    assert fed("state", "verify").code == 0


def test_a_copy_goes_through_pipes(fed: Program, tmp_path: Path) -> None:
    """What is no file of one's own is written to, and never replaced by one."""
    before = behind_the_back(fed, all_rows)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as threads:
        written = threads.submit(pipe.read_bytes)
        assert fed("state", "export", "--out", str(pipe)).code == 0
        copy = written.result()
        assert copy == fed("state", "export").out.encode()
        behind_the_back(fed, empty)
        threads.submit(pipe.write_bytes, copy)
        assert fed("state", "import", str(pipe), "--yes").code == 0
    assert (pipe.is_fifo(), {*tmp_path.iterdir()}) == (True, {fed.data, pipe})
    assert behind_the_back(fed, all_rows) == before


def test_half_a_copy_is_not_left_behind(fed: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state_copies, "copyfileobj", fails)
    (tmp_path / "copies").mkdir()
    ran = fed("state", "export", "--out", str(tmp_path / "copies" / "copy.jsonl"))
    assert (ran.code, ran.err.split()[1]) == (1, "file_unwritable:")
    assert list((tmp_path / "copies").iterdir()) == []


def test_only_what_is_asked_for_is_written_out(fed: Program) -> None:
    lines = fed("state", "export", "--partition", "1").lines
    assert (lines[0]["partition"], lines[-1]) == (1, {"end": 1, "lines": len(lines) - 2})
    assert sum("end" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("spoilt", "code"),
    [
        (lambda lines: lines[:-1], "copy_unreadable"),
        (lambda lines: lines[:5] + lines[6:], "copy_unreadable"),
        (lambda lines: ["{", *lines], "copy_unreadable"),
        (lambda lines: [lines[0], "[]", *lines[1:]], "copy_unreadable"),
        (lambda lines: [lines[0], '{"score": 1}', *lines[1:]], "copy_unreadable"),
        (lambda lines: lines[1:], "copy_unreadable"),
        (lambda lines: [lines[0].replace('"lineage":"', '"lineage":"x'), *lines[1:]], "tables_of_another_log"),
        (lambda lines: [lines[0].replace('"partitions":3', '"partitions":4'), *lines[1:]], "tables_of_another_log"),
    ],
)
def test_a_spoilt_copy_changes_nothing(
    fed: Program, tmp_path: Path, spoilt: Callable[[list[str]], list[str]], code: str
) -> None:
    lines = fed("state", "export").out.splitlines()
    file = tmp_path / "copy.jsonl"
    file.write_text("\n".join(spoilt(lines)) + "\n")
    behind_the_back(fed, empty)
    ran = fed("state", "import", str(file), "--yes")
    assert (ran.code, ran.err.split()[1]) == (1, f"{code}:")
    assert behind_the_back(fed, all_rows) == [{"applied": -1}] * PARTITIONS


def test_a_rebuild_goes_on_from_a_snapshot(fed: Program) -> None:
    """Also where the outcomes before it are gone; a later snapshot takes the place of the one before."""
    first = fed("state", "snapshot", "--json").json
    assert [each["partition"] for each in first] == list(range(PARTITIONS))
    fed.feed(*(sms(f"later {number}", f"+2782123456{number % 5}") for number in range(10)))
    before = behind_the_back(fed, all_rows)
    plans = fed("state", "rebuild", "--json").json["partitions"]
    assert [each["base"] for each in plans] == [f"the snapshot of {each['applied']}" for each in first]
    assert {each["base"] for each in fed("state", "rebuild", "--from-start", "--json").json["partitions"]} == {
        "the start"
    }
    behind_the_back(fed, empty)
    assert fed("state", "rebuild", "--yes").code == 0
    assert behind_the_back(fed, all_rows) == before

    trim_outcomes(fed)
    behind_the_back(fed, empty)
    assert fed("state", "rebuild", "--from-start", "--yes").err.startswith("error: outcomes_trimmed: ")
    assert fed("state", "rebuild", "--yes").code == 0
    assert behind_the_back(fed, all_rows) == before
    assert fed("state", "verify").code == 0

    held = len(fed.records(SNAPSHOTS))
    second = fed("state", "snapshot", "--json").json
    assert [each["applied"] for each in second] == [rows["applied"] for rows in before]
    behind_the_back(fed, empty)
    assert fed("state", "rebuild", "--yes").code == 0
    assert behind_the_back(fed, all_rows) == before
    living = [record for _, record in fed.records(SNAPSHOTS) if record.value is not None]
    assert len(living) == held


def trim_outcomes(program: Program) -> None:
    """Remove the outcomes that the snapshots have."""
    with EmbeddedDatabase(program.data / "router.sqlite") as database, database.writing() as connection:
        (stream,) = connection.execute("SELECT id FROM stream WHERE name = 'internal.outcomes'").fetchone()
        for partition in range(PARTITIONS):
            connection.execute(
                "DELETE FROM record WHERE stream = ?1 AND partition = ?2 AND offset < 2"
                " AND offset < (SELECT max(offset) FROM record WHERE stream = ?1 AND partition = ?2)",
                (stream, partition),
            )


def remove_snapshots(program: Program) -> None:
    with EmbeddedDatabase(program.data / "router.sqlite") as database, database.writing() as connection:
        connection.execute("DELETE FROM record WHERE stream = (SELECT id FROM stream WHERE name = ?)", (SNAPSHOTS,))


def test_outcomes_that_a_snapshot_has_can_go(fed: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has lost its rows goes on from the snapshot; one that has lost that too stops and says so.

    Neither decides anything twice.
    """
    monkeypatch.setattr("interaction_router.application.snapshots.KEPT", 1)
    before = behind_the_back(fed, all_rows)
    behind_the_back(fed, empty)
    held = len(fed.records(OUTCOMES))
    assert fed("state", "snapshot", "--trim").code == 0
    assert len(fed.records(OUTCOMES)) == held  # of tables that are behind, nothing goes
    assert fed("state", "rebuild", "--yes").code == 0
    assert behind_the_back(fed, all_rows) == before
    assert fed("state", "snapshot", "--trim").code == 0
    assert len(fed.records(OUTCOMES)) == PARTITIONS
    fed.feed(sms("later", "+27821234561"))
    assert fed("state", "verify").code == 0
    updates = {record.value for _, record in fed.records(UPDATES)}

    behind_the_back(fed, empty)
    fed.feed()
    assert fed("state", "verify").code == 0
    assert {record.value for _, record in fed.records(UPDATES)} == updates

    behind_the_back(fed, empty)
    remove_snapshots(fed)
    stopped = fed("contacts", "save", "c9", "--tenant", "acme", "--no-addresses")
    assert stopped.err.startswith("error: outcomes_trimmed: ")
    assert {record.value for _, record in fed.records(UPDATES)} == updates


def test_half_a_snapshot_is_none(fed: Program) -> None:
    before = behind_the_back(fed, all_rows)
    for partition in range(PARTITIONS):
        fed.place_bytes(SNAPSHOTS, partition, b"99@0/0", b'{"row": ["contact:acme/nobody", ""], "value": {}}')
    assert {each["base"] for each in fed("state", "rebuild", "--json").json["partitions"]} == {"the start"}
    assert fed("state", "snapshot").code == 0
    fed.place_bytes(SNAPSHOTS, 0, b"99@9/0", b'{"row": ["contact:acme/nobody", ""], "value": {}}')
    behind_the_back(fed, empty)
    assert fed("state", "rebuild", "--yes").code == 0
    assert behind_the_back(fed, all_rows) == before
    of_first = [record for partition, record in fed.records(SNAPSHOTS) if partition == 0]
    manifest = next(record.value for record in of_first if (record.key or b"").startswith(b"manifest/"))
    lacking = {**orjson.loads(manifest or b""), "chunks": 7, "manifest": of_first[-1].offset + 1}
    fed.place_bytes(SNAPSHOTS, 0, b"manifest/1", orjson.dumps(lacking))
    assert fed("state", "rebuild", "--yes").err.startswith("error: snapshot_unreadable: ")
    assert behind_the_back(fed, all_rows) == before
    fed.place_bytes(SNAPSHOTS, 0, b"manifest/2", b'{"form": 2}')
    assert fed("state", "rebuild").err.startswith("error: snapshot_unreadable: ")
    assert fed("state", "rebuild", "--from-start", "--yes").code == 0
    assert behind_the_back(fed, all_rows) == before


def test_bad_input_is_told(program: Program) -> None:
    for command in ("verify", "rebuild"):
        ran = program("state", command)
        assert (ran.code, ran.err.split()[1]) == (1, "embedded_missing:")
    program.feed()
    for command in ("verify", "rebuild"):
        ran = program("state", command, "--partition", "3")
        assert (ran.code, ran.err.split()[1]) == (1, "partition_unknown:")
        assert program("state", command, "--partition", "x").code == 2
    assert program("state", "verify", "--partition", "0", "--repair-state-topic").code == 2
    assert program("state", "import", "nowhere.jsonl").err.startswith("error: file_unreadable: ")
    assert program("state", "export", "--out", "nowhere/copy.jsonl").err.startswith("error: file_unwritable: ")
    assert program("state", "verify").code == 0
    assert program("state", "rebuild", "--yes").code == 0
    assert program("state", "verify").code == 0
