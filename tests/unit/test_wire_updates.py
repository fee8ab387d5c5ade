"""Updates, conversations as they stand and dead letters, byte for byte what the contract shows."""

import typing
from dataclasses import replace
from typing import Any

import orjson
import pytest

from interaction_router.domain.errors import RejectedError
from interaction_router.domain.events import (
    AliasMade,
    Closed,
    Conflicted,
    ConversationEvent,
    Decision,
    Erased,
    Event,
    InteractionAdded,
    InteractionUpdated,
    Linked,
    Opened,
    Outcome,
    Refusal,
    RowGone,
    RowPut,
    Standing,
    Unlinked,
)
from interaction_router.domain.ids import Entity, Place, update_id
from interaction_router.domain.interactions import Interaction
from interaction_router.domain.messages import Raw
from interaction_router.domain.rows import POLICY, Conversation, Policy
from interaction_router.wire.updates import (
    Update,
    dead_letter,
    refusal_of,
    state_record,
    unread_payload,
    update_records,
)

CONVERSATION = "0c3e1f6a-0000-8000-8000-000000000001"
OTHER = "0c3e1f6a-0000-8000-8000-000000000002"
CONTACT = Entity("acme", "contact", "c42")
CALL = Interaction(
    interaction_id="CA9e7",
    channel="voice",
    direction="inbound",
    status="answered",
    occurred_at_ms=1795335330120,
    sender="082 123 4567",
    recipients=("+27 11 000 0000",),
    agent_id="thandi",
    flags=(),
    details={},
)
NOW = Standing(CONVERSATION, 2, "c42", "tel:+27821234567", "open", "joined_open_conversation")


def _updates(*events: Event, **changes: Any) -> list[Update]:
    outcome = Outcome(
        offset=9,
        expected=9,
        done=8,
        tenant="acme",
        cause=Place("interactions.voice.v1", 3, 812),
        origin=None,
        trace=None,
        decision=Decision(1795335331004, events),
    )
    return update_records(replace(outcome, **changes), partition=5, namespace="router")


def test_the_update_of_the_contract() -> None:
    (update,) = _updates(InteractionAdded(NOW, "aa", "answered/", CALL))
    name = update_id(CONVERSATION, 2)
    assert orjson.loads(update.value) == {
        "type": "conversation.interaction_added",
        "id": name,
        "tenant": "acme",
        "conversation_id": CONVERSATION,
        "seq": 2,
        "at": "2026-11-22T08:15:31.004Z",
        "contact_id": "c42",
        "endpoint": "tel:+27821234567",
        "status": "open",
        "interaction": {
            "interaction_id": "CA9e7",
            "channel": "voice",
            "direction": "inbound",
            "status": "answered",
            "occurred_at": "2026-11-22T08:15:30.120Z",
            "from": "082 123 4567",
            "to": ["+27 11 000 0000"],
            "agent_id": "thandi",
            "text": None,
            "flags": [],
        },
        "cause": {
            "topic": "router.interactions.voice.v1",
            "partition": 3,
            "offset": 812,
            "rule": "joined_open_conversation",
        },
    }
    assert update.conversation_id == CONVERSATION
    assert update.key == CONVERSATION.encode()
    assert dict(update.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": name.encode(),
        "ce_type": b"conversation.interaction_added.v1",
        "ce_source": b"/router",
        "ce_subject": CONVERSATION.encode(),
        "ce_time": b"2026-11-22T08:15:31.004Z",
        "content-type": b"application/json",
    }


