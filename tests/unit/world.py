"""Homes in memory: every record of the internal log is decided, every send arrives, in an order that a test chooses."""

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from interaction_router.domain.assign import at_contact
from interaction_router.domain.decide import decide, first_rows, next_rows, repeats
from interaction_router.domain.events import (
    AliasMade,
    Conflicted,
    Decision,
    Event,
    Refusal,
    RowGone,
    RowPut,
)
from interaction_router.domain.ids import Entity, Place, home
from interaction_router.domain.messages import InteractionEvent, LogRecord, Message, Origin, Tick, can_be_refused
from interaction_router.domain.rows import POLICY, Conversation, Head, Policy, Row, RowKey
from interaction_router.domain.timers import due_at_ms
from interaction_router.domain.turn import NotLoaded, Turn

START_MS = 1_790_000_000_000
MOST_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class Seen:
    """An event that subscribers hear of, with the place of its cause."""

    event: Event
    tenant: str
    at_ms: int
    cause: Place | None


@dataclass(slots=True)
class Home:
    """One partition: its rows, its head, its log and how far it is decided."""

    rows: dict[RowKey, Row] = field(default_factory=dict)
    head: Head = field(default_factory=Head)
    log: list[LogRecord] = field(default_factory=list)
    next: int = 0
    decisions: list[Decision] = field(default_factory=list)


class World:
    """Homes that talk to each other; without a seed each record is followed to its end before the next."""

    def __init__(self, *, partitions: int = 4, seed: int | None = None, policy: Policy | None = None) -> None:
        self.homes = [Home() for _ in range(partitions)]
        self.random = None if seed is None else Random(seed)
        self.now_ms = START_MS
        self.seen: list[Seen] = []
        self.refusals: list[Refusal] = []
        self._ways: dict[tuple[int, int], deque[LogRecord]] = defaultdict(deque)
        self._offset = 0
        for each in self.homes:
            if policy is not None:
                each.rows[POLICY] = policy

    def give(self, to: Entity, message: Message, *, stream: str = "interactions.sms.v1", repeat: bool = False) -> None:
        """Append a raw record's message, as intake does."""
        if not repeat:
            self._offset += 1
        cause = Place(stream, 0, self._offset)
        at = home(to, len(self.homes))
        self._ways[-1, at].append(LogRecord(to, message, cause, self.now_ms))

    def tell(self, to: Entity, message: Message, *, stream: str = "interactions.sms.v1") -> None:
        """Give, and follow it to the end."""
        self.give(to, message, stream=stream)
        self.settle()

    def settle(self) -> None:
        """Let everything arrive and be decided."""
        for _ in range(MOST_STEPS):
            steps: list[tuple[int, int] | int] = [way for way, waiting in self._ways.items() if waiting]
            steps += [at for at, each in enumerate(self.homes) if each.next < len(each.log)]
            if not steps:
                return
            step = steps[0] if self.random is None else self.random.choice(steps)
            if isinstance(step, int):
                self._decide(step)
            else:
                self.homes[step[1]].log.append(self._ways[step].popleft())
        raise AssertionError("something is sent round for ever")

    def tick(self) -> None:
        """Do what the owners do: a tick in each partition that has something due."""
        for at, each in enumerate(self.homes):
            policy = each.rows.get(POLICY)
            due: dict[str, list[str]] = defaultdict(list)
            for row in each.rows.values():
                if not isinstance(row, Conversation):
                    continue
                when = due_at_ms(row, policy if isinstance(policy, Policy) else Policy())
                if when is not None and when <= self.now_ms:
                    due[row.tenant].append(row.conversation_id)
            for tenant, conversations in due.items():
                to = Entity(tenant, "partition", str(at))
                each.log.append(LogRecord(to, Tick(tuple(conversations)), None, self.now_ms))
        self.settle()

    def _decide(self, at: int) -> None:
        here = self.homes[at]
        offset, record = here.next, here.log[here.next]
        decision, changes = decide_loading(here.rows, here.head, record, offset=offset)
        here.next += 1
        for key, row in changes.items():
            if row is None:
                here.rows.pop(key, None)
            else:
                here.rows[key] = row
        here.head.log_time_ms = decision.log_time_ms
        if record.origin is not None:
            origin = record.origin
            here.head.watermarks[origin.stream, origin.partition] = (origin.offset, origin.nth)
        here.decisions.append(decision)
        public = [event for event in decision.events if not isinstance(event, RowPut | RowGone)]
        self.seen += [Seen(event, record.to.tenant, decision.log_time_ms, record.cause) for event in public]
        if decision.refusal is not None:
            assert can_be_refused(record.message), "there is no raw record for the dead letter"
            self.refusals.append(decision.refusal)
        for nth, send in enumerate(decision.sends):
            origin = Origin("internal.log", at, offset, nth)
            sent = LogRecord(send.to, send.message, record.cause, decision.log_time_ms, origin)
            self._ways[at, home(send.to, len(self.homes))].append(sent)

    def conversations(self) -> dict[str, Conversation]:
        """Return every conversation where it lives."""
        rows = (row for each in self.homes for row in each.rows.values())
        return {row.conversation_id: row for row in rows if isinstance(row, Conversation)}

    def events(self, kind: type[Event] | None = None) -> list[Event]:
        """Return the events that subscribers hear of."""
        return [each.event for each in self.seen if kind is None or isinstance(each.event, kind)]

    def of(self, conversation_id: str) -> list[Event]:
        """Return a conversation's events in their order."""
        found = (event for event in self.events() if not isinstance(event, Conflicted | AliasMade | RowPut | RowGone))
        return [event for event in found if event.now.conversation_id == conversation_id]


def decide_loading(
    rows: Mapping[RowKey, Row], head: Head, record: LogRecord, *, offset: int
) -> tuple[Decision, Mapping[RowKey, Row | None]]:
    """Decide with only those rows loaded that are asked for, as a worker does."""
    loaded: dict[RowKey, Row | None] = {POLICY: rows.get(POLICY)}
    buckets: dict[str, tuple[str, ...]] = {}
    for key in first_rows(record):
        loaded[key] = rows.get(key)
        loaded |= {each: rows.get(each) for each in next_rows(loaded[key])}
    while True:
        try:
            decision, changes = decide(loaded, buckets, head, record, offset=offset)
        except NotLoaded as missing:
            loaded |= {key: rows.get(key) for key in missing.keys}
            if missing.bucket is not None:
                found = {key: row for key, row in rows.items() if key.bucket == missing.bucket}
                loaded |= found
                buckets[missing.bucket] = tuple(key.field for key in found)
        else:
            _check_short_way(loaded, head, record, decision, changes, offset=offset)
            return decision, changes


def _check_short_way(
    rows: Mapping[RowKey, Row | None],
    head: Head,
    record: LogRecord,
    decision: Decision,
    changes: Mapping[RowKey, Row | None],
    *,
    offset: int,
) -> None:
    """See that what most records take as a short way ends where the long one does."""
    message = record.message
    if not isinstance(message, InteractionEvent) or record.to.kind != "contact" or repeats(head, record):
        return
    turn = Turn(rows, {}, record, offset=offset, log_time_ms=decision.log_time_ms)
    at_contact(turn, message)
    assert Decision(turn.log_time_ms, tuple(turn.events), tuple(turn.sends), turn.refusal) == decision
    assert turn.changes == changes
