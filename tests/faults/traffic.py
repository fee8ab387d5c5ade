"""Raw records as gateways, a CRM and people write them: few names, so that they meet; some of it bad, some twice."""

from random import Random
from typing import Any, NamedTuple

import orjson

from interaction_router.wire.times import spell_time

NUMBERS = ("+27821234567", "+27821234568", "+27821234569")
MAILBOXES = ("ann@example.com", "bob@example.com")
CONTACTS = ("c1", "c2", "c3")
STATUSES = {"voice": ("ringing", "answered", "ended"), "sms": ("received", "sent", "delivered", "read")}


class RawRecord(NamedTuple):
    """A record for a raw topic."""

    stream: str
    key: bytes
    value: bytes


class Traffic:
    """Draws records; commands are about conversations that somebody has heard of."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._count = 0
        self._sent: list[RawRecord] = []

    def next(self, at_ms: int, conversations: list[str]) -> RawRecord:
        """Return the next record, written at `at_ms`."""
        draw = self._random.random()
        self._count += 1
        if draw < 0.08 and self._sent:
            return self._random.choice(self._sent[-20:])
        if draw < 0.11:
            return RawRecord("interactions.sms.v1", b"acme", self._random.choice((b"{", b"[]", b'{"tenant": "acme"}')))
        if draw < 0.36:
            made = self._contact()
        elif draw < 0.48:
            made = self._command(conversations)
        else:
            made = self._interaction(at_ms)
        self._sent.append(made)
        return made

    def _interaction(self, at_ms: int) -> RawRecord:
        pick = self._random.choice
        channel = pick(("sms", "sms", "voice", "email"))
        party = pick(MAILBOXES if channel == "email" else (*NUMBERS * 3, None))
        direction = pick(("inbound", "inbound", "outbound"))
        ours = "desk@example.org" if channel == "email" else "+27110000000"
        fields: dict[str, Any] = {  # Any: JSON
            "tenant": "acme",
            "channel": channel,
            "direction": direction,
            "interaction_id": f"i{self._random.randrange(40)}",
            "occurred_at": spell_time(at_ms - pick((0, 5, 2_000, 700_000))),
            "from": party if direction == "inbound" else ours,
            "to": ours if direction == "inbound" else party,
            "text": f"text {self._count}",
        }
        if channel in STATUSES:
            fields["status"] = pick(STATUSES[channel])
        return RawRecord(f"interactions.{channel}.v1", f"acme|{party}".encode(), orjson.dumps(fields))

    def _contact(self) -> RawRecord:
        contact_id, kind = self._random.choice(CONTACTS), self._random.random()
        fields: dict[str, Any] = {"tenant": "acme", "contact_id": contact_id}
        if kind < 0.7:
            addresses = self._random.sample((*NUMBERS, *MAILBOXES), self._random.randrange(4))
            fields |= {"type": "contact.saved", "name": f"name {self._count}", "addresses": addresses}
        elif kind < 0.85:
            fields |= {"type": "contact.deleted"}
        else:
            fields |= {"type": "contact.merged", "into": self._random.choice(CONTACTS)}
        return RawRecord("contacts.v1", f"acme|{contact_id}".encode(), orjson.dumps(fields))

    def _command(self, conversations: list[str]) -> RawRecord:
        pick = self._random.choice
        fields: dict[str, Any] = {"tenant": "acme", "actor": "ann", "command_id": f"m{self._random.randrange(200)}"}
        kind = pick(("close", "close", "close", "link", "link", "unlink", "erase"))
        if kind == "erase":
            fields |= {"type": "contact.erase", "contact_id": pick(CONTACTS)}
        else:
            known = pick(conversations[-8:]) if conversations else "0c3e1f6a-0000-8000-8000-000000000001"
            fields |= {"type": f"conversation.{kind}", "conversation_id": known}
        if kind == "link":
            fields |= {"contact_id": pick(CONTACTS)}
        return RawRecord("commands.v1", b"acme", orjson.dumps(fields))
