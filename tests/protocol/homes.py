"""The homes as they are built, every order of arrival between them, and intakes that die: `decide` on rows, explored.

Each contact, each endpoint and the aliases have a partition of their own, which allows all orders that any other
placement allows; or they share one or two. What one home sends another arrives in its order, at any time. A state names
its homes and records by numbers, so that each record is decided once in each state of its home, however many states of
the whole there are.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import count, product
from typing import Generic, Literal, NamedTuple, TypeVar

import pytest

from interaction_router.domain import contacts, handover
from interaction_router.domain.events import Decision, Opened, Refusal, RowGone, RowPut
from interaction_router.domain.ids import Entity, home
from interaction_router.domain.messages import (
    ContactMerged,
    InteractionEvent,
    LogRecord,
    Message,
    Origin,
)
from interaction_router.domain.rows import (
    Conversation,
    Endpoint,
    Entry,
    Head,
    Policy,
    Row,
    RowKey,
    endpoint_key,
)
from tests.faults.concurrent import ConcurrentWorld, Given
from tests.faults.quiet import faults_at_rest
from tests.protocol.canonical import canonical
from tests.protocol.never import Held, held_in, parts_of, wrong_events, wrong_places
from tests.protocol.scripts import TENANT, RawRecord, Scenario, Written, entity, party
from tests.unit.world import Seen, decide_loading

T = TypeVar("T")
Way = tuple[int, int, tuple[int, ...]]
"""From which home to which, and the records that are on it; intakes count down from -1."""

Fate = Literal["comes", "is lost", "comes late"]
_FATES: tuple[Fate, ...] = ("comes", "is lost", "comes late")
_LATE = 100


class State(NamedTuple):
    """Each home's rows, what is under way, how far each intake has read, and how often one may still die."""

    homes: tuple[int, ...]
    ways: tuple[Way, ...]
    phase: int
    read: tuple[int, ...]
    crashes: int


class Arrival(NamedTuple):
    """The first record of a way is decided."""

    by: int
    at: int
    home: int
    record: int


class Reading(NamedTuple):
    """An intake reads its next record, and appends it."""

    script: int
    record: int


class Death(NamedTuple):
    """An intake dies, and another reads again from `since`; of what was not acknowledged, to each home, `fates` says."""

    script: int
    since: int
    fates: tuple[tuple[int, Fate], ...]


class NextPhase(NamedTuple):
    """All that was told is over."""


Label = Arrival | Reading | Death | NextPhase


class _Home(NamedTuple):
    """One home's rows by number, with all that decides besides."""

    rows: dict[RowKey, int]
    log_time_ms: int
    watermarks: tuple[tuple[tuple[str, int], tuple[int, int]], ...]
    opened: int


class _Decided(NamedTuple):
    """What comes of a record at a home."""

    home: int
    sends: tuple[tuple[int, int], ...]
    decision: Decision
    wrong: str | None


class _Numbered(Generic[T]):
    """Values by number, equal ones by the same."""

    def __init__(self) -> None:
        self._values: list[T] = []
        self._numbers: dict[Hashable, int] = {}

    def number(self, key: Hashable, value: T) -> int:
        """Return the value's number; `key` tells it from others."""
        number = self._numbers.setdefault(key, len(self._values))
        if number == len(self._values):
            self._values.append(value)
        return number

    def __getitem__(self, number: int) -> T:
        return self._values[number]


