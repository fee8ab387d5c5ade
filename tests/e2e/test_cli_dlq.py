"""`dlq` on embedded storage: letters listed, shown, sent back once, and put away."""

import os
import stat
import sys
from pathlib import Path

import orjson
import pytest

from interaction_router.application import redriving
from interaction_router.application.handled import HANDLED
from tests.e2e.embedded import Program, saved, sms

ANN = "+27821234567"
DLQ = "dlq.v1"
SMS = "interactions.sms.v1"


@pytest.fixture
def refused(program: Program) -> Program:
    """Three letters: two of SMS without a known status, one of a contact whose address cannot be."""
    program.feed(sms("1", ANN, status="vanished"), sms("2", ANN, status="lost"), saved("c1", "nonsense"))
    return program


def places(program: Program, *args: str) -> list[str]:
    return [letter["place"] for letter in program("dlq", "list", "--json", *args).json]


def test_letters_are_listed_narrowed_and_counted(refused: Program) -> None:
    letters = refused("dlq", "list", "--json").json
    assert [letter["code"] for letter in letters] == ["address_invalid", "schema_invalid", "schema_invalid"]
    assert letters[0]["field"] == "addresses.0"
    assert {letter["stage"] for letter in letters} == {"intake"}
    assert len(places(refused, "--code", "schema_invalid")) == 2
    assert len(places(refused, "--topic", "contacts.v1")) == len(places(refused, "--topic", "router.contacts.v1")) == 1
    assert places(refused, "--stage", "assignment") == []
    assert places(refused, "--from", "2099-01-01T00:00:00Z") == []
    assert places(refused, "--from", letters[-1]["at"]) == places(refused)
    assert len(places(refused, "--from", "PT1H")) == 3
    assert places(refused, "--until", "PT1H") == []
    counted = refused("dlq", "list", "--counts", "--json").json
    assert [(row["letters"], row["code"]) for row in counted] == [(2, "schema_invalid"), (1, "address_invalid")]
    lines = refused("dlq", "list").out
    assert "router.contacts.v1/0@0" in lines
    assert "82123" not in lines


def test_pages_follow_one_another(refused: Program) -> None:
    first = refused("dlq", "list", "--limit", "2", "--json")
    shown = [letter["place"] for letter in first.json]
    assert "1 more: --after" in first.err
    rest = places(refused, "--limit", "2", "--after", shown[-1])
    assert [*shown, *rest] == places(refused)
    assert refused("dlq", "list", "--after", "2@99").code == 1


def test_a_header_without_a_value_is_shown_and_kept(program: Program) -> None:
    """Gateways may send one; it hides no letter, and a redrive gives it back."""
    program.feed()
    said = {"dlq_code": "schema_invalid", "dlq_topic": f"router.{SMS}", "dlq_partition": "0", "dlq_offset": "0"}
    sent = [("nothing", None), *((name, text.encode()) for name, text in said.items())]
    program.place_bytes(DLQ, 0, b"k", b"{", sent)  # type: ignore[arg-type]  # null, as Kafka allows
    (place,) = places(program)
    shown = program("dlq", "show", place, "--json").json
    assert shown["headers"] == [{"name": "nothing", "value": None, "value_base64": None}]
    assert "header nothing" in program("dlq", "show", place).out
    assert program("dlq", "redrive", place, "--yes").code == 0
    ((_, redriven),) = program.records(SMS)
    headers = dict(redriven.headers)
    assert headers["nothing"] is None


def test_a_letter_is_shown_with_its_bytes(refused: Program) -> None:
    place = places(refused, "--code", "schema_invalid")[-1]
    raw = orjson.dumps(sms("1", ANN, status="vanished")[1])
    shown = refused("dlq", "show", place, "--json").json
    assert (shown["value"], shown["topic"], shown["offset"]) == (raw.decode(), f"router.{SMS}", 0)
    assert refused("dlq", "show", place, "--raw").out.encode() == raw
    assert raw.decode() in refused("dlq", "show", f"router.{SMS}/0@0").out
    assert refused("dlq", "show", f"router.{DLQ}/{place}", "--json").json == shown


def test_bytes_that_are_no_text_are_kept(program: Program) -> None:
    program.feed()
    program.place_bytes(SMS, 0, b"\xffkey", b"\xff\x00{")
    program.feed()
    shown = program("dlq", "show", "0@0", "--json").json
    assert (shown["value"], shown["value_base64"], shown["key"]) == (None, "/wB7", None)
    assert "3 bytes that are no text" in program("dlq", "show", "0@0").err


