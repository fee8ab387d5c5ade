"""Contact events, commands and agent records: whom they are for, and what is refused with which field named."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from interaction_router.domain.errors import RejectedError
from interaction_router.domain.ids import Entity
from interaction_router.domain.messages import (
    CloseAsked,
    ContactDeleted,
    ContactMerged,
    ContactSaved,
    EraseAsked,
    LinkAsked,
    Message,
    UnlinkAsked,
)
from interaction_router.wire.agents import AgentRecord, agent_record
from interaction_router.wire.commands import command_message
from interaction_router.wire.contacts import contact_message

_AT = "2026-11-22T10:15:30Z"
_SAVED: Mapping[str, Any] = {
    "tenant": "acme",
    "type": "contact.saved",
    "contact_id": "c42",
    "name": "Ann",
    "addresses": ["082 123 4567", "Ann@EXAMPLE.com"],
    "at": _AT,
}
_COMMAND: Mapping[str, Any] = {
    "tenant": "acme",
    "type": "conversation.close",
    "conversation_id": "v1",
    "contact_id": "c42",
    "reason": "done",
    "actor": "thandi",
    "command_id": "k1",
    "at": _AT,
}
_AGENT: Mapping[str, Any] = {"tenant": "acme", "agent_id": "thandi", "name": "Thandi", "channels": ["voice", "email"]}
_GONE = object()


def _bytes(record: Mapping[str, Any], **changes: object) -> bytes:
    return orjson.dumps({name: value for name, value in {**record, **changes}.items() if value is not _GONE})


def _contact(**changes: object) -> tuple[Entity, Message]:
    return contact_message(_bytes(_SAVED, **changes), region_of={"acme": "ZA"}.get)


@pytest.mark.parametrize(
    ("changes", "to", "message"),
    [
        (
            {},
            Entity("acme", "contact", "c42"),
            ContactSaved("c42", "Ann", ("tel:+27821234567", "mailto:ann@example.com")),
        ),
        (
            {"addresses": ["+27821234567", "0821234567", "tel:+27821234567"], "name": None, "at": _GONE},
            Entity("acme", "contact", "c42"),
            ContactSaved("c42", None, ("tel:+27821234567",)),
        ),
        ({"addresses": [], "vip": True}, Entity("acme", "contact", "c42"), ContactSaved("c42", "Ann", ())),
        ({"type": "contact.deleted"}, Entity("acme", "contact", "c42"), ContactDeleted("c42")),
        ({"type": "contact.merged", "into": "c7"}, Entity("acme", "aliases", ""), ContactMerged("c42", "c7")),
        ({"type": "contact.merged", "into": "c42"}, Entity("acme", "aliases", ""), ContactMerged("c42", "c42")),
    ],
)
def test_what_a_contact_event_tells(changes: dict[str, object], to: Entity, message: Message) -> None:
    assert _contact(**changes) == (to, message)


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"tenant": _GONE}, "schema_invalid", "tenant"),
        ({"tenant": "ACME"}, "schema_invalid", "tenant"),
        ({"type": _GONE}, "schema_invalid", "type"),
        ({"type": None}, "schema_invalid", "type"),
        ({"type": "contact.renamed"}, "unsupported_type", "type"),
        ({"type": "contact.erase"}, "unsupported_type", "type"),
        ({"contact_id": _GONE}, "schema_invalid", "contact_id"),
        ({"contact_id": ""}, "schema_invalid", "contact_id"),
        ({"contact_id": "a\n"}, "schema_invalid", "contact_id"),
        ({"contact_id": "x" * 513}, "schema_invalid", "contact_id"),
        ({"name": 7}, "schema_invalid", "name"),
        ({"addresses": _GONE}, "schema_invalid", "addresses"),
        ({"addresses": None}, "schema_invalid", "addresses"),
        ({"addresses": "0821234567"}, "schema_invalid", "addresses"),
        ({"addresses": [None]}, "schema_invalid", "addresses.0"),
        ({"addresses": ["a@b.c", "x" * 513]}, "schema_invalid", "addresses.1"),
        ({"addresses": ["a@b.c", "+1234"]}, "address_invalid", "addresses.1"),
        ({"addresses": ["ACMEBANK"]}, "address_invalid", "addresses.0"),
        ({"tenant": "other", "addresses": ["0821234567"]}, "address_invalid", "addresses.0"),
        ({"at": "yesterday"}, "schema_invalid", "at"),
        ({"at": 7}, "schema_invalid", "at"),
        ({"type": "contact.deleted", "contact_id": None}, "schema_invalid", "contact_id"),
        ({"type": "contact.deleted", "at": "yesterday"}, "schema_invalid", "at"),
        ({"type": "contact.merged"}, "schema_invalid", "into"),
        ({"type": "contact.merged", "into": ""}, "schema_invalid", "into"),
        ({"type": "contact.merged", "into": "c7", "at": "0001-01-01T00:00:00Z"}, "schema_invalid", "at"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_a_contact_event_must_not_be(changes: dict[str, object], code: str, field: str) -> None:
    with pytest.raises(RejectedError) as caught:
        _contact(**changes)
    assert (caught.value.code, caught.value.field) == (code, field)


_CONVERSATION = Entity("acme", "conversation", "v1")
_CONTACT = Entity("acme", "contact", "c42")


@pytest.mark.parametrize(
    ("changes", "to", "message"),
    [
        ({}, _CONVERSATION, CloseAsked("v1", "k1", "done", "thandi")),
        ({"reason": _GONE, "actor": _GONE, "at": _GONE}, _CONVERSATION, CloseAsked("v1", "k1", None, None)),
        ({"type": "conversation.link"}, _CONTACT, LinkAsked("v1", "c42", "k1")),
        ({"type": "conversation.unlink"}, _CONVERSATION, UnlinkAsked("v1", "k1")),
        ({"type": "contact.erase"}, _CONTACT, EraseAsked("c42", "k1")),
        ({"type": "contact.erase", "conversation_id": _GONE, "note": 7}, _CONTACT, EraseAsked("c42", "k1")),
    ],
)
def test_what_a_command_asks(changes: dict[str, object], to: Entity, message: Message) -> None:
    assert command_message(_bytes(_COMMAND, **changes)) == (to, message)


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"tenant": 7}, "schema_invalid", "tenant"),
        ({"type": "conversation.reopen"}, "unsupported_type", "type"),
        ({"type": ["conversation.close"]}, "schema_invalid", "type"),
        ({"command_id": _GONE}, "schema_invalid", "command_id"),
        ({"command_id": ""}, "schema_invalid", "command_id"),
        ({"conversation_id": _GONE}, "schema_invalid", "conversation_id"),
        ({"conversation_id": 7}, "schema_invalid", "conversation_id"),
        ({"type": "conversation.link", "contact_id": _GONE}, "schema_invalid", "contact_id"),
        ({"type": "conversation.link", "conversation_id": _GONE}, "schema_invalid", "conversation_id"),
        ({"type": "conversation.unlink", "conversation_id": _GONE}, "schema_invalid", "conversation_id"),
        ({"type": "contact.erase", "contact_id": _GONE}, "schema_invalid", "contact_id"),
        ({"reason": 7}, "schema_invalid", "reason"),
        ({"actor": 7}, "schema_invalid", "actor"),
        ({"at": "2026"}, "schema_invalid", "at"),
        ({"type": "contact.erase", "at": "2026"}, "schema_invalid", "at"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_a_command_must_not_be(changes: dict[str, object], code: str, field: str) -> None:
    with pytest.raises(RejectedError) as caught:
        command_message(_bytes(_COMMAND, **changes))
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize(
    ("value", "key", "expected"),
    [
        (_bytes(_AGENT), None, AgentRecord("acme", "thandi", "Thandi", frozenset({"voice", "email"}))),
        (_bytes(_AGENT, name=None, channels=[], team=7), b"x", AgentRecord("acme", "thandi")),
        (_bytes(_AGENT, name=_GONE), b"acme|other", AgentRecord("acme", "thandi", None, frozenset({"voice", "email"}))),
        (None, b"acme|thandi", AgentRecord("acme", "thandi", gone=True)),
        (None, "acme|th|andí".encode(), AgentRecord("acme", "th|andí", gone=True)),
    ],
)
def test_an_agent(value: bytes | None, key: bytes | None, expected: AgentRecord) -> None:
    assert agent_record(value, key) == expected


@pytest.mark.parametrize(
    ("value", "key", "code", "field"),
    [
        (b"[]", b"acme|thandi", "malformed_json", None),
        (b"null", b"acme|thandi", "malformed_json", None),
        (_bytes(_AGENT, tenant=_GONE), None, "schema_invalid", "tenant"),
        (_bytes(_AGENT, agent_id=""), None, "schema_invalid", "agent_id"),
        (_bytes(_AGENT, name=7), None, "schema_invalid", "name"),
        (_bytes(_AGENT, channels=_GONE), None, "schema_invalid", "channels"),
        (_bytes(_AGENT, channels="voice"), None, "schema_invalid", "channels"),
        (_bytes(_AGENT, channels=["voice", None]), None, "schema_invalid", "channels.1"),
        (None, None, "schema_invalid", "key"),
        (None, b"acme", "schema_invalid", "key"),
        (None, b"\xff|thandi", "schema_invalid", "tenant"),
        (None, b"acme|", "schema_invalid", "agent_id"),
    ],
)
def test_what_an_agent_record_must_not_be(value: bytes | None, key: bytes | None, code: str, field: str | None) -> None:
    with pytest.raises(RejectedError) as caught:
        agent_record(value, key)
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize("value", [None, b"", b"{", b'{"tenant":"acme","tenant":"acme"}'])
def test_what_is_no_object_is_malformed(value: bytes | None) -> None:
    for read in (command_message, lambda value: contact_message(value, region_of=lambda _: None)):
        with pytest.raises(RejectedError) as caught:
            read(value)
        assert caught.value.code == "malformed_json"
