"""The raw topics once more: read by the settings of now, and decided in memory, in the order of their stamps.

What that can show and what not: docs/decisions/0009-replay-of-the-internal-log.md.
"""

import heapq
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from interaction_router.application.differences import LooseComparison
from interaction_router.application.intake import RawReading
from interaction_router.application.log_replay import Replaced, Replayed
from interaction_router.application.reading import Lane, all_by_stamp
from interaction_router.application.replay_lanes import Lane as LogLane
from interaction_router.application.replay_rows import Home, sent_records
from interaction_router.application.views import LOG
from interaction_router.domain.errors import FatalError, RejectedError
from interaction_router.domain.ids import Entity, Place, home
from interaction_router.domain.messages import LogRecord, Message, PolicySet, Tick
from interaction_router.domain.rows import Conversation, Policy, Row, RowKey, conversation_key
from interaction_router.domain.timers import due_at_ms
from interaction_router.ports import Log, Outgoing, Received
from interaction_router.wire.codec import encode_log_record
from interaction_router.wire.times import spell_time


@dataclass(frozen=True, slots=True)
class Unread:
    """A dead letter of a raw record that cannot be taken, and the partition that it is written to."""

    partition: int
    letter: Outgoing


async def raw_ranges(log: Log, streams: Iterable[str], ends: Mapping[Lane, int]) -> dict[Lane, tuple[int, int]]:
    """Return the offsets of the raw records before `ends`; of all that there are, where it is empty.

    Raises:
        FatalError: `inputs_trimmed`: the first of them are no longer kept; `range_empty`: there are none.
    """
    ranges: dict[Lane, tuple[int, int]] = {}
    for stream in streams:
        for partition in range(await log.partitions(stream)):
            end = await _end_of_whole(log, stream, partition)
            ranges[stream, partition] = (0, ends.get((stream, partition), 0) if ends else end)
    if not any(end for _, end in ranges.values()):
        raise FatalError("range_empty", "There is no raw record that intake has taken.", "Check the namespace.")
    return ranges


async def _end_of_whole(log: Log, stream: str, partition: int) -> int:
    first, end = await log.bounds(stream, partition)
    if first == 0:
        return end
    kept = next(iter(await log.read(stream, partition, first, limit=1)), None)
    since = "" if kept is None else f", of {spell_time(kept.timestamp)}"
    cause = f"Partition {partition} of {stream} begins at {first}{since}: what was before it is no longer kept."
    raise FatalError("inputs_trimmed", cause, "Replay the internal log, which has all of it.")


class RawReplay:
    """Reads the raw records of a router, and decides them for another; has the shape of a `LogReplay`."""

    def __init__(
        self,
        log: Log,
        reading: RawReading,
        *,
        partitions: int,
        lineage: str,
        policy: Policy,
        comparison: LooseComparison,
    ) -> None:
        """`partitions` and `lineage`, as the origins of sends have it, are those of the second log."""
        self._log = log
        self._reading = reading
        self._policy = policy
        self._stream = f"{LOG}/{lineage}"
        self._homes = [Home() for _ in range(partitions)]
        self._due: list[tuple[int, str]] = []
        self.comparison = comparison
        self.found = Replayed()

    async def run(
        self, ranges: Mapping[Lane, tuple[int, int]], *, until_ms: int
    ) -> AsyncGenerator[Replaced | Unread, None]:
        """Yield the records of the second log, none before that which it was sent by; idle closing goes on to `until_ms`.

        Raises:
            FatalError: `inputs_trimmed`: what was to be read was removed meanwhile.
        """
        for partition in range(len(self._homes)):
            for each in self._decide_all(self._of_partition("", partition, PolicySet(self._policy), 0)):
                yield each
        async for (stream, partition), record in all_by_stamp(self._log, ranges):
            self.found.read += 1
            for each in self._idle(record.timestamp):
                yield each
            for made in self._taken(Place(stream, partition, record.offset), record):
                yield made
        for lane in ranges:
            await _end_of_whole(self._log, *lane)
        for each in self._idle(until_ms):
            yield each

    async def compare(self) -> None:
        """Read what the first router has told."""
        for partition in range(await self._log.partitions(LOG)):
            lane = LogLane(self._log, partition, (await self._log.bounds(LOG, partition)).end)
            while await lane.head() is not None:
                taken = await lane.take()
                if taken.live is not None:
                    self.comparison.live(partition, taken.live)
                elif taken.trimmed:
                    self.comparison.uncompared += 1
                else:
                    self.comparison.undecided += 1

    @property
    def partitions(self) -> int:
        """How many the second log has."""
        return len(self._homes)

    def conversations(self) -> Iterator[Conversation]:
        """Yield every conversation as it stands."""
        for at in self._homes:
            for row in at.rows.values():
                if isinstance(row, Conversation):
                    yield row

    def _taken(self, place: Place, record: Received) -> Iterator[Replaced | Unread]:
        """Take a raw record as intake does, without its hints: an interaction goes to its endpoint first."""
        read = self._reading.interaction if place.stream in self._reading.interactions else self._reading.other
        try:
            to, message = read(place.stream, record)
        except RejectedError as error:
            self.found.refused += 1
            yield Unread(place.partition % len(self._homes), self._reading.letter(place, record, error))
            return
        made = self._reading.log_record(place, record, to, message)
        yield from self._decide_all(replace(made, stamp_ms=record.timestamp))

    def _idle(self, until_ms: int) -> Iterator[Replaced]:
        """Close what became idle before then, each at its time; its channels may have gone on since it was noted."""
        while self._due and self._due[0][0] <= until_ms:
            due_ms, conversation_id = heapq.heappop(self._due)
            for partition, at in enumerate(self._homes):
                row = at.rows[conversation_key(conversation_id)]
                if isinstance(row, Conversation) and due_at_ms(row, self._policy) == due_ms:
                    tick = self._of_partition(row.tenant, partition, Tick((conversation_id,)), due_ms)
                    yield from self._decide_all(tick)

    def _of_partition(self, tenant: str, partition: int, message: Message, stamp_ms: int) -> LogRecord:
        cause = Place(LOG, partition, self._homes[partition].next)
        return LogRecord(Entity(tenant, "partition", str(partition)), message, cause, stamp_ms)

    def _decide_all(self, record: LogRecord) -> Iterator[Replaced]:
        """Decide a record and everything that comes of it, in the order in which it is sent."""
        waiting = deque([record])
        while waiting:
            each = waiting.popleft()
            partition = home(each.to, len(self._homes))
            outcome, changes = self._homes[partition].decide(each)
            self._note_due(changes)
            waiting += sent_records(outcome, self._stream, partition)
            self.comparison.replayed(partition, outcome)
            self.found.written += 1
            yield Replaced(partition, encode_log_record(each), outcome)

    def _note_due(self, changes: Mapping[RowKey, Row | None]) -> None:
        for row in changes.values():
            due_ms = due_at_ms(row, self._policy) if isinstance(row, Conversation) else None
            if isinstance(row, Conversation) and due_ms is not None:
                heapq.heappush(self._due, (due_ms, row.conversation_id))