@pytest.mark.parametrize("place", ["7@0", "0@99", "router.interactions.sms.v1/0@99"])
def test_a_place_without_a_letter_is_told(refused: Program, place: str) -> None:
    ran = refused("dlq", "show", place)
    assert ran.code == 1
    assert "letter_unknown" in ran.err
    assert refused("dlq", "show", "nowhere").code == 2


def test_redrive_is_dry_until_told(refused: Program) -> None:
    before = {stream: refused.records(stream) for stream in (SMS, "contacts.v1", HANDLED)}
    ran = refused("dlq", "redrive", "--all")
    assert ran.code == 0
    assert "nothing was changed" in ran.err
    assert ran.out.count("would redrive") == 3
    assert {stream: refused.records(stream) for stream in before} == before


def test_a_letter_is_redriven_once(refused: Program) -> None:
    place = places(refused, "--code", "schema_invalid")[-1]
    ran = refused("dlq", "redrive", place, "--yes", "--json")
    assert ran.lines == [{"place": place, "to": f"router.{SMS}/0@2", "sent_before": False}]
    records = [record for _, record in refused.records(SMS)]
    assert records[2].value == records[0].value
    assert dict(records[2].headers) == {"redriven_from": f"router.{DLQ}/{place}".encode()}
    second = refused("dlq", "redrive", place, "--yes")
    assert second.code == 1
    assert f"letter_handled: The dead letter at {place}, of router.{SMS}/0@0, was redriven to" in second.err
    assert place not in places(refused)
    assert place in places(refused, "--all")
    assert refused("dlq", "redrive", place, "--again", "--yes").code == 0
    assert len(refused.records(SMS)) == 4


def test_what_is_refused_again_is_a_letter_of_its_own(refused: Program) -> None:
    place = places(refused, "--code", "schema_invalid")[-1]
    refused("dlq", "redrive", place, "--yes")
    refused.feed()
    (again,) = [
        letter for letter in refused("dlq", "list", "--json").json if letter["redriven_from"] == f"router.{DLQ}/{place}"
    ]
    assert (again["code"], again["offset"]) == ("schema_invalid", 2)
    assert refused("dlq", "redrive", again["place"], "--yes").code == 0
    marks = [
        [value.decode() for name, value in record.headers if name == "redriven_from"]
        for _, record in refused.records(SMS)
    ]
    assert marks == [[], [], [f"router.{DLQ}/{place}"], [f"router.{DLQ}/{again['place']}"]]


def test_what_was_mended_is_taken(refused: Program, tmp_path: Path) -> None:
    mended = tmp_path / "mended.json"
    mended.write_bytes(orjson.dumps(sms("1", ANN)[1]))
    place = places(refused, "--code", "schema_invalid")[-1]
    assert refused("dlq", "redrive", place, "--value", str(mended), "--yes").code == 0
    refused.feed()
    added = [each for each in refused("tail", "--json").lines if each["type"] == "conversation.interaction_added"]
    assert [each["interaction"]["interaction_id"] for each in added] == ["1"]


