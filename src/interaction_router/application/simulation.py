"""Simulated gateways: raw records as the contract has them, the same bytes for the same seed.

All names, numbers and mailboxes are fictional: numbers are of the ranges that are kept for fiction (555-0100 to
555-0199 of each American area; Ofcom's "numbers for drama"), mailboxes of `example.com`.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import orjson

from interaction_router.domain.errors import RefusalCode
from interaction_router.domain.ids import digest
from interaction_router.wire.times import spell_time

Nature = Literal["agent", "contact", "interaction", "event", "duplicate", "poison"]
Fields = dict[str, Any]  # Any: a JSON object that is about to be written, or spoilt

PERSONS_LIMIT: Final = 70_000
OUR_NUMBER: Final = "+44 20 7946 0000"
OUR_MAILBOX: Final = "care@example.com"
AGENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "thandi": ("voice", "email"),
    "joao": ("sms", "whatsapp", "chat"),
    "mei": ("voice", "sms", "email", "whatsapp"),
}
_AGENT_NAMES: Final = {"thandi": "Thandi Nkosi", "joao": "João Prado", "mei": "Mei Tanaka"}

_FIRST_NAMES: Final = (
    *("Ada", "Ben", "Carla", "Deniz", "Efua", "Farid", "Greta", "Hana"),
    *("Ivan", "Jo", "Kemal", "Lena", "Milo", "Noor", "Otto", "Pia"),
)
_LAST_NAMES: Final = (
    *("Adler", "Brandt", "Castro", "Dube", "Eriksen", "Fofana", "Garcia"),
    *("Haddad", "Ito", "Jansen", "Kaya", "Lopez", "Moyo"),
)
_TEXTS: Final = (
    "Where is my parcel?",
    "Please change the delivery address.",
    "The invoice has the wrong amount.",
    "Can I come by on Friday?",
    "That worked, thank you!",
    "Der Schlüssel passt nicht.",
    "¿Cuándo abren mañana?",
)
_CHANNELS: Final = ("sms", "voice", "email", "whatsapp")
_CHANNEL_WEIGHTS: Final = (35, 25, 20, 20)
_INBOUND: Final = 0.7
_SAVED_AT_START: Final = 0.7
_SAVED_LATER: Final = 0.01
_WITHHELD_CALLS: Final = 0.05
_MISSED_CALLS: Final = 0.2
_FIRST_AREA: Final = 201
_NUMBERS_OF_AREA: Final = 100
_REPEATED_FROM_LAST: Final = 200
_ID_PREFIXES: Final = {"sms": "SM", "voice": "CA", "whatsapp": "wamid.", "chat": "chat-", "email": ""}


class Simulated(NamedTuple):
    """A record that an outside system writes `due_ms` after the start; `code` is why a poisonous one is refused."""

    stream: str
    key: bytes
    value: bytes
    due_ms: int
    nature: Nature
    code: RefusalCode | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What a load is made from; `duplicates` and `poison` are shares of its records.

    `start_ms` is the time of day at which the record with `due_ms` 0 is written: interactions say when they happened.
    """

    seed: int
    start_ms: int
    rate: float = 10.0
    contacts: int = 100
    duplicates: float = 0.1
    poison: float = 0.01
    tenant: str = "demo"


class Person(NamedTuple):
    """Somebody who may be a contact; `national` is the number as it is written within its region."""

    contact_id: str
    name: str
    number: str
    national: str
    region: str
    mailbox: str


def person(nth: int) -> Person:
    """Return one of `PERSONS_LIMIT` fictional persons, always the same one."""
    first = _FIRST_NAMES[nth % len(_FIRST_NAMES)]
    last = _LAST_NAMES[nth % len(_LAST_NAMES)]
    area, line = divmod(nth, _NUMBERS_OF_AREA)
    national = f"{_FIRST_AREA + area} 555 {100 + line:04d}"
    mailbox = f"{first}.{last}.{nth}@example.com".lower()
    return Person(f"c{nth}", f"{first} {last}", f"+1 {national}", national, "US", mailbox)


def first_records(load: Load) -> Iterator[Simulated]:
    """Return what is there before the load: the agents, and the contacts that are saved from the start."""
    yield from agent_records(load)
    for nth in range(_saved_at_start(load)):
        yield contact_saved(load, person(nth), due_ms=0)


def load_records(load: Load) -> Iterator[Simulated]:
    """Return the records of the load, without end, in the order in which they are due."""
    return _Gateways(load, unsaved=list(range(_saved_at_start(load), load.contacts))).records()


