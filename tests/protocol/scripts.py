"""What is told to the homes: scripts of raw records, each read by an intake of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from interaction_router.domain.ids import Entity, Place, conversation_id
from interaction_router.domain.interactions import Interaction, Status
from interaction_router.domain.messages import (
    CloseAsked,
    ContactDeleted,
    ContactMerged,
    ContactSaved,
    EraseAsked,
    InteractionEvent,
    LinkAsked,
    Message,
    UnlinkAsked,
)
from tests.unit.against_model import COMMANDS, CONTACTS
from tests.unit.world import START_MS

TENANT = "acme"
INTERACTIONS = "interactions.voice.v1"
_AHEAD_MS = 60_000
"""Interactions happen so long after all that closes: none is a late one."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event of the call `name`, of the party `endpoint`; another than `ringing` is a later one."""

    name: str
    endpoint: str = "e1"
    status: Status = "ringing"


@dataclass(frozen=True, slots=True)
class Save:
    """A contact as saved."""

    contact: str
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """A deletion."""

    contact: str
    may_be_refused: bool = False


@dataclass(frozen=True, slots=True)
class Erase:
    """An erasure."""

    contact: str
    may_be_refused: bool = False


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge."""

    contact: str
    into: str
    may_be_refused: bool = False


@dataclass(frozen=True, slots=True)
class ByHand:
    """A command to the conversation that the call `name` has opened at `opener`; most of them may come too late."""

    what: str
    name: str
    opener: str = "e1"
    contact: str = ""
    may_be_refused: bool = True


Step: TypeAlias = Told | Save | Delete | Erase | Merge | ByHand
Script: TypeAlias = Sequence[Step]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens first, one thing after the other, and then all at once; `crashes` of intakes meanwhile.

    In each phase a script is read in its order, and all scripts beside one another.
    """

    name: str
    phases: tuple[Mapping[str, Script], ...]
    first: Script = ()
    crashes: int = 0
    owners: Mapping[str, str | None] = field(default_factory=dict)
    """Whose addresses are in the end, where it is the same in every order."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record that an intake has to read, and to whom it may think that it goes."""

    to: tuple[Entity, ...]
    message: Message
    stream: str
    place: Place
    stamp_ms: int
    may_be_refused: bool


def entity(name: str) -> Entity:
    """Return the contact (`c1`) or the endpoint (`e1`) of this name; the aliases' is empty."""
    if not name:
        return Entity(TENANT, "aliases", "")
    return Entity(TENANT, "contact" if name.startswith("c") else "endpoint", party(name) if name[0] == "e" else name)


def party(endpoint: str) -> str:
    """Return an endpoint as records name it."""
    return f"tel:+2782123456{endpoint[1:]}"


class Written:
    """A scenario's records, as gateways and people have written them to the raw topics."""

    def __init__(self, scenario: Scenario) -> None:
        """Give every record its place and its stamp, which says nothing of when the others arrive."""
        steps = [*scenario.first, *(step for phase in scenario.phases for script in phase.values() for step in script)]
        self._contacts = tuple(sorted({name for step in steps for name in _contacts(step)}))
        self._places: dict[str, Place] = {}
        self._count = 0
        self.first = [self._record(step, 0, at) for at, step in enumerate(scenario.first)]
        began = len(self.first)
        self.phases: list[list[list[RawRecord]]] = []
        for phase in scenario.phases:
            scripts = [
                [self._record(step, number, began + at) for at, step in enumerate(script)]
                for number, script in enumerate(phase.values())
            ]
            self.phases.append(scripts)
            began += max(map(len, scripts))
        endpoints = {name for step in steps for name in _endpoints(step)}
        self.entities = [entity(name) for name in (*self._contacts, *sorted(endpoints), "")]

    def _record(self, step: Step, partition: int, at: int) -> RawRecord:
        self._count += 1
        stream = INTERACTIONS if isinstance(step, Told) else COMMANDS if isinstance(step, ByHand | Erase) else CONTACTS
        place = Place(stream, partition, self._count)
        stamp_ms = START_MS + 1000 * at + partition
        may_be_refused = not isinstance(step, Told | Save) and step.may_be_refused
        return RawRecord(*self._message(step, place), stream, place, stamp_ms, may_be_refused)

    def _message(self, step: Step, place: Place) -> tuple[tuple[Entity, ...], Message]:
        number = self._count
        match step:
            case Told():
                self._places.setdefault(step.name, place)
                homes = (step.endpoint, *self._contacts)
                return tuple(map(entity, homes)), InteractionEvent(party(step.endpoint), None, _call(step, number))
            case Save():
                saved = ContactSaved(step.contact, f"name-{number}", tuple(map(party, step.endpoints)))
                return (entity(step.contact),), saved
            case Delete():
                return (entity(step.contact),), ContactDeleted(step.contact)
            case Erase():
                return (entity(step.contact),), EraseAsked(step.contact, f"m{number}")
            case Merge():
                return (entity(""),), ContactMerged(step.contact, step.into)
            case ByHand():
                return self._command(step, f"m{number}")

    def _command(self, step: ByHand, command_id: str) -> tuple[tuple[Entity, ...], Message]:
        key = conversation_id(entity(step.opener), self._places[step.name])
        to = Entity(TENANT, "conversation", key)
        match step.what:
            case "close":
                return (to,), CloseAsked(key, command_id)
            case "link":
                return (entity(step.contact),), LinkAsked(key, step.contact, command_id)
            case _:
                return (to,), UnlinkAsked(key, command_id)


def _call(told: Told, number: int) -> Interaction:
    details = {"text": f"text-{number}"}
    at_ms = START_MS + _AHEAD_MS
    return Interaction(told.name, "voice", "inbound", told.status, at_ms, party(told.endpoint), (), None, (), details)


def _contacts(step: Step) -> tuple[str, ...]:
    if isinstance(step, Told):
        return ()
    if isinstance(step, Merge):
        return (step.contact, step.into)
    names = (step.contact, step.opener) if isinstance(step, ByHand) else (step.contact,)
    return tuple(name for name in names if name.startswith("c"))


def _endpoints(step: Step) -> tuple[str, ...]:
    if isinstance(step, Save):
        return step.endpoints
    if isinstance(step, Told):
        return (step.endpoint,)
    return (step.opener,) if isinstance(step, ByHand) and step.opener.startswith("e") else ()