def test_what_was_edited_is_taken(refused: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/vanished/received/ "$1"\n')
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("EDITOR", "false")
    place = places(refused, "--code", "schema_invalid")[-1]
    edit = ("dlq", "redrive", place, "--edit", "--yes")
    assert refused(*edit, env={"EDITOR": str(editor)}).code == 0
    assert b"received" in (refused.records(SMS)[2][1].value or b"")
    for unchanged in ("true", "false", "/nonexistent"):
        ran = refused(*edit, "--again", env={"EDITOR": unchanged})
        assert (ran.code, ran.err.split()[1]) == (1, "not_edited:")
    assert refused("dlq", "redrive", place, "--edit").code == 2


def test_many_go_in_the_order_in_which_they_came(program: Program) -> None:
    program.feed(*(sms(str(number), ANN, status="lost") for number in range(5)))
    program.feed()
    assert program("dlq", "redrive", "--code", "schema_invalid", "--yes").code == 0
    ids = [orjson.loads(record.value or b"")["interaction_id"] for _, record in program.records(SMS)]
    assert ids == ["0", "1", "2", "3", "4"] * 2
    again = program("dlq", "redrive", "--code", "schema_invalid", "--yes")
    assert again.code == 1
    assert "nothing_chosen" in again.err
    assert "5 that it names were handled before" in again.err


def test_a_redrive_whose_reader_is_gone_says_what_is_left(refused: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `| head -1`: the letters of the batch are sent, the others are not, and that is no success."""
    monkeypatch.setattr(redriving, "BATCH", 1)
    reads, writes = os.pipe()
    os.close(reads)
    with monkeypatch.context() as piped, open(writes, "w", encoding="utf-8") as pipe:  # noqa: PTH123 - a descriptor
        piped.setattr(sys, "stdout", pipe)
        ran = refused("dlq", "redrive", "--all", "--yes")
    assert (ran.code, ran.err.splitlines()) == (
        130,
        ["1 letter redriven", "interrupted, 2 left: the same command again goes on with them"],
    )


def test_a_letter_that_stands_there_twice_is_one(refused: Program) -> None:
    for partition, record in refused.records(DLQ):
        refused.place_bytes(DLQ, partition, record.key, record.value or b"", record.headers)
    assert len(refused.records(DLQ)) == 6
    assert len(places(refused)) == 3
    copy = f"{refused.records(DLQ)[5][0]}@5"
    assert refused("dlq", "discard", copy, "--yes").code == 0
    assert len(places(refused)) == 2


def test_discarded_letters_are_put_away(refused: Program) -> None:
    dry = refused("dlq", "discard", "--code", "schema_invalid")
    assert dry.out.count("would discard") == 2
    assert len(places(refused)) == 3
    assert refused("dlq", "discard", "--code", "schema_invalid", "--yes").err == "2 letters discarded\n"
    assert len(places(refused)) == 1
    first = places(refused, "--all", "--code", "schema_invalid")[0]
    assert "was discarded before" in refused("dlq", "redrive", first, "--yes").err
    (handled,) = [each for each in refused("dlq", "list", "--all", "--json").json if each["place"] == first]
    assert handled["handled"]["state"] == "discarded"


def test_what_a_receiver_refused_goes_nowhere(refused: Program) -> None:
    headers = [
        ("content-type", b"text/plain"),
        ("dlq_code", b"payload_unknown"),
        ("dlq_message", b"no payload of this vendor"),
        ("dlq_stage", b"receive"),
        ("dlq_topic", b"gateways/twilio/acme"),
    ]
    refused.place_bytes(DLQ, 1, None, b"CallSid=1", headers)
    assert places(refused, "--stage", "receive") == places(refused, "--topic", "gateways/twilio/acme") == ["1@0"]
    ran = refused("dlq", "redrive", "1@0", "--yes")
    assert ran.code == 1
    assert "letter_not_redrivable" in ran.err
    assert "a receiver refused it for gateways/twilio/acme" in ran.err
    rest = refused("dlq", "redrive", "--all", "--yes")
    assert rest.code == 1
    assert "not redriven: 1@0: a receiver refused it" in rest.err
    assert "3 letters redriven" in rest.err
    assert refused("dlq", "discard", "1@0", "--yes").code == 0
    assert places(refused) == []


def test_letters_have_to_be_chosen(refused: Program) -> None:
    for command in ("redrive", "discard"):
        assert refused("dlq", command, "--yes").code == 2
        assert refused("dlq", command, "0@0", "--code", "schema_invalid").code == 2
    assert refused("dlq", "redrive", "--all", "--value", "-").code == 2
    assert refused("dlq", "list", "--from", "yesterday").code == 2
    for words in (("list",), ("list", "--counts"), ("redrive", "--yes"), ("discard", "--yes")):
        ran = refused("dlq", *words, "--from", "PT1H", "--until", "PT2H")
        assert (ran.code, "--from has to be before --until" in ran.err) == (2, True)


def test_no_letters_at_all_are_told_from_none_of_a_choice(program: Program) -> None:
    program.feed(sms("1", ANN))
    assert program("dlq", "list").err == "no dead letters\n"
    program.feed(sms("2", ANN, status="lost"))
    for choice in (("--topic", "sms"), ("--code", "schema_invalidd"), ("--from", "2099-01-01T00:00:00Z", "--counts")):
        ran = program("dlq", "list", *choice)
        assert (ran.code, ran.err) == (0, "no dead letters that the choice names; `dlq list --counts` has all others\n")