def _saved_at_start(load: Load) -> int:
    return round(load.contacts * _SAVED_AT_START)


def agent_records(load: Load) -> Iterator[Simulated]:
    """Return the agents and what they are qualified for."""
    for agent_id, channels in AGENTS.items():
        fields = {"tenant": load.tenant, "agent_id": agent_id, "name": _AGENT_NAMES[agent_id], "channels": channels}
        yield Simulated("agents.v1", f"{load.tenant}|{agent_id}".encode(), orjson.dumps(fields), 0, "agent")


def contact_saved(load: Load, contact: Person, *, due_ms: int) -> Simulated:
    """Return the record by which a contact is saved, with number and mailbox."""
    fields = {
        "tenant": load.tenant,
        "type": "contact.saved",
        "contact_id": contact.contact_id,
        "name": contact.name,
        "addresses": [contact.number, contact.mailbox],
        "at": spell_time(load.start_ms + due_ms),
    }
    key = f"{load.tenant}|{contact.contact_id}".encode()
    return Simulated("contacts.v1", key, orjson.dumps(fields), due_ms, "contact")


def interaction_fields(
    load: Load, who: Person, *, channel: str, interaction_id: str, due_ms: int, agent_id: str | None = None
) -> Fields:
    """Return the raw interaction of a message or a call; an agent makes it outbound.

    The party's address is written as gateways of the channel do: national, without a plus, or a mailbox.
    """
    theirs, ours = who.number, OUR_NUMBER
    if channel == "email":
        theirs, ours = who.mailbox, OUR_MAILBOX
    elif channel == "whatsapp":
        theirs = theirs.replace(" ", "").removeprefix("+")
    elif channel == "voice":
        theirs = who.national
    outbound = agent_id is not None
    fields: Fields = {
        "tenant": load.tenant,
        "channel": channel,
        "direction": "outbound" if outbound else "inbound",
        "interaction_id": interaction_id,
        "occurred_at": spell_time(load.start_ms + due_ms),
        "from": ours if outbound else theirs,
        "to": [theirs if outbound else ours],
        "provider": "simulated",
    }
    if channel == "voice":
        fields["region"] = who.region
    if outbound:
        fields["agent_id"] = agent_id
    return fields


def interaction_record(
    fields: Mapping[str, Any], *, due_ms: int, nature: Nature = "interaction", code: RefusalCode | None = None
) -> Simulated:
    """Return the record of an interaction or event, under the key that keeps its party's order."""
    party = fields["from"] if fields["direction"] == "inbound" else fields["to"][0]
    key = f"{fields['tenant']}|{party}".encode()
    return Simulated(f"interactions.{fields['channel']}.v1", key, orjson.dumps(fields), due_ms, nature, code)


