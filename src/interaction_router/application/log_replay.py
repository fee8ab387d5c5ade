"""The internal log once more: decided anew, in memory, and written for a router that is to start from it.

Which record stands where, and why that gives the same bytes: docs/decisions/0009-replay-of-the-internal-log.md.
"""

from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from interaction_router.application.differences import Comparison
from interaction_router.application.replay_lanes import Lane, Taken
from interaction_router.application.replay_rows import Home, sent_records
from interaction_router.application.replay_scope import ReplaySelection
from interaction_router.application.views import LOG
from interaction_router.domain.errors import FatalError
from interaction_router.domain.events import Decision, Outcome
from interaction_router.domain.ids import Entity, Place, home
from interaction_router.domain.messages import LogRecord, Origin, Send
from interaction_router.domain.rows import Conversation
from interaction_router.ports import Log, Outgoing
from interaction_router.wire.codec import encode_log_record

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


@dataclass(frozen=True, slots=True)
class Replaced:
    """A record of the second log: on which partition it stands, as it is appended, and what was decided of it."""

    partition: int
    record: Outgoing
    outcome: Outcome


@dataclass(slots=True)
class Replayed:
    """What a replay has come to.

    `left_out` are records of the log behind where it ends, `sends_left_out` what is sent now to homes that are not
    replayed, `refused` are raw records that intake would not take.
    """

    read: int = 0
    written: int = 0
    left_out: int = 0
    sends_left_out: int = 0
    refused: int = 0


class LogReplay:
    """Reads the log of one router, and puts it in order for another with as many partitions or a multiple."""

    def __init__(
        self,
        log: Log,
        *,
        namespace: str,
        partitions: tuple[int, int],
        lineages: tuple[str, str],
        selection: ReplaySelection,
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
        self._selection = selection
        self.comparison = comparison
        self._homes = [Home() for _ in range(self._to)]
        self._waiting: dict[Spot, deque[_Sent]] = defaultdict(deque)
        self._unplaced: deque[Spot] = deque()
        self._moved: dict[Spot, Spot] = {}
        self.found = Replayed()

    async def run(self) -> AsyncGenerator[Replaced, None]:
        """Yield the records of the second log, none before that which it was sent by; compare as it goes."""
        lanes = [
            Lane(self._log, partition, (await self._log.bounds(LOG, partition)).end) for partition in range(self._from)
        ]
        while True:
            ready = [lane for lane in lanes if self._is_ready(lane, lanes, await lane.head())]
            if not ready:
                break
            for each in self._take(await min(ready, key=Lane.time_ms).take()):
                yield self._counted(each)
        for lane in lanes:
            while await lane.head() is not None:
                self.found.left_out += 1
                await lane.take()
        for each in self._sent_last():
            yield self._counted(each)

    @property
    def partitions(self) -> int:
        """How many the second log has."""
        return len(self._homes)

    def conversations(self) -> Iterator[Conversation]:
        """Yield every conversation as it stands."""
        for at in self._homes:
            for key in at.rows:
                row = at.rows[key]
                if isinstance(row, Conversation):
                    yield row

    def _counted(self, replaced: Replaced) -> Replaced:
        self.found.written += 1
        return replaced

    def _is_ready(self, lane: Lane, lanes: list[Lane], record: LogRecord | None) -> bool:
        """Tell whether what the next record comes from was taken before, and whether the replay goes so far."""
        until = self._selection.scope.until_ms
        if record is None or (until is not None and lane.time_ms() >= until):
            return False
        origin = record.origin
        if origin is None or not origin.stream.startswith(f"{LOG}/"):
            return True
        if origin.stream != self._streams[0]:
            cause = f"Record {lane.position} of partition {lane.partition} comes from another internal log."
            raise FatalError("log_of_another", cause, "A topic was made anew beneath the router.")
        return origin.offset < lanes[origin.partition].position

    def _take(self, taken: Taken) -> list[Replaced]:
        """Return what stands for a record in the second log, and what comes of it there that has no place."""
        self.found.read += 1
        record, live, place = taken.record, taken.live, taken.place
        if not self._selection.has(record.to, record.message):
            return []
        found: list[Replaced] = []
        for each in self._in_place(place.partition, record):
            replaced = self._decide(each, place, None if live is None else live.decision)
            found.append(replaced)
            if replaced.outcome.decision.sends:
                self._moved[place.partition, place.offset] = (replaced.partition, replaced.outcome.offset)
        before = None if live is None else (place.partition, self._selection.part_of(record.to, live))
        if taken.trimmed:
            self.comparison.uncompared += 1
        elif self._selection.compares(place, record.stamp_ms or 0):
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
        outcome, _ = self._homes[partition].decide(record, place)
        decision = outcome.decision
        expected = () if place is None else decision.sends if live is None else live.sends
        self._wait(partition, outcome, expected)
        return Replaced(partition, self._marked(record, place), outcome)

    def _wait(self, partition: int, outcome: Outcome, expected: Sequence[Send]) -> None:
        for nth, sent in enumerate(sent_records(outcome, self._streams[1], partition)):
            if not self._selection.has(sent.to, sent.message):
                self.found.sends_left_out += 1
                continue
            placed = nth < len(expected) and expected[nth].to == sent.to
            way = (partition, home(sent.to, self._to))
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
