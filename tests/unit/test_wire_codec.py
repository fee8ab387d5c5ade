"""What the log and the tables hold is what was put there, of every type, and readable by hand."""

import typing
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_router.domain.errors import FatalError
from interaction_router.domain.events import (
    Decision,
    Event,
    InteractionAdded,
    InteractionUpdated,
    Opened,
    Outcome,
    Refusal,
)
from interaction_router.domain.ids import Entity
from interaction_router.domain.interactions import Interaction
from interaction_router.domain.messages import InteractionEvent, LogRecord, Message, Raw, Send
from interaction_router.domain.rows import Conversation, Entry, Row
from interaction_router.wire import shapes
from interaction_router.wire.codec import (
    decode_log_record,
    decode_outcome,
    decode_row,
    encode_log_record,
    encode_outcome,
    encode_row,
    entity_key,
    raw_headers,
    raw_of,
)
from interaction_router.wire.interaction_json import interaction_bytes, write_interaction, written_interaction
from interaction_router.wire.message_json import MESSAGES, plain_message
from interaction_router.wire.outcome_json import EVENTS, plain_event
from interaction_router.wire.row_json import ROWS, plain_row
from tests.unit.wire_values import INTERACTIONS, WHOLE, values

_OUTCOMES = st.builds(
    Outcome,
    **{name: values(each) for name, each in typing.get_type_hints(Outcome).items() if name != "decision"},
    decision=st.builds(
        Decision,
        log_time_ms=WHOLE,
        sends=st.lists(values(Send), max_size=1).map(tuple),
        refusal=values(Refusal) | st.none(),
    ),
)


def _each(union: Any) -> pytest.MarkDecorator:  # Any: a union as typing spells it
    return pytest.mark.parametrize("kind", typing.get_args(union), ids=lambda kind: kind.__name__)


@pytest.mark.parametrize(("tags", "union"), [(MESSAGES, Message), (EVENTS, Event), (ROWS, Row)])
def test_every_type_has_a_name_on_the_wire(tags: shapes.Tags, union: object) -> None:
    assert tags.members == set(typing.get_args(union))


@_each(Message)
@settings(max_examples=15)
@given(data=st.data())
def test_a_log_record_comes_back_whatever_it_tells(kind: type, data: st.DataObject) -> None:
    record = replace(data.draw(values(LogRecord)), message=data.draw(values(kind)))
    sent = encode_log_record(record)
    assert sent.value is not None
    arrived = decode_log_record(sent.value, sent.headers, arrived_ms=7)
    assert arrived == replace(record, stamp_ms=7 if record.stamp_ms is None else record.stamp_ms)


@_each(Event)
@settings(max_examples=15)
@given(data=st.data())
def test_an_outcome_comes_back_whatever_it_brings_about(kind: type, data: st.DataObject) -> None:
    without = data.draw(_OUTCOMES)
    outcome = replace(without, decision=replace(without.decision, events=(data.draw(values(kind)),)))
    sent = encode_outcome(outcome)
    assert sent.value is not None
    assert decode_outcome(sent.value, sent.headers) == outcome


@_each(Row)
@settings(max_examples=25)
@given(data=st.data())
def test_a_row_comes_back(kind: type, data: st.DataObject) -> None:
    row = data.draw(values(kind))
    assert decode_row(encode_row(row)) == row


@settings(max_examples=25)
@given(data=st.data())
@pytest.mark.parametrize("kind", [Conversation, Entry])
def test_rows_written_by_hand_look_like_those_written_by_type(kind: type, data: st.DataObject) -> None:
    row = data.draw(values(kind))
    assert orjson.loads(shapes.dumps(plain_row(row))) == orjson.loads(shapes.dumps(ROWS.plain(row)))


@settings(max_examples=25)
@given(data=st.data())
@pytest.mark.parametrize("kind", [Opened, InteractionAdded, InteractionUpdated])
def test_events_written_by_hand_look_like_those_written_by_type(kind: type, data: st.DataObject) -> None:
    event = data.draw(values(kind))
    assert orjson.loads(shapes.dumps(plain_event(event))) == orjson.loads(shapes.dumps(EVENTS.plain(event)))


