"""What README and docs show is so: examples, commands, targets, settings and links. `tests/integration` runs them."""

import json
import re
import shlex
import sqlite3
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import orjson
import pytest

from interaction_router.cli.invocation import Invocation
from interaction_router.cli.nouns import NOUNS, PROGRAM
from interaction_router.domain.errors import RejectedError
from interaction_router.domain.events import (
    AliasMade,
    Closed,
    Decision,
    InteractionAdded,
    Linked,
    Opened,
    Outcome,
    Standing,
)
from interaction_router.domain.ids import Entity, Place
from interaction_router.settings.page import reference_page
from interaction_router.wire.interactions import interaction_message, parse_interaction
from interaction_router.wire.updates import update_records
from tests.unit.test_wire_updates import CALL

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SUBSCRIBE = (ROOT / "docs/subscribe.md").read_text()
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
SHOWN_SETTINGS = (
    "namespace",
    "default_region",
    "tenants.<tenant>.region",
    "tenants.<tenant>.addresses",
    "unqualified",
    "idle_close.<channel>",
    "late_grace",
    "kafka.bootstrap_servers",
    "redis.url",
    "topics.partitions",
    "topics.replication_factor",
    "worker.cache_rows",
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
_SETTING = re.compile(r"^### `(.+?)`\n\n(.+)\n\n.*? Default: (.+?)\. `", re.MULTILINE)


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return [text for found, text in _BLOCK.findall(page) if found == language]


def examples(field: str) -> list[dict[str, Any]]:  # Any: JSON
    """Return README's examples in JSON that have a field."""
    return [value for text in blocks(README, "json") if field in (value := json.loads(text))]


def key_table() -> dict[str, str]:
    """Return the keys of Redis that README shows, each with its type."""
    rows = re.findall(r"^\| `(router:\{\d+\}:[^`]+)` \| (\w+) \|", README, re.MULTILINE)
    return dict(rows)


def _marked(name: str) -> str:
    (text,) = re.findall(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", README, re.DOTALL)
    return str(text)


def _commands() -> Iterator[list[str]]:
    for page in PAGES:
        for text in blocks(page.read_text(), "sh"):
            for line in text.splitlines():
                words = shlex.split(line.removeprefix("docker compose exec worker "), comments=True)
                if words[:1] == [PROGRAM]:
                    yield words[1:]


def _program(page: str, name: str) -> dict[str, Any]:  # Any: whatever a program defines
    """Load a program of a page as a module that is not the main one."""
    (text,) = (text for text in blocks(page, "python") if text.startswith(f"# {name}\n"))
    defined: dict[str, Any] = {"__name__": name}
    exec(compile(text, name, "exec"), defined)  # noqa: S102 - the page is ours, and to run it is the point
    return defined


def test_each_example_of_a_raw_interaction_is_one() -> None:
    assert len(examples("occurred_at")) == 2
    for example in examples("occurred_at"):
        raw = parse_interaction(orjson.dumps(example), channel_of_topic=example["channel"])
        to, _ = interaction_message(raw, region=None, own_addresses=frozenset())
        assert to == Entity("acme", "endpoint", "tel:+27821234567")


def test_the_program_sends_what_is_shown() -> None:
    assert _program(README, "send.py")["INTERACTION"] == examples("occurred_at")[0]


def test_what_is_said_to_be_needed_is() -> None:
    example = examples("occurred_at")[0]
    (sentence,) = re.findall(r"These seven are needed: (.*?)\.", README)
    needed = re.findall(r"`(\w+)`", sentence)
    assert len(needed) == 7
    minimal = {name: example[name] for name in needed}
    parse_interaction(orjson.dumps(minimal), channel_of_topic="sms")
    for name in needed:
        without = {field: value for field, value in minimal.items() if field != name}
        with pytest.raises(RejectedError) as refused:
            parse_interaction(orjson.dumps(without), channel_of_topic="sms")
        assert refused.value.field == name


def test_every_command_exists() -> None:
    commands = list(_commands())
    assert len(commands) > 15
    for words in commands:
        _parse(words)
    for noun in re.findall(rf"`{PROGRAM} (\w+)[^`]*`", README.replace(_marked("missing"), "")):
        assert noun in NOUNS


def _parse(words: list[str]) -> None:
    """Let click take the words apart, without doing what they say."""
    assert words[0] in NOUNS, words
    command: click.Command = import_module(f"interaction_router.cli.{words[0]}").noun
    rest = words[1:]
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, words
        command, rest = found, rest[1:]
    command.make_context(words[0], [*rest], obj=Invocation(env={}))


def test_what_is_said_to_be_missing_is() -> None:
    missing = re.findall(rf"`{PROGRAM} (\w+)`", _marked("missing"))
    assert missing
    there = [noun for noun in missing if noun in NOUNS]
    assert not there, "README says that these are not there yet"


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", "\n".join(blocks(README, "sh"))))
    assert {"demo", "test", "servers"} <= named <= targets


def test_every_file_that_is_named_is_there() -> None:
    for page in PAGES:
        for target in _LINK.findall(page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
    for path in re.findall(r"`(tests/[\w/.]+)`", README):
        assert (ROOT / path).exists(), path


def test_every_decision_is_linked() -> None:
    assert all(f"docs/decisions/{page.name}" in README for page in (ROOT / "docs/decisions").glob("*.md"))


def test_the_settings_are_those_of_the_reference() -> None:
    reference = {name: (words, default) for name, words, default in _SETTING.findall(reference_page())}
    rows = [f"| `{name}` | {reference[name][0]} | {reference[name][1]} |" for name in SHOWN_SETTINGS]
    assert _marked("settings") == "\n".join(["| setting | what it says | default |", "|---|---|---|", *rows, ""])


def test_every_type_of_update_is_listed() -> None:
    listed = set(re.findall(r"^\| `((?:conversation|contact)\.\w+)` \|", README, re.MULTILINE))
    told = (ROOT / "src/interaction_router/wire/updates.py").read_text()
    assert listed == set(re.findall(r'"((?:conversation|contact)\.\w+)"', told))


def _told() -> list[bytes]:
    """Return updates of two conversations and of a contact as the router writes them, some of them twice."""
    decisions = []
    for conversation in ("0c3e1f6a-0000-8000-8000-000000000001", "0c3e1f6a-0000-8000-8001-000000000001"):
        now = Standing(conversation, 1, None, "tel:+27821234567", "open", "opened_unlinked")
        events = (
            Opened(now, Entity("acme", "endpoint", "tel:+27821234567"), None),
            InteractionAdded(now._replace(seq=2), "entry", "received/", CALL),
            Linked(now._replace(seq=3, contact_id="c1", rule="saved"), "save"),
            Closed(now._replace(seq=4, contact_id="c1", status="closed", rule="requested"), "requested", None),
        )
        decisions.append(Decision(1795335331004, (*events, AliasMade("c2", "c1"))))
    values = []
    for offset, decision in enumerate(decisions):
        place = Place("interactions.voice.v1", 3, offset)
        outcome = Outcome(offset, offset, offset - 1, "acme", place, None, None, decision)
        once = [update.value for update in update_records(outcome, partition=0, namespace="router")]
        values += [*once[:3], *once[1:], *once]
    return values


def test_the_subscriber_sees_everything_once() -> None:
    is_new: Callable[[Any, dict[str, int]], bool] = _program(README, "subscribe.py")["is_new"]
    seqs: dict[str, int] = {}
    seen = [update for update in map(orjson.loads, _told()) if is_new(update, seqs) and "seq" in update]
    assert [update["seq"] for update in seen] == [1, 2, 3, 4, 1, 2, 3, 4]


def test_the_storing_subscriber_stores_everything_once() -> None:
    program = _program(SUBSCRIBE, "store.py")
    database = sqlite3.connect(":memory:")
    database.executescript(program["TABLES"])
    told = [value.decode() for value in _told()]
    new = [value for value in told if program["store"](database, value)]
    assert len(new) == 10
    assert [value for (value,) in database.execute("SELECT value FROM updates ORDER BY rowid")] == new
    assert not any(program["store"](database, value) for value in told)
    database.close()