@pytest.mark.parametrize(
    ("event", "kind", "own"),
    [
        (Opened(NOW, CONTACT, None), "opened", {"linked": True, "previous_conversation_id": None}),
        (Opened(NOW, CONTACT, OTHER), "opened", {"linked": True, "previous_conversation_id": OTHER}),
        (
            Opened(NOW._replace(contact_id=None), Entity("acme", "endpoint", "tel:+27821234567"), None),
            "opened",
            {"linked": False, "previous_conversation_id": None, "contact_id": None},
        ),
        (Linked(NOW, "merge"), "linked", {"by": "merge", "contact_id": "c42"}),
        (Unlinked(NOW._replace(contact_id=None)), "unlinked", {"by": "hand", "contact_id": None}),
        (Closed(NOW, "idle", None), "closed", {"reason": "idle"}),
        (Closed(NOW, "superseded", OTHER), "closed", {"reason": "superseded", "into": OTHER}),
        (
            Erased(NOW._replace(contact_id=None, endpoint=None, status="erased")),
            "erased",
            {"contact_id": None, "endpoint": None, "status": "erased"},
        ),
    ],
)
def test_what_else_an_update_carries(event: Event, kind: str, own: dict[str, object]) -> None:
    (update,) = _updates(event)
    value = orjson.loads(update.value)
    assert value["type"] == f"conversation.{kind}"
    assert dict(update.headers)["ce_type"] == f"conversation.{kind}.v1".encode()
    common = {"type", "id", "tenant", "conversation_id", "seq", "at", "contact_id", "endpoint", "status", "cause"}
    assert set(value) == common | set(own)
    assert own.items() <= value.items()


def test_an_interaction_updated_carries_it_whole() -> None:
    (update,) = _updates(InteractionUpdated(NOW, "aa", "ended/", replace(CALL, status="ended"), None))
    value = orjson.loads(update.value)
    assert value["type"] == "conversation.interaction_updated"
    assert value["interaction"]["status"] == "ended"
    assert value["interaction"]["from"] == "082 123 4567"


def test_every_event_of_a_conversation_is_shown_above() -> None:
    shown = {Opened, InteractionAdded, InteractionUpdated, Linked, Unlinked, Closed, Erased}
    assert set(typing.get_args(ConversationEvent)) == shown


def test_a_conflict_is_told_of_the_contact() -> None:
    (update,) = _updates(Conflicted("c42", "c7", "tel:+27821234567"), cause=Place("contacts.v1", 0, 4))
    value = orjson.loads(update.value)
    name = value.pop("id")
    assert value == {
        "type": "contact.conflict",
        "tenant": "acme",
        "at": "2026-11-22T08:15:31.004Z",
        "contact_id": "c42",
        "owner_contact_id": "c7",
        "endpoint": "tel:+27821234567",
        "cause": {"topic": "router.contacts.v1", "partition": 0, "offset": 4, "rule": "saved"},
    }
    assert update.conversation_id is None
    assert update.key == b"acme|c42"
    headers = dict(update.headers)
    assert headers["ce_id"] == name.encode()
    assert headers["ce_type"] == b"contact.conflict.v1"
    assert "ce_subject" not in headers


def test_a_merge_is_told_of_the_contact() -> None:
    (update,) = _updates(AliasMade("c42", "c7"))
    value = orjson.loads(update.value)
    assert (value["type"], value["contact_id"], value["into"], value["cause"]["rule"]) == (
        "contact.merged",
        "c42",
        "c7",
        "merged",
    )
    assert update.key == b"acme|c42"


def test_no_two_updates_of_contacts_share_an_id() -> None:
    here, there = Place("contacts.v1", 0, 4), Place("contacts.v1", 0, 5)
    updates = [
        *_updates(Conflicted("c1", "c2", "tel:+1"), Conflicted("c1", "c2", "tel:+2"), cause=here),
        *_updates(Conflicted("c1", "c3", "tel:+1"), AliasMade("c1", "c2"), AliasMade("c2", "c1"), cause=here),
        *_updates(Conflicted("c1", "c2", "tel:+1"), AliasMade("c1", "c2"), cause=there),
        *_updates(Conflicted("c1", "c2", "tel:+1"), cause=here, tenant="other"),
    ]
    assert len({orjson.loads(update.value)["id"] for update in updates}) == len(updates)
    assert _updates(AliasMade("c1", "c2"), cause=here) == _updates(AliasMade("c1", "c2"), cause=here)


