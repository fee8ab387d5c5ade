"""The log that a replay reads: each partition's records in their order, with what was decided of them."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from interaction_router.application.outcomes import OUTCOMES, Counting, is_whole, read_range
from interaction_router.application.views import LOG
from interaction_router.domain.errors import FatalError
from interaction_router.domain.events import Outcome
from interaction_router.domain.ids import Place
from interaction_router.domain.messages import LogRecord
from interaction_router.ports import Log, Received
from interaction_router.wire.codec import decode_log_record, decode_outcome
from interaction_router.wire.times import spell_time


@dataclass(frozen=True, slots=True)
class Taken:
    """A record of the first log, where it stands there, and what was decided of it.

    `live` is None where nothing was decided yet, or where that is no longer kept: `trimmed`.
    """

    place: Place
    record: LogRecord
    live: Outcome | None
    trimmed: bool


class Lane:
    """A partition of the log that is read, with its outcomes beside it."""

    def __init__(self, log: Log, partition: int, end: int) -> None:
        self.partition = partition
        self.position = 0
        self._end = end
        self.log_time_ms = 0
        self._records = _records(log, partition, end)
        self._outcomes = _outcomes(log, partition)
        self._head: LogRecord | None = None
        self._outcome: Outcome | None = None

    async def head(self) -> LogRecord | None:
        """Return the next record, which stays the next until it is taken; None at the end.

        Raises:
            FatalError: `log_trimmed`: it is no longer kept.
        """
        if self._head is None and self.position < self._end:
            received = await anext(self._records, None)
            if received is None or received.offset != self.position:
                raise self._trimmed(received)
            self._head = decode_log_record(received.value or b"", received.headers, arrived_ms=received.timestamp)
        return self._head

    def _trimmed(self, kept: Received | None) -> FatalError:
        goes_on = "nothing is kept" if kept is None else f"{kept.offset} of {spell_time(kept.timestamp)} is the next"
        cause = f"Partition {self.partition} of {LOG} has no record {self.position} any more: {goes_on}."
        return FatalError(
            "log_trimmed", cause, "Without its beginning the log decides otherwise: it can only be replayed whole."
        )

    def time_ms(self) -> int:
        """Return the log time of the next record."""
        return self.log_time_ms if self._head is None else max(self.log_time_ms, self._head.stamp_ms or 0)

    async def take(self) -> Taken:
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
        return Taken(place, stamped, outcome, trimmed)


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