@contextmanager
def in_parts() -> Iterator[None]:
    """Let every record hold one interaction, and every step link one conversation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handover, "PART_ENTRIES", 1)
        patch.setattr(contacts, "SETTLE_STEP", 1)
        yield


class Homes:
    """A scenario, as `Model`."""

    def __init__(self, scenario: Scenario, *, partitions: int | None = None) -> None:
        """`partitions` are as many as there are homes where it is None."""
        self._written = Written(scenario)
        self._crashes = scenario.crashes
        self._owners = scenario.owners
        self._partitions = partitions or _apart(self._written.entities)
        self._places = sorted({home(each, self._partitions) for each in self._written.entities})
        self._rows = _Numbered[Row]()
        self._homes = _Numbered[_Home]()
        self._records = _Numbered[LogRecord]()
        self._raw: dict[int, tuple[RawRecord, int]] = {}
        self._decided: dict[tuple[int, int], _Decided] = {}
        self._held: dict[int, Held] = {}
        self._carried: dict[int, Held] = {}
        self._first: list[Label] = []

    def start(self) -> State:
        """Return the state behind all that happens first, one thing after the other."""
        empty = self._homes.number((), _Home({}, 0, (), 0))
        state = State((empty,) * len(self._places), (), -1, (len(self._written.first),), self._crashes)
        for record in self._written.first:
            state = self._appended(state, 0, self._log_record(record, 0, record.to[0]))
            while state.ways:
                label, state, wrong = next(self._arrivals(state))
                self._first.append(label)
                assert wrong is None, wrong
        return self._begun(state)

    def _begun(self, state: State) -> State:
        phase = state.phase + 1
        return state._replace(phase=phase, read=(0,) * len(self._written.phases[phase]))

    def steps(self, state: State) -> Iterator[tuple[Label, State, str | None]]:
        """Yield what arrives, what is read, and who dies."""
        yield from self._arrivals(state)
        for script, (at, records) in enumerate(zip(state.read, self._written.phases[state.phase], strict=True)):
            if at < len(records):
                yield from self._reading(state, script, records[at], at)
            if state.crashes:
                yield from self._deaths(state, script, at)
        if not state.ways and self._told_all(state) and state.phase + 1 < len(self._written.phases):
            yield NextPhase(), self._begun(state), None

    def _told_all(self, state: State) -> bool:
        return state.read == tuple(map(len, self._written.phases[state.phase]))

    def _arrivals(self, state: State) -> Iterator[tuple[Label, State, str | None]]:
        for by, at, records in state.ways:
            decided = self._decide(state.homes[at], records[0])
            ways = {(way[0], way[1]): way[2] for way in state.ways}
            ways[by, at] = records[1:]
            for to, sent in decided.sends:
                ways[at, to] = (*ways.get((at, to), ()), sent)
            homes = (*state.homes[:at], decided.home, *state.homes[at + 1 :])
            after = state._replace(homes=homes, ways=_in_order(ways))
            yield Arrival(by, at, state.homes[at], records[0]), after, decided.wrong

    def _reading(self, state: State, script: int, raw: RawRecord, at: int) -> Iterator[tuple[Label, State, str | None]]:
        read = (*state.read[:script], at + 1, *state.read[script + 1 :])
        if isinstance(raw.message, ContactMerged) and any(way[0] == -1 - script for way in state.ways):
            return  # what came before it is acknowledged first
        for to in raw.to:
            record = self._log_record(raw, at, to)
            yield Reading(script, record), self._appended(state._replace(read=read), script, record), None

    def _appended(self, state: State, script: int, record: int) -> State:
        to = self._home_of(self._records[record].to)
        ways = {(way[0], way[1]): way[2] for way in state.ways}
        ways[-1 - script, to] = (*ways.get((-1 - script, to), ()), record)
        return state._replace(ways=_in_order(ways))

    def _deaths(self, state: State, script: int, read: int) -> Iterator[tuple[Label, State, str | None]]:
        under_way = {at: records for by, at, records in state.ways if by == -1 - script}
        for since in range(read):
            again = (*state.read[:script], since, *state.read[script + 1 :])
            loose = {at: [r for r in records if self._raw[r][1] >= since] for at, records in under_way.items()}
            unsure = [at for at, records in loose.items() if records]
            # What was acknowledged stands in its log before anything that comes late.
            fates = [_FATES if loose[at] == list(under_way[at]) else _FATES[:2] for at in unsure]
            for drawn in product(*fates):
                ways = {(way[0], way[1]): way[2] for way in state.ways}
                for at, fate in zip(unsure, drawn, strict=True):
                    if fate != "comes":
                        ways[-1 - script, at] = under_way[at][: -len(loose[at])]
                    if fate == "comes late":
                        late = (-_LATE - script, at)
                        ways[late] = (*ways.get(late, ()), *loose[at])
                after = state._replace(ways=_in_order(ways), read=again, crashes=state.crashes - 1)
                yield Death(script, since, tuple(zip(unsure, drawn, strict=True))), after, None

    def _log_record(self, raw: RawRecord, at: int, to: Entity) -> int:
        place = raw.place
        by_hint = isinstance(raw.message, InteractionEvent)
        origin = None if by_hint else Origin(raw.stream, place.partition, place.offset, 0)
        record = LogRecord(to, raw.message, place, raw.stamp_ms, origin)
        number = self._records.number(canonical(record), record)
        self._raw[number] = (raw, at)
        return number

    def _home_of(self, entity: Entity) -> int:
        return self._places.index(home(entity, self._partitions))

    def _decide(self, at: int, number: int) -> _Decided:
        decided = self._decided.get((at, number))
        if decided is None:
            decided = self._decided[at, number] = self._decide_first(self._homes[at], number, at)
        return decided

    def _decide_first(self, here: _Home, number: int, at: int) -> _Decided:
        record = self._records[number]
        rows = self._rows_of(here)
        head = Head(here.log_time_ms, dict(here.watermarks))
        try:
            decision, changes = decide_loading(rows, head, record, offset=here.opened)
        except Exception as error:  # noqa: BLE001 - whatever it is, it would stop a worker
            return _Decided(at, (), Decision(here.log_time_ms), f"{type(error).__name__}: {error}")
        after = dict(here.rows)
        for key, row in changes.items():
            if row is None:
                after.pop(key, None)
            else:
                after[key] = self._rows.number(canonical(row), row)
        if record.origin is not None:
            origin = record.origin
            highest = head.watermarks.get((origin.stream, origin.partition), (-1, 0))
            head.watermarks[origin.stream, origin.partition] = max(highest, (origin.offset, origin.nth))
        opened = here.opened + sum(isinstance(event, Opened) for event in decision.events)
        moved = _Home(after, decision.log_time_ms, tuple(sorted(head.watermarks.items())), opened)
        sends = []
        for send in decision.sends:
            sent = LogRecord(send.to, send.message, record.cause, decision.log_time_ms)
            sends.append((self._home_of(send.to), self._records.number(canonical(sent), sent)))
        told_by = (frozenset(after.items()), *moved[1:])
        wrong = wrong_events(rows, decision, changes) or self._wrong_refusal(record, decision.refusal)
        return _Decided(self._homes.number(told_by, moved), tuple(sends), decision, wrong)

    def _rows_of(self, here: _Home) -> dict[RowKey, Row]:
        return {key: self._rows[number] for key, number in here.rows.items()}

    def _wrong_refusal(self, record: LogRecord, refusal: Refusal | None) -> str | None:
        if refusal is None:
            return None
        raw = next(raw for raw, _ in self._raw.values() if raw.place == record.cause)
        return None if raw.may_be_refused else f"refused, {refusal.code}: {_brief(raw.message)}"

    def wrong(self, state: State, way: Callable[[], list[Label]]) -> str | None:
        """Look at what has to hold at any time, and, once nothing is under way, at everything."""
        held = [self._held_by_home(number) for number in state.homes]
        carried = [self._carried_by(number) for _, _, records in state.ways for number in records]
        wrong = wrong_places(held, carried)
        if wrong is None and not state.ways and (self._told_all(state) or state.crashes == self._crashes):
            faults = faults_at_rest(self._world(state, way()))
            wrong = "; ".join(faults) or self._wrong_owner(state)
        return wrong

    def _wrong_owner(self, state: State) -> str | None:
        """Return which address is not whose it should be in the end."""
        if state.phase + 1 < len(self._written.phases) or not self._told_all(state):
            return None
        for name, owner in self._owners.items():
            here = self._homes[state.homes[self._home_of(entity(name))]]
            row = self._rows_of(here).get(endpoint_key(TENANT, party(name)))
            if not isinstance(row, Endpoint) or row.owner != owner:
                return f"{name} should be {owner}'s, and is {row}"
        return None

    def _held_by_home(self, number: int) -> Held:
        held = self._held.get(number)
        if held is None:
            rows = self._rows_of(self._homes[number])
            entries = [
                key.field for key, row in rows.items() if isinstance(row, Entry) and row.to is None and row.interaction
            ]
            conversations = [row for row in rows.values() if isinstance(row, Conversation)]
            held = self._held[number] = held_in(conversations, entries)
        return held

    def _carried_by(self, number: int) -> Held:
        carried = self._carried.get(number)
        if carried is None:
            parts = parts_of(self._records[number])
            fields = [field for part in parts for field in part.entries]
            rows = {part.conversation.conversation_id: part.conversation for part in parts}
            carried = self._carried[number] = held_in(rows.values(), fields)
        return carried

    def _world(self, state: State, way: list[Label]) -> ConcurrentWorld:
        """Return the world as it stands, with all that was told on the way."""
        world = ConcurrentWorld(seed=0, policy=Policy(), partitions=self._partitions)
        for place, number in zip(self._places, state.homes, strict=True):
            world.homes[place].rows |= self._rows_of(self._homes[number])
        read = [self._raw[each.record][0] for each in way if isinstance(each, Reading)]
        given = [*self._written.first, *read]
        world.given = [Given(raw.to[0], raw.message, raw.stream, raw.place) for raw in given]
        arrivals = [(each.home, each.record) for each in (*self._first, *way) if isinstance(each, Arrival)]
        for at, number in arrivals:
            record, decision = self._records[number], self._decided[at, number].decision
            told = [event for event in decision.events if not isinstance(event, RowPut | RowGone)]
            world.seen += [Seen(event, TENANT, decision.log_time_ms, record.cause) for event in told]
            world.refusals += [] if decision.refusal is None else [decision.refusal]
        return world

    def tell(self, label: Label) -> str:
        """Return a step in words."""
        match label:
            case Arrival():
                record = self._records[label.record]
                return f"{self._name(label.by)} → {record.to.kind} {record.to.key}: {_brief(record.message)}"
            case Reading():
                record = self._records[label.record]
                return f"{self._name(-1 - label.script)} reads, for {record.to.kind} {record.to.key}: {_brief(record.message)}"
            case Death():
                fates = ", ".join(f"what was for {self._name(at)} {fate}" for at, fate in label.fates)
                return f"{self._name(-1 - label.script)} dies and reads again from its record {label.since}; {fates}"
            case NextPhase():
                return "all of it is over; the next begins"

    def _name(self, at: int) -> str:
        if at < 0:
            return f"intake {-1 - at}" if at > -_LATE else f"the dead intake {-_LATE - at}"
        return " and ".join(
            f"{each.kind} {each.key}".strip() for each in self._written.entities if self._home_of(each) == at
        )


def _apart(entities: Sequence[Entity]) -> int:
    """Return a number of partitions with which none of the entities shares one."""
    return next(n for n in count(1) if len({home(each, n) for each in entities}) == len(entities))


def _in_order(ways: Mapping[tuple[int, int], tuple[int, ...]]) -> tuple[Way, ...]:
    return tuple(sorted((by, at, records) for (by, at), records in ways.items() if records))


def _brief(message: Message) -> str:
    """Return what a message says, but for what is as usual."""
    if isinstance(message, InteractionEvent):
        asked = f", asked {', '.join(message.asked)}" if message.asked else ""
        return f"call {message.interaction.interaction_id} {message.interaction.status}{asked}"
    told = []
    for each in fields(message):
        value = getattr(message, each.name)
        if each.name == "carried":
            parts = value if isinstance(value, tuple) else (value,)
            value = {part.conversation.conversation_id[:8]: len(part.entries) for part in parts}
        elif each.name == "index":
            value = len(value)
        if value not in (None, (), {}, 0, each.default):
            told.append(f"{each.name}={value}")
    return f"{type(message).__name__}({', '.join(told)})"