def test_the_cause_of_a_timer_is_the_log_record_itself() -> None:
    (update,) = _updates(Closed(NOW._replace(rule="idle"), "idle", None), cause=None)
    assert orjson.loads(update.value)["cause"] == {
        "topic": "router.internal.log",
        "partition": 5,
        "offset": 9,
        "rule": "idle",
    }


def test_the_trace_of_the_raw_record_goes_on() -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    (update,) = _updates(Erased(NOW), trace=trace)
    assert dict(update.headers)["traceparent"] == trace.encode()


def test_rows_are_of_no_concern_to_subscribers() -> None:
    assert _updates(RowPut(POLICY, Policy()), RowGone(POLICY)) == []
    kinds = [orjson.loads(update.value)["type"] for update in _updates(RowGone(POLICY), Erased(NOW), RowGone(POLICY))]
    assert kinds == ["conversation.erased"]


def _conversation(**changes: Any) -> Conversation:
    row = Conversation(
        conversation_id=CONVERSATION,
        tenant="acme",
        owner=CONTACT,
        seq=4,
        status="open",
        contact_id="c42",
        endpoint="tel:+27821234567",
        opened_at_ms=1795335331004,
        opened_offset=9,
        commands=("x",),
        activity={"voice": 5},
        calls={"aa": 5},
    )
    return replace(row, **changes)


def test_the_conversation_as_it_stands() -> None:
    closed = _conversation(
        status="closed",
        closed_at_ms=1795335340000,
        close_reason="requested",
        previous=OTHER,
        interaction_count=2,
        channels={"voice": 2},
        last_interaction_at_ms=1795335330120,
    )
    record = state_record(closed)
    assert record.key == CONVERSATION.encode()
    assert orjson.loads(record.value or b"") == {
        "tenant": "acme",
        "conversation_id": CONVERSATION,
        "seq": 4,
        "status": "closed",
        "contact_id": "c42",
        "endpoint": "tel:+27821234567",
        "opened_at": "2026-11-22T08:15:31.004Z",
        "closed_at": "2026-11-22T08:15:40.000Z",
        "close_reason": "requested",
        "previous_conversation_id": OTHER,
        "interaction_count": 2,
        "channels": {"voice": 2},
        "last_interaction_at": "2026-11-22T08:15:30.120Z",
    }
    value = orjson.loads(state_record(_conversation()).value or b"")
    assert (value["closed_at"], value["close_reason"], value["last_interaction_at"]) == (None, None, None)


def test_an_erased_conversation_is_a_tombstone() -> None:
    record = state_record(_conversation(status="erased", contact_id=None, endpoint=None))
    assert (record.key, record.value) == (CONVERSATION.encode(), None)


def test_a_dead_letter_keeps_the_bytes_and_says_why() -> None:
    raw = Raw(b"\xffk", b"\x80{", (("traceparent", b"00"), ("x", b"\xfe")))
    refusal = refusal_of(RejectedError("schema_invalid", "has to be at most 512 characters", field="to.3"))
    letter = dead_letter(
        raw, refusal, stage="intake", place=Place("interactions.sms.v1", 1, 77), topic="router.interactions.sms.v1"
    )
    assert (letter.key, letter.value) == (raw.key, raw.value)
    assert tuple(letter.headers[:2]) == raw.headers
    assert dict(letter.headers[2:]) == {
        "dlq_code": b"schema_invalid",
        "dlq_message": b"to.3: has to be at most 512 characters",
        "dlq_stage": b"intake",
        "dlq_topic": b"router.interactions.sms.v1",
        "dlq_partition": b"1",
        "dlq_offset": b"77",
    }


def test_a_payload_that_cannot_be_read_has_no_place() -> None:
    raw = Raw(None, b"\x80", (("content-type", b"text/xml"),))
    letter = unread_payload(raw, Refusal("payload_unknown", "no event of this vendor"), source="gateways/twilio/acme")
    assert letter.value == b"\x80"
    assert dict(letter.headers) == {
        "content-type": b"text/xml",
        "dlq_code": b"payload_unknown",
        "dlq_message": b"no event of this vendor",
        "dlq_stage": b"receive",
        "dlq_topic": b"gateways/twilio/acme",
    }