@given(message=values(InteractionEvent))
def test_the_message_written_by_hand_looks_like_one_written_by_type(message: InteractionEvent) -> None:
    assert orjson.loads(shapes.dumps(plain_message(message))) == orjson.loads(shapes.dumps(MESSAGES.plain(message)))


@pytest.mark.parametrize(
    "raw",
    [
        None,
        Raw(None, None, ()),
        Raw(b"", b"", ()),
        Raw(b"\xff\x00", b"\x80{", (("a", b"\xfe"), ("a", b"2"), ("", b""), ("raw_key", b"not ours"), ("raw", b"0"))),
    ],
)
def test_a_raw_record_travels_as_it_came(raw: Raw | None) -> None:
    assert raw_of(raw_headers(raw)) == raw
    assert raw_of([("traceparent", b"00-1"), *raw_headers(raw)]) == raw


def test_the_bytes_of_a_raw_record_are_not_escaped() -> None:
    assert dict(raw_headers(Raw(b"k\xff", b"\x80v", (("h", b"\x81"),)))) == {
        "raw": b"1",
        "raw_key": b"k\xff",
        "raw_value": b"\x80v",
        "raw.h": b"\x81",
    }


@pytest.mark.parametrize(
    "value",
    [b"", b"{", b"[]", b"null", b"{}", b'{"to":["acme","contact","c1"],"stamp_ms":1,"message":{"type":"telepathy"}}'],
)
def test_bytes_of_no_known_form_stop_the_reader(value: bytes) -> None:
    with pytest.raises(FatalError, match="log_record_unreadable"):
        decode_log_record(value, (), arrived_ms=0)
    with pytest.raises(FatalError, match="outcome_unreadable"):
        decode_outcome(value, ())
    with pytest.raises(FatalError, match="row_unreadable"):
        decode_row(value)


def test_an_error_tells_nothing_of_what_was_in_the_bytes() -> None:
    with pytest.raises(FatalError) as caught:
        decode_row(b'{"type":"contact","ann@example.com":1}')
    assert "ann@" not in str(caught.value)


def test_the_key_of_an_entity_can_be_read() -> None:
    assert entity_key(Entity("acme", "endpoint", "mailto:ann@example.com")) == b"acme|endpoint|mailto:ann@example.com"


@given(interaction=INTERACTIONS)
def test_an_interaction_is_written_once_and_the_same(interaction: Interaction) -> None:
    assert interaction_bytes(interaction) is interaction_bytes(interaction)
    assert interaction_bytes(interaction) == write_interaction(interaction)


@given(interaction=INTERACTIONS)
def test_an_interaction_that_was_read_keeps_its_bytes_until_it_changes(interaction: Interaction) -> None:
    text = write_interaction(interaction)
    read = written_interaction(text)
    assert read == interaction
    assert interaction_bytes(read) is text
    assert orjson.loads(interaction_bytes(replace(read, channel="fax")))["channel"] == "fax"


@given(message=values(InteractionEvent))
def test_the_interaction_of_a_log_record_stands_on_a_line_of_its_own(message: InteractionEvent) -> None:
    sent = encode_log_record(LogRecord(Entity("acme", "contact", "c1"), message, None, 1))
    assert sent.value is not None
    first, second = sent.value.split(b"\n")
    assert "interaction" not in orjson.loads(first)["message"]
    assert second == write_interaction(message.interaction)


def test_the_public_json_of_an_interaction() -> None:
    interaction = Interaction(
        "CA9e7",
        "voice",
        "inbound",
        "answered",
        1795335330120,
        "082 123 4567",
        ("+27 11 000 0000",),
        "thandi",
        (),
        {"provider": "twilio", "extra": {"leg": 1}},
    )
    assert write_interaction(interaction) == (
        b'{"interaction_id":"CA9e7","channel":"voice","direction":"inbound","status":"answered",'
        b'"occurred_at":"2026-11-22T08:15:30.120Z","from":"082 123 4567","to":["+27 11 000 0000"],'
        b'"agent_id":"thandi","text":null,"flags":[],"provider":"twilio","extra":{"leg":1}}'
    )
