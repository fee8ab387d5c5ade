"""The internal log once more: decided anew, in memory, and written for a router that is to start from it.

Which record stands where, and why that gives the same bytes: docs/decisions/0009-replay-of-the-internal-log.md.
"""

from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from interaction_router.application.differences import Comparison
from interaction_router.application.outcomes import OUTCOMES, Counting, is_whole, read_range
from interaction_router.application.replay_rows import AllBuckets, AllRows
from interaction_router.application.views import LOG
from interaction_router.domain.decide import decide, repeats
from interaction_router.domain.errors import FatalError
from interaction_router.domain.events import Decision, Outcome
from interaction_router.domain.ids import Entity, Place, home
from interaction_router.domain.messages import LogRecord, Origin, Send, can_be_refused
from interaction_router.domain.rows import Conversation, Head
from interaction_router.ports import Log, Outgoing, Received
from interaction_router.wire.codec import decode_log_record, decode_outcome, encode_log_record

REPLAYED_FROM: Final = "replayed_from"
Spot = tuple[int, int]
"""A partition and an offset."""
SendKey = tuple[int, int]
"""The offset of a record and which send of it."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A record on its way between two partitions; `placed` where the first log has one that it stands for."""

    key: SendKey
    record: LogRecord
    placed: bool


@dataclass(slots=True)
class _Home:
    """A partition as the replay has it so far."""

    rows: AllRows = field(default_factory=AllRows)
    head: Head = field(default_factory=Head)
    next: int = 0


class _Lane:
    """A partition of the log that is read, with its outcomes beside it."""

    def __init__(self, log: Log, partition: int, end: int) -> None:
        self.partition = partition
        self.position = 0
        self.log_time_ms = 0
        self._records = _records(log, partition, end)
        self._outcomes = _outcomes(log, partition)
        self._head: LogRecord | None = None
        self._outcome: Outcome | None = None

    async def head(self) -> LogRecord | None:
        """Return the next record, which stays the next until it is taken; None at the end."""
        if self._head is None:
            received = await anext(self._records, None)
            if received is None:
                return None
            if received.offset != self.position:
                raise FatalError(
                    "log_trimmed",
                    f"Partition {self.partition} of {LOG} has no record {self.position}, but {received.offset}.",
                    "Without its beginning the log decides otherwise: it can only be replayed whole.",
                )
            self._head = decode_log_record(received.value or b"", received.headers, arrived_ms=received.timestamp)
        return self._head

    def time_ms(self) -> int:
        """Return the log time of the next record."""
        return self.log_time_ms if self._head is None else max(self.log_time_ms, self._head.stamp_ms or 0)

    async def take(self) -> "_Taken":
        """Go behind the next record; return it, stamped with its log time, and its outcome where it has one yet."""
        record, self._head = self._head, None
        assert record is not None, "`head` has told that there is one"
        self.log_time_ms = max(self.log_time_ms, record.stamp_ms or 0)
        place = Place(LOG, self.partition, self.position)
        self.position += 1
        if self._outcome is None:
            self._outcome = await anext(self._outcomes, None)
        outcome = self._outcome
        if outcome is None or outcome.offset > place.offset:  # not decided yet, or no longer kept
            trimmed = outcome is not None
            outcome = None
        else:
            trimmed, self._outcome = False, None
        stamped = replace(record, stamp_ms=self.log_time_ms, cause=record.cause or place)
        return _Taken(place, stamped, outcome, trimmed)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A record of the first log, where it stands there, and what was decided of it.

    `live` is None where nothing was decided yet, or where that is no longer kept: `trimmed`.
    """

    place: Place
    record: LogRecord
    live: Outcome | None
    trimmed: bool


@dataclass(frozen=True, slots=True)
class ReplayScope:
    """How much of the log is replayed: up to a log time, of one tenant; None is all."""

    until_ms: int | None = None
    tenant: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the log, so that another router can go on from it."""
        return self.until_ms is None and self.tenant is None


@dataclass(frozen=True, slots=True)
class Replaced:
    """A record of the second log: on which partition it stands, as it is appended, and what was decided of it."""

    partition: int
    record: Outgoing
    outcome: Outcome


@dataclass(slots=True)
class Replayed:
    """What a replay has come to. `left_out` are records of the log behind where it ends."""

    read: int = 0
    written: int = 0
    left_out: int = 0
    by_partition: dict[int, int] = field(default_factory=lambda: defaultdict(int))


