"""A few records that touch every effect: two homes, a save that links, a duplicate, a refusal, a close, a merge."""

from typing import Any

import orjson

from interaction_router.application.intake import COMMANDS, CONTACTS
from interaction_router.ports import Outgoing
from tests.integration.running import saved, sms

SMS = "interactions.sms.v1"


def story(name: str = "") -> list[tuple[str, Outgoing]]:
    """Return records with their streams; `name` makes their ids another story's."""
    number = f"+2782{abs(hash_of(name)) % 10_000_000:07d}"
    return [
        (SMS, sms(f"{name}1", number)),
        (SMS, sms(f"{name}2", number)),
        (SMS, sms(f"{name}1", number)),
        (SMS, Outgoing(b"k", b"{")),
        (CONTACTS, saved(f"ann{name}", number, f"ann{name}@example.com")),
        (SMS, sms(f"{name}3", number)),
        (SMS, sms(f"{name}4", "0821110000")),
        (COMMANDS, command("conversation.close", f"close{name}", conversation_id=f"nobody{name}")),
        (CONTACTS, saved(f"ben{name}", "0821110000")),
        (SMS, sms(f"{name}5", "0821110000")),
    ]


def merged(name: str = "", *, times: int) -> list[tuple[str, Outgoing]]:
    """Return saves of contacts that are merged, so many times, each behind what has to be appended before it."""
    records = []
    for nth in range(times):
        first, second = f"m{name}{nth}", f"n{name}{nth}"
        records += [
            (CONTACTS, saved(first, f"{first}@example.com")),
            (CONTACTS, saved(second, f"{second}@example.com")),
            (CONTACTS, event("contact.merged", contact_id=first, into=second)),
        ]
    return records


def event(kind: str, **fields: Any) -> Outgoing:  # Any: JSON
    """Return a contact event."""
    return Outgoing(None, orjson.dumps({"tenant": "acme", "type": kind, "at": "2026-11-22T10:15:30Z", **fields}))


def command(kind: str, command_id: str, **fields: Any) -> Outgoing:  # Any: JSON
    """Return a command."""
    return event(kind, command_id=command_id, actor="test", **fields)


def hash_of(name: str) -> int:
    """Return a number that is the same in every run."""
    return int.from_bytes(name.encode(), "big") * 7919 + 1234567
