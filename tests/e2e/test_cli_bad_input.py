"""What the tools for operators say to bad input: a clear error, and what is live is as it was."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from interaction_router.application.handled import HANDLED
from interaction_router.bootstrap.state import opened_state
from interaction_router.bootstrap.terms import streams
from tests.e2e.embedded import PARTITIONS, Program, saved, sms

ANN, BEN = "+27821234567", "+27820000000"
NOBODY = str(PARTITIONS)
FUTURE = "2099-01-01T00:00:00Z"
TENANTS: Sequence[Sequence[str]] = [
    ("conversations", "list"),
    ("conversations", "show", "ID"),
    ("conversations", "close", "ID"),
    ("conversations", "link", "ID", "c1"),
    ("conversations", "unlink", "ID"),
    ("contacts", "list"),
    ("contacts", "show", "c1"),
    ("contacts", "find", "+27821234567"),
    ("contacts", "save", "c1", "--no-addresses"),
    ("contacts", "delete", "c1"),
    ("contacts", "merge", "c1", "c2"),
    ("contacts", "erase", "c1", "--yes"),
    ("agents", "list"),
    ("agents", "show", "a1"),
    ("agents", "set", "a1"),
    ("agents", "remove", "a1"),
    ("tail",),
    ("replay", "updates", "--to", "a.b", "--create", "--yes"),
    ("replay", "log", "--into", "twin", "--yes"),
    ("channels", "check", "empty", "--vendor", "twilio"),
]
COMMANDS: Sequence[tuple[Sequence[str], str]] = [
    (("state", "verify", "--partition", NOBODY), "partition_unknown"),
    (("state", "rebuild", "--partition", NOBODY, "--yes"), "partition_unknown"),
    (("state", "snapshot", "--partition", NOBODY, "--trim"), "partition_unknown"),
    (("state", "export", "--partition", NOBODY), "partition_unknown"),
    (("state", "import", "nowhere.jsonl", "--yes"), "file_unreadable"),
    (("state", "import", "empty", "--yes"), "copy_unreadable"),
    (("replay", "updates", "--to", "nobody.updates", "--yes"), "target_missing"),
    (("replay", "updates", "--to", "router.dlq.v1", "--yes"), "target_refused"),
    (("replay", "updates", "--to", "a.b", "--create", "--contact", "nobody", "--yes"), "range_empty"),
    (("replay", "updates", "--to", "a.b", "--create", "--conversation", "none", "--yes"), "range_empty"),
    (("replay", "updates", "--to", "a.b", "--create", "--partition", NOBODY, "--yes"), "partition_unknown"),
    (("replay", "updates", "--resume", "nowhere.json", "--yes"), "replay_missing"),
    (("replay", "updates", "--resume", "empty", "--yes"), "replay_unreadable"),
    (("replay", "log", "--into", "twin", "--from", FUTURE, "--yes"), "range_empty"),
    (("replay", "log", "--into", "twin", "--partition", NOBODY, "--yes"), "partition_unknown"),
    (("replay", "log", "--into", "twin", "--tenant", "acme", "--contact", "nobody", "--yes"), "contact_unknown"),
    (("replay", "log", "--into", "twin", "--partitions", "2", "--yes"), "partitions_mixed"),
    (("replay", "log", "--into", "taken", "--yes"), "target_exists"),
    (("replay", "raw", "--into", "taken", "--yes"), "target_exists"),
    (("dlq", "show", "0@99"), "letter_unknown"),
    (("dlq", "show", f"{NOBODY}@0"), "letter_unknown"),
    (("dlq", "redrive", "0@99", "--yes"), "letter_unknown"),
    (("dlq", "redrive", "--topic", "router.nobody.v1", "--yes"), "nothing_chosen"),
    (("dlq", "redrive", "--code", "too_large", "--yes"), "nothing_chosen"),
    (("dlq", "redrive", "--from", FUTURE, "--yes"), "nothing_chosen"),
    (("dlq", "discard", "--topic", "router.nobody.v1", "--yes"), "nothing_chosen"),
]


@pytest.fixture
def lived(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A router with a contact, conversations and a dead letter; beside it something of another namespace."""
    monkeypatch.chdir(tmp_path)
    program.feed(saved("c1", ANN), sms("1", ANN), sms("2", BEN), sms("3", ANN, status="vanished"))
    (program.data / "taken.sqlite").touch()
    Path("empty").touch()
    return program


def everything(program: Program) -> Any:
    """Return all that the router has: its topics, and its rows."""

    async def read() -> list[object]:
        found: list[object] = []
        async with opened_state(program.settings()) as state:
            for stream in (*streams(program.settings()), HANDLED):
                for partition in range(await state.log.partitions(stream)):
                    found += [
                        (stream, partition, each.key, each.value) for each in await state.log.read(stream, partition, 0)
                    ]
            for partition in range(PARTITIONS):
                found.append((await state.tables.load(partition, ())).applied)
                async for names in state.upkeep.names(partition):
                    found += (await state.tables.load(partition, names.rows)).rows
        return found

    return asyncio.run(read())


@pytest.mark.parametrize(("command", "code"), COMMANDS, ids=lambda value: value if isinstance(value, str) else "")
def test_bad_input_is_told_and_changes_nothing(lived: Program, command: Sequence[str], code: str) -> None:
    before = everything(lived)
    ran = lived(*command)
    assert (ran.code, ran.err.split()[:2], ran.out) == (1, ["error:", f"{code}:"], "")
    assert everything(lived) == before
    assert sorted(path.name for path in lived.data.iterdir()) == ["router.sqlite", "taken.sqlite"]
    assert sorted(path.name for path in Path().iterdir()) == ["data", "empty"]


def test_a_tenant_that_cannot_be_is_no_tenant_without_anything(lived: Program) -> None:
    before = everything(lived)
    conversation_id = lived("conversations", "list", "--tenant", "acme", "--json").json[0]["conversation_id"]
    for command in TENANTS:
        for name in ("AC", "acme\n", "", "a" * 65):
            ran = lived(*(each.replace("ID", conversation_id) for each in command), "--tenant", name)
            assert (ran.code, ran.out) == (2, ""), (command, name)
            assert "--tenant" in ran.err
            assert "has to be 1 to 64 of a-z, 0-9, _ and -" in ran.err
    assert everything(lived) == before


@pytest.mark.parametrize("command", {command[:2]: command for command, _ in COMMANDS}.values())
def test_no_tool_makes_a_storage(program: Program, command: Sequence[str]) -> None:
    ran = program(*command)
    assert (ran.code, ran.err.split()[1]) == (1, "embedded_missing:")
    assert not program.data.exists()