class LogReplay:
    """Reads the log of one router, and puts it in order for another with as many partitions or a multiple."""

    def __init__(
        self,
        log: Log,
        *,
        namespace: str,
        partitions: tuple[int, int],
        lineages: tuple[str, str],
        scope: ReplayScope,
        comparison: Comparison,
    ) -> None:
        """`partitions` and `lineages`, as the origins of sends have them, are those of the two logs.

        Raises:
            FatalError: `partitions_mixed`: the second number is no multiple of the first.
        """
        self._log = log
        self._namespace = namespace
        self._from, self._to = partitions
        if self._to % self._from:
            cause = f"{self._to} partitions cannot be made of {self._from}: records would pass each other."
            raise FatalError("partitions_mixed", cause, f"Take {self._from}, {2 * self._from}, {3 * self._from} …")
        self._streams = (f"{LOG}/{lineages[0]}", f"{LOG}/{lineages[1]}")
        self._scope = scope
        self.comparison = comparison
        self._homes = [_Home() for _ in range(self._to)]
        self._waiting: dict[Spot, deque[_Sent]] = defaultdict(deque)
        self._unplaced: deque[Spot] = deque()
        self._moved: dict[Spot, Spot] = {}
        self.found = Replayed()

    async def run(self) -> AsyncGenerator[Replaced, None]:
        """Yield the records of the second log, none before that which it was sent by; compare as it goes."""
        lanes = [
            _Lane(self._log, partition, (await self._log.bounds(LOG, partition)).end) for partition in range(self._from)
        ]
        while True:
            ready = [lane for lane in lanes if self._is_ready(lane, lanes, await lane.head())]
            if not ready:
                break
            for each in self._take(await min(ready, key=_Lane.time_ms).take()):
                yield self._counted(each)
        for lane in lanes:
            while await lane.head() is not None:
                self.found.left_out += 1
                await lane.take()
        for each in self._sent_last():
            yield self._counted(each)

    def conversations(self) -> Iterator[Conversation]:
        """Yield every conversation as it stands."""
        for at in self._homes:
            for key in at.rows:
                row = at.rows[key]
                if isinstance(row, Conversation):
                    yield row

    def _counted(self, replaced: Replaced) -> Replaced:
        self.found.written += 1
        self.found.by_partition[replaced.partition] += 1
        return replaced

    def _is_ready(self, lane: _Lane, lanes: list[_Lane], record: LogRecord | None) -> bool:
        """Tell whether what the next record comes from was taken before, and whether the replay goes so far."""
        until = self._scope.until_ms
        if record is None or (until is not None and lane.time_ms() >= until):
            return False
        origin = record.origin
        if origin is None or not origin.stream.startswith(f"{LOG}/"):
            return True
        if origin.stream != self._streams[0]:
            cause = f"Record {lane.position} of partition {lane.partition} comes from another internal log."
            raise FatalError("log_of_another", cause, "A topic was made anew beneath the router.")
        return origin.offset < lanes[origin.partition].position

    def _take(self, taken: _Taken) -> list[Replaced]:
        """Return what stands for a record in the second log, and what comes of it there that has no place."""
        self.found.read += 1
        record, live, place = taken.record, taken.live, taken.place
        if self._scope.tenant not in {None, record.to.tenant} and record.to.tenant:
            return []
        found: list[Replaced] = []
        for each in self._in_place(place.partition, record):
            replaced = self._decide(each, place, None if live is None else live.decision)
            found.append(replaced)
            if replaced.outcome.decision.sends:
                self._moved[place.partition, place.offset] = (replaced.partition, replaced.outcome.offset)
        before = None if live is None else (place.partition, live)
        if taken.trimmed:
            self.comparison.uncompared += 1
        else:
            self.comparison.take(before, [(each.partition, each.outcome) for each in found])
        return [*found, *self._sent_without_place()]

    def _in_place(self, partition: int, record: LogRecord) -> Iterator[LogRecord]:
        """Yield the records that stand where one stood: those of its kind by where it comes from."""
        origin = record.origin
        if record.to.kind == "partition":
            yield from self._of_partition(partition, record)
        elif origin is not None and origin.stream == self._streams[0]:
            yield from self._sent(record, origin)
        else:
            yield record

    def _of_partition(self, partition: int, record: LogRecord) -> Iterator[LogRecord]:
        """A policy, a tick and the like are for each partition that was made of one: it does what is its own."""
        for at in range(partition, self._to, self._from):
            yield replace(record, to=Entity(record.to.tenant, "partition", str(at)))

    def _sent(self, record: LogRecord, origin: Origin) -> Iterator[LogRecord]:
        """Yield what was sent anew in the place of what was sent; before it, what else came that way meanwhile."""
        moved = self._moved.get((origin.partition, origin.offset))
        if moved is None:  # what it came from sends nothing now
            return
        at, offset = moved
        key = (offset, origin.nth)
        to = home(record.to, self._to)
        highest = self._homes[to].head.watermarks.get((self._streams[1], at), (-1, -1))
        if key <= highest:
            yield replace(record, origin=Origin(self._streams[1], at, *key))
            return
        waiting = self._waiting[at, to]
        while waiting and waiting[0].key <= key:
            sent = waiting.popleft()
            yield replace(sent.record, stamp_ms=record.stamp_ms) if sent.key == key else sent.record
        if waiting and not waiting[0].placed:
            self._unplaced.append((at, to))

    def _decide(self, record: LogRecord, place: Place | None, live: Decision | None) -> Replaced:
        """Decide a record at the end of its home; what it sends waits for its place.

        `place` is where it stood, and `live` what was decided there: what that has not sent has no place to wait for.
        """
        partition = home(record.to, self._to)
        at = self._homes[partition]
        decision, changes = decide(at.rows, AllBuckets(at.rows), at.head, record, offset=at.next)
        origin = None if repeats(at.head, record) else record.origin
        at.head.log_time_ms = decision.log_time_ms
        if origin is not None:
            at.head.watermarks[origin.stream, origin.partition] = (origin.offset, origin.nth)
        at.rows.change(changes)
        raw = record.raw if decision.refusal is not None or decision.sends else None
        outcome = Outcome(at.next, 0, at.next, record.to.tenant, record.cause, origin, record.trace, decision, raw)
        at.next += 1
        expected = () if place is None else decision.sends if live is None else live.sends
        self._wait(partition, outcome, expected)
        return Replaced(partition, self._marked(record, place), outcome)

    def _wait(self, partition: int, outcome: Outcome, expected: Sequence[Send]) -> None:
        decision = outcome.decision
        for nth, send in enumerate(decision.sends):
            sent = LogRecord(
                send.to,
                send.message,
                outcome.cause,
                decision.log_time_ms,
                Origin(self._streams[1], partition, outcome.offset, nth),
                outcome.trace,
                outcome.raw if can_be_refused(send.message) else None,
            )
            placed = nth < len(expected) and expected[nth].to == send.to
            way = (partition, home(send.to, self._to))
            self._waiting[way].append(_Sent((outcome.offset, nth), sent, placed))
            if not placed:
                self._unplaced.append(way)

    def _sent_without_place(self) -> Iterator[Replaced]:
        """Decide at once what was sent and has no place, unless something before it on its way still waits for its."""
        while self._unplaced:
            waiting = self._waiting[self._unplaced.popleft()]
            while waiting and not waiting[0].placed:
                yield self._decided_late(waiting.popleft())

    def _sent_last(self) -> Iterator[Replaced]:
        """Decide what still waits where the first log ends, and what comes of it."""
        going = True
        while going:
            going = False
            for waiting in list(self._waiting.values()):
                while waiting:
                    going = True
                    yield self._decided_late(waiting.popleft())

    def _decided_late(self, sent: _Sent) -> Replaced:
        late = self._decide(sent.record, None, None)
        self.comparison.beyond(late.partition, late.outcome)
        return late

    def _marked(self, record: LogRecord, place: Place | None) -> Outgoing:
        made = encode_log_record(record)
        if place is None:
            return made
        mark = f"{self._namespace}.{place.stream}/{place.partition}@{place.offset}".encode()
        return made._replace(headers=(*made.headers, (REPLAYED_FROM, mark)))


async def _records(log: Log, partition: int, end: int) -> AsyncIterator[Received]:
    async for records in read_range(log, LOG, partition, 0, end):
        for record in records:
            yield record


async def _outcomes(log: Log, partition: int) -> AsyncIterator[Outcome]:
    """Yield the outcomes that count; where a snapshot has let the first of them go, from the first that is kept."""
    first, end = await log.bounds(OUTCOMES, partition)
    counting = Counting(-1) if first == 0 else None
    async for records in read_range(log, OUTCOMES, partition, first, end):
        if counting is None:
            counting = _counting_from(records)
        if counting is not None:
            for outcome, _ in counting.count(records):
                yield outcome


def _counting_from(records: Sequence[Received]) -> Counting | None:
    """Return what counts from the first outcome on that stands where it was meant to."""
    for record in filter(is_whole, records):
        outcome = decode_outcome(record.value or b"", record.headers)
        if outcome.expected == record.offset:
            return Counting(outcome.offset - 1)
    return None
