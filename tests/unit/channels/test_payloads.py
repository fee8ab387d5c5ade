"""What each vendor's payload becomes, row by row, and what holds for all of them."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from interaction_router.channels.fitting import TEXT_BYTES, fitted
from interaction_router.channels.kit import FORM, JSON, Reading, Request, UnreadableError
from interaction_router.channels.vendors import VENDORS
from interaction_router.domain.interactions import VOICE
from interaction_router.wire.interactions import interaction_of
from interaction_router.wire.strict_json import BYTES_LIMIT, read_object
from tests.unit.channels.payloads import ROWS, Row

Json = dict[str, Any]  # Any: JSON

TOLD = [row for row in ROWS if row.expected]


def read(row: Row, request: Request | None = None) -> Reading:
    try:
        return VENDORS[row.vendor].read(request or row.request)
    except UnreadableError as error:
        return Reading(unread=str(error))


def fields(row: Row, request: Request | None = None) -> list[Json]:
    return [event.fields for event in read(row, request).events]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_payload_becomes(row: Row) -> None:
    reading = read(row)
    assert [event.fields for event in reading.events] == row.expected
    assert (reading.unread is not None) is row.unread


@pytest.mark.parametrize("row", TOLD, ids=lambda row: row.id)
def test_every_event_keeps_to_the_rules_of_raw_interactions(row: Row) -> None:
    for told in fields(row):
        value = orjson.dumps({"tenant": "acme", **fitted(told)})
        interaction_of(read_object(value), channel_of_topic=told["channel"])


@pytest.mark.parametrize("row", TOLD, ids=lambda row: row.id)
def test_a_repeat_is_the_same_event(row: Row) -> None:
    """Whenever it is received: its sameness is tenant, channel, id, party, status and event id."""
    names = ("channel", "interaction_id", "direction", "from", "to", "status", "event_id")
    later = replace(row.request, received_at_ms=row.request.received_at_ms + 86_400_000)
    assert [{name: told.get(name) for name in names} for told in fields(row)] == [
        {name: told.get(name) for name in names} for told in fields(row, later)
    ]


@pytest.mark.parametrize("row", TOLD, ids=lambda row: row.id)
def test_a_field_that_is_not_known_changes_nothing(row: Row) -> None:
    media_type = row.request.media_type
    if media_type == JSON:
        body = orjson.loads(row.request.body)
        for told in body if isinstance(body, list) else [body]:
            told["something_new"] = {"deep": [1, None]}
        request = replace(row.request, body=orjson.dumps(body))
    elif media_type == FORM:
        request = replace(row.request, body=row.request.body + b"&something_new=1&=&%FF")
    elif row.request.method == "GET":
        request = replace(row.request, url=row.request.url + "&something_new=1")
    else:
        part = b'--b0undary\r\nContent-Disposition: form-data; name="something_new"\r\n\r\n1\r\n'
        request = replace(row.request, body=part + row.request.body)
    assert fields(row, request) == row.expected


@pytest.mark.parametrize("vendor", list(VENDORS))
def test_both_directions_are_told(vendor: str) -> None:
    directions = {told["direction"] for row in TOLD if row.vendor == vendor for told in row.expected}
    assert directions == {"inbound", "outbound"}


@pytest.mark.parametrize("vendor", [vendor for vendor in VENDORS if any(row.vendor == vendor for row in TOLD)])
def test_the_table_has_every_status_that_a_lifecycle_needs(vendor: str) -> None:
    told = [each for row in TOLD if row.vendor == vendor for each in row.expected]
    voice = {each["status"] for each in told if each["channel"] == VOICE}
    messages = {each["status"] for each in told if each["channel"] != VOICE}
    assert not voice or voice == {"ringing", "answered", "ended", "missed", "cancelled", "failed"}
    assert not messages or {"received", "failed"} <= messages


@pytest.mark.parametrize("vendor", list(VENDORS))
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"=&=&;", b'{"a":NaN}'])
def test_what_makes_no_sense_is_unread_and_no_crash(vendor: str, body: bytes) -> None:
    for media_type in VENDORS[vendor].media_types:
        headers = {"content-type": f"{media_type}; boundary=x"}
        request = Request("POST", "https://hooks.example/x", headers, body, 0)
        try:
            reading = VENDORS[vendor].read(request)
        except UnreadableError:
            continue
        assert not reading.events


def test_what_is_too_long_is_shortened_and_told() -> None:
    told = fitted(
        {
            "interaction_id": "x" * 513,
            "from": "+" + "1" * 512,
            "to": [{"address": f"a{number}@b.example", "name": "n" * 5000} for number in range(101)],
            "text": "é" * TEXT_BYTES,
            "html": "<p>",
            "subject": "s" * 5000,
            "references": [str(number) for number in range(101)],
            "attachments": [{"name": "a"}] * 101,
            "metadata": {"cc": "x"},
        }
    )
    assert told["interaction_id"].startswith("synthetic:")
    assert told["from"] is None
    assert len(told["to"]) == 100
    assert len(told["text"].encode()) == TEXT_BYTES
    assert told["html"] == "<p>"
    assert told["references"][-1] == "100"
    assert (len(told["references"]), len(told["attachments"])) == (100, 100)
    shortened = set(told["metadata"]["shortened"].split(","))
    assert shortened == {"to", "text", "subject", "references", "attachments"}
    assert told["metadata"]["cc"] == "x"


def test_what_json_makes_too_long_still_fits_a_record() -> None:
    """A control character takes six bytes there."""
    told = fitted(
        {
            "interaction_id": "a",
            "text": "\x01" * TEXT_BYTES,
            "html": "\x01" * TEXT_BYTES,
            "references": ["\x01" * 2000] * 100,
            "attachments": [{"name": "\x01" * 2000, "url": "\x01" * 2000}] * 100,
        }
    )
    assert len(orjson.dumps(told)) < BYTES_LIMIT


def test_halves_of_characters_and_control_characters_do_no_harm() -> None:
    told = fitted(
        {"interaction_id": "a\x00b", "from": "a\nb", "to": " x ", "text": "\ud800", "metadata": {"a": "\udc00"}}
    )
    orjson.dumps(told)
    assert told["interaction_id"].startswith("synthetic:")
    assert (told["from"], told["to"], told["text"], told["metadata"]) == (None, "x", "\ufffd", {"a": "\ufffd"})
