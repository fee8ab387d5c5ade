"""The rows of a replay: all of them, in memory, and the deciding by them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from interaction_router.domain.decide import decide, repeats
from interaction_router.domain.events import Outcome
from interaction_router.domain.ids import Place
from interaction_router.domain.messages import LogRecord, Origin, can_be_refused
from interaction_router.domain.rows import Head, Row, RowKey


class AllRows(Mapping[RowKey, Row | None]):
    """All rows of a partition: one that is not there is known not to be there."""

    def __init__(self) -> None:
        self._rows: dict[RowKey, Row] = {}
        self.fields: dict[str, dict[str, None]] = defaultdict(dict)

    def __getitem__(self, key: RowKey) -> Row | None:
        return self._rows.get(key)

    def __contains__(self, key: object) -> bool:
        return True

    def __iter__(self) -> Iterator[RowKey]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def change(self, changes: Mapping[RowKey, Row | None]) -> None:
        """Set rows; None takes one away."""
        for key, row in changes.items():
            if row is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = row
            if key.field and row is None:
                self.fields[key.bucket].pop(key.field, None)
            elif key.field:
                self.fields[key.bucket][key.field] = None


class AllBuckets(Mapping[str, tuple[str, ...]]):
    """The fields of every bucket of a partition."""

    def __init__(self, rows: AllRows) -> None:
        self._rows = rows

    def __getitem__(self, bucket: str) -> tuple[str, ...]:
        return tuple(self._rows.fields.get(bucket, ()))

    def __contains__(self, bucket: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows.fields)

    def __len__(self) -> int:
        return len(self._rows.fields)


@dataclass(slots=True)
class Home:
    """A partition as a replay has it so far; `next` is the offset of its next record."""

    rows: AllRows = field(default_factory=AllRows)
    head: Head = field(default_factory=Head)
    next: int = 0

    def decide(self, record: LogRecord, place: Place | None = None) -> tuple[Outcome, Mapping[RowKey, Row | None]]:
        """Decide the next record; return its outcome and the rows that it has changed.

        `place` is where it stood, if it is here for the second time: of two conversations that were opened in the same
        millisecond, that says which was first.
        """
        offset = self.next if place is None else place.offset
        decision, changes = decide(self.rows, AllBuckets(self.rows), self.head, record, offset=offset)
        origin = None if repeats(self.head, record) else record.origin
        self.head.log_time_ms = decision.log_time_ms
        if origin is not None:
            self.head.watermarks[origin.stream, origin.partition] = (origin.offset, origin.nth)
        self.rows.change(changes)
        raw = record.raw if decision.refusal is not None or decision.sends else None
        at = self.next
        self.next += 1
        return Outcome(at, 0, at, record.to.tenant, record.cause, origin, record.trace, decision, raw), changes


def sent_records(outcome: Outcome, stream: str, partition: int) -> Iterator[LogRecord]:
    """Yield what an outcome on this partition sends, as records of the log that `stream` names in origins."""
    for nth, send in enumerate(outcome.decision.sends):
        origin = Origin(stream, partition, outcome.offset, nth)
        stamp_ms = outcome.decision.log_time_ms
        raw = outcome.raw if can_be_refused(send.message) else None
        yield LogRecord(send.to, send.message, outcome.cause, stamp_ms, origin, outcome.trace, raw)