class _Gateways:
    """Writes one record a slot, `rate` slots a second: bad, again, due from before, or new."""

    def __init__(self, load: Load, *, unsaved: list[int]) -> None:
        """`unsaved` are the persons who are no contacts yet."""
        self._load = load
        self._random = random.Random(load.seed)  # noqa: S311 - a simulation keeps no secrets
        self._tag = digest("load", str(load.seed)).hex()[:8]
        self._unsaved = unsaved
        self._count = 0
        self._planned = 0
        self._later: list[tuple[int, int, Fields]] = []
        self._sent: deque[Simulated] = deque(maxlen=_REPEATED_FROM_LAST)

    def records(self) -> Iterator[Simulated]:
        """Return the records, without end."""
        slot = 0
        while True:
            record = self._record(int(slot * 1000 / self._load.rate))
            if record.nature in {"interaction", "event"}:
                self._sent.append(record)
            yield record
            slot += 1

    def _record(self, due_ms: int) -> Simulated:
        chance = self._random.random()
        load = self._load
        if chance < load.poison:
            return self._poison(due_ms)
        if chance < load.poison + load.duplicates and self._sent:
            again = self._sent[self._random.randrange(len(self._sent))]
            return again._replace(due_ms=due_ms, nature="duplicate")
        if self._unsaved and self._random.random() < _SAVED_LATER:
            nth = self._unsaved.pop(self._random.randrange(len(self._unsaved)))
            return contact_saved(load, person(nth), due_ms=due_ms)
        if self._later and self._later[0][0] <= due_ms:
            _, _, fields = heapq.heappop(self._later)
            return interaction_record(fields, due_ms=due_ms, nature="event")
        return interaction_record(self._interaction(due_ms), due_ms=due_ms)

    def _interaction(self, due_ms: int) -> Fields:
        """Return a new interaction, and plan the events that will follow it."""
        (channel,) = self._random.choices(_CHANNELS, _CHANNEL_WEIGHTS)
        agent_id = None if self._random.random() < _INBOUND else self._random.choice(_qualified(channel))
        fields = self._fields(channel, due_ms, agent_id)
        if channel == "voice":
            self._plan_call(fields, due_ms)
            return fields
        text = self._random.choice(_TEXTS)
        fields |= {"text": text, "subject": text} if channel == "email" else {"text": text}
        if agent_id is not None:
            fields["status"] = "sent"
            self._plan(fields, due_ms + self._random.randrange(300, 2_000), status="delivered")
            self._plan(fields, due_ms + self._random.randrange(2_000, 8_000), status="read")
        return fields

    def _fields(self, channel: str, due_ms: int, agent_id: str | None) -> Fields:
        who = person(self._random.randrange(self._load.contacts))
        self._count += 1
        interaction_id = f"{_ID_PREFIXES[channel]}{self._tag}.{self._count}"
        if channel == "email":
            interaction_id += "@mail.example.com"
        return interaction_fields(
            self._load, who, channel=channel, interaction_id=interaction_id, due_ms=due_ms, agent_id=agent_id
        )

    def _plan_call(self, fields: Fields, due_ms: int) -> None:
        if fields["direction"] == "inbound" and self._random.random() < _WITHHELD_CALLS:
            fields["from"] = "anonymous"
        fields["status"] = "ringing"
        answered_ms = due_ms + self._random.randrange(1_000, 4_000)
        if self._random.random() < _MISSED_CALLS:
            self._plan(fields, answered_ms, status="missed")
            return
        talk_ms = self._random.randrange(3_000, 20_000)
        agent_id = fields.get("agent_id") or self._random.choice(_qualified("voice"))
        self._plan(fields, answered_ms, status="answered", agent_id=agent_id)
        self._plan(fields, answered_ms + talk_ms, status="ended", agent_id=agent_id, duration_s=talk_ms / 1000)

    def _plan(self, fields: Fields, due_ms: int, **changes: object) -> None:
        at = spell_time(self._load.start_ms + due_ms)
        self._planned += 1  # of two that are due at once the one that was planned first is sent first
        heapq.heappush(self._later, (due_ms, self._planned, {**fields, **changes, "occurred_at": at}))

    def _poison(self, due_ms: int) -> Simulated:
        """Return a record that has to be refused, with the code that it has to be refused with."""
        spoil = self._random.choice(_SPOILERS)
        channel = self._random.choice(_CHANNELS)
        record = interaction_record(self._fields(channel, due_ms, None), due_ms=due_ms, nature="poison")
        return spoil(record)


def _qualified(channel: str) -> list[str]:
    return [agent_id for agent_id, channels in AGENTS.items() if channel in channels]


def _cut_off(record: Simulated) -> Simulated:
    return record._replace(value=record.value[:-9], code="malformed_json")


def _without_id(record: Simulated) -> Simulated:
    fields = orjson.loads(record.value)
    del fields["interaction_id"]
    return record._replace(value=orjson.dumps(fields), code="schema_invalid")


def _without_zone(record: Simulated) -> Simulated:
    fields = orjson.loads(record.value)
    fields["occurred_at"] = fields["occurred_at"].removesuffix("Z")
    return record._replace(value=orjson.dumps(fields), code="schema_invalid")


def _of_another_topic(record: Simulated) -> Simulated:
    return record._replace(stream="interactions.chat.v1", code="channel_mismatch")


def _to_itself(record: Simulated) -> Simulated:
    fields = orjson.loads(record.value)
    fields["to"] = fields["from"]
    return record._replace(value=orjson.dumps(fields), code="own_address")


def _by_a_stranger(record: Simulated) -> Simulated:
    fields = orjson.loads(record.value)
    fields |= {"direction": "outbound", "from": fields["to"][0], "to": [fields["from"]], "agent_id": "nobody"}
    return record._replace(value=orjson.dumps(fields), code="agent_unknown")


_SPOILERS: Final[tuple[Callable[[Simulated], Simulated], ...]] = (
    _cut_off,
    _without_id,
    _without_zone,
    _of_another_topic,
    _to_itself,
    _by_a_stranger,
)
