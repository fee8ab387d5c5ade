"""The updates: what subscribers were promised of them, and the conversations that they add up to."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import orjson

from interaction_router.application.views import STATE, UPDATES
from interaction_router.ports import Received
from tests.checker.source import Difference, Source

Update = dict[str, Any]  # Any: JSON
_ADDS = "conversation.interaction_added"
_UPDATES = "conversation.interaction_updated"
_MOVE = frozenset({"conversation.linked", "conversation.unlinked", "conversation.erased"})


@dataclass(slots=True)
class Told:
    """The updates of each conversation by first appearance, those of contacts, and what is wrong with either."""

    conversations: dict[str, list[Update]] = field(default_factory=dict)
    contacts: list[Update] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    def note(self, name: str, update: Update, what: str) -> None:
        """Take a difference down."""
        where = f"{update.get('conversation_id') or update.get('contact_id')}#{update.get('seq')} {update['type']}"
        self.differences.append(Difference(name, where, what))


def read_updates(source: Source) -> Told:
    """Return the updates without repeats; a repeat has to be the same, byte for byte."""
    told = Told()
    first: dict[tuple[str | None, object], Received] = {}
    partition_of: dict[str, int] = {}
    for partition, records in enumerate(source.records[UPDATES]):
        for record in records:
            update: Update = orjson.loads(record.value or b"{}")
            key = update.get("conversation_id")
            named = (key, update["seq"] if key else update["id"])
            if named in first:
                if _bytes(first[named]) != _bytes(record):
                    told.note("repeat_differs", update, f"offset {record.offset} is not what came first")
                continue
            first[named] = record
            if key is None:
                told.contacts.append(update)
                continue
            if partition_of.setdefault(key, partition) != partition:
                told.note("two_partitions", update, f"{partition_of[key]} and {partition}")
            told.conversations.setdefault(key, []).append(update)
            if dict(record.headers).get("ce_id") != update["id"].encode():
                told.note("headers", update, "ce_id is not the id")
    for updates in told.conversations.values():
        _check_conversation(told, updates)
    _check_contacts(told)
    return told


def _bytes(record: Received) -> tuple[object, ...]:
    return (record.key, record.value, tuple(record.headers))


def _check_conversation(told: Told, updates: list[Update]) -> None:
    """`seq` without gap, closed for good, erased for good, one contact between links."""
    if [each["seq"] for each in updates] != list(range(1, len(updates) + 1)):
        told.note("seq", updates[-1], f"first appearances are {[each['seq'] for each in updates]}")
    if updates[0]["type"] != "conversation.opened":
        told.note("not_opened_first", updates[0], "the first update opens")
    for was, now in pairwise(updates):
        if now["at"] < was["at"]:
            told.note("at_goes_back", now, f"{was['at']} then {now['at']}")
        if was["status"] == "closed" and (now["status"] == "open" or now["type"] == "conversation.closed"):
            told.note("closed_not_final", now, "it was closed")
        if was["type"] == "conversation.erased":
            told.note("erased_not_final", now, "it was erased")
        if now["type"] == "conversation.erased" and was["status"] == "open":
            told.note("erased_open", now, "it was not closed first")
        if now["type"] == "conversation.opened":
            told.note("opened_twice", now, "it was open")
        if now["contact_id"] != was["contact_id"] and now["type"] not in _MOVE:
            told.note("contact_changes", now, "no link says so")


def _check_contacts(told: Told) -> None:
    """At most one open conversation at any time, and `at` never decreases from a conversation to the next.

    Between conversations only `at` tells the order; what happens at the same moment happens in some right order.
    """
    spans: dict[tuple[str, str], list[tuple[str, str, str]]] = defaultdict(list)
    for key, updates in told.conversations.items():
        for contact, since, until in _open_spans(updates):
            spans[contact].append((since, until, key))
        opened = updates[0]
        previous = told.conversations.get(opened.get("previous_conversation_id") or "")
        if opened.get("previous_conversation_id") and previous is None:
            told.note("previous_unknown", opened, "there is no such conversation")
        closed = [each for each in previous or () if each["type"] == "conversation.closed"]
        if previous and (not closed or closed[0]["at"] > opened["at"]):
            told.note("previous_later", opened, "the previous one was not closed before")
    for (tenant, contact_id), of_contact in spans.items():
        of_contact.sort()
        for (_, until, first), (since, later_until, second) in pairwise(of_contact):
            if since < until and (since < later_until or since > of_contact[0][0]):
                where = f"{tenant}/{contact_id}"
                told.differences.append(Difference("two_open", where, f"{first} until {until}, {second} from {since}"))


def _open_spans(updates: list[Update]) -> Iterator[tuple[tuple[str, str], str, str]]:
    """Yield the contacts that a conversation was open of, from when until when."""
    contact: str | None = None
    since = ""
    for update in updates:
        now = update["contact_id"] if update["status"] == "open" else None
        if now != contact:
            if contact is not None:
                yield (update["tenant"], contact), since, update["at"]
            contact, since = now, update["at"]
    if contact is not None:
        yield (updates[0]["tenant"], contact), since, "9999"


def check_state(source: Source, told: Told) -> Iterator[Difference]:
    """The last value of each key of the state topic is what the updates of that conversation add up to."""
    last: dict[str, bytes | None] = {}
    for records in source.records[STATE]:
        for record in records:
            last[(record.key or b"").decode()] = record.value
    for key, updates in told.conversations.items():
        wanted, value = as_it_stands(updates), last.pop(key, None)
        found = None if value is None else orjson.loads(value)
        if wanted != found:
            yield Difference("state_topic", key, _first_difference(wanted, found))
    for key in last:
        yield Difference("state_topic", key, "no update tells of it")


def _first_difference(wanted: Update | None, found: Update | None) -> str:
    if wanted is None or found is None:
        return f"the updates add up to {'a tombstone' if wanted is None else 'a value'}, found the other"
    names = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    return ", ".join(f"{name} is {found.get(name)}, not {wanted.get(name)}" for name in names)


def as_it_stands(updates: list[Update]) -> Update | None:
    """Return the conversation that its updates add up to; None of an erased one."""
    opened, latest = updates[0], updates[-1]
    if latest["type"] == "conversation.erased":
        return None
    added = [each["interaction"] for each in updates if each["type"] == _ADDS]
    closed = next((each for each in updates if each["type"] == "conversation.closed"), None)
    channels: dict[str, int] = defaultdict(int)
    for interaction in added:
        channels[interaction["channel"]] += 1
    return {
        "tenant": opened["tenant"],
        "conversation_id": opened["conversation_id"],
        "seq": latest["seq"],
        "status": latest["status"],
        "contact_id": latest["contact_id"],
        "endpoint": opened["endpoint"],
        "opened_at": opened["at"],
        "closed_at": closed and closed["at"],
        "close_reason": closed and closed.get("reason"),
        "previous_conversation_id": opened.get("previous_conversation_id"),
        "interaction_count": len(added),
        "channels": dict(channels),
        "last_interaction_at": max((each["occurred_at"] for each in added), default=None),
    }
