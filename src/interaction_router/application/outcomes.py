"""Outcomes as they stand in their topic: in one record, or in several where one would be too large."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from interaction_router.domain.events import Outcome
from interaction_router.ports import Bounds, Log, Outgoing, Received
from interaction_router.wire.codec import decode_outcome, encode_outcome

OUTCOMES = "internal.outcomes"
PART_BYTES = 1 << 20
"""An outcome of more bytes stands in several records, one behind the other."""

_PART = "part"
READ_RECORDS = 2000
_TAIL = 50
"""Records at the end of the outcomes among which there is a whole one."""


def outcome_records(outcome: Outcome) -> list[Outgoing]:
    """Return the records of one outcome, in the order in which they have to stand."""
    whole = encode_outcome(outcome)
    value, stamp = whole.value or b"", whole.timestamp_ms
    if len(value) <= PART_BYTES:
        return [whole]
    parts = [value[at : at + PART_BYTES] for at in range(0, len(value), PART_BYTES)]
    return [
        Outgoing(
            whole.key,
            part,
            [(_PART, f"{number}/{len(parts)}/{outcome.expected}".encode()), *(whole.headers if number == 0 else ())],
            stamp,
        )
        for number, part in enumerate(parts)
    ]


def is_whole(record: Received) -> bool:
    """Return whether the record is an outcome by itself."""
    return all(name != _PART for name, _ in record.headers)


class Counting:
    """Reads outcomes and keeps those that count: compare-and-set by the log itself.

    One counts iff it stands where its writer meant it to and is of the log record after the last counted one's; in
    several records, iff they stand one behind the other and are of one writer: two never mean theirs to stand at one
    place.
    """

    def __init__(self, last: int) -> None:
        """`last` is the log offset of the last one that counted, -1 for none."""
        self.last = last
        self._parts: list[Received] = []
        self._of = b""

    def count(self, records: Iterable[Received]) -> Iterator[tuple[Outcome, int]]:
        """Return the outcomes that count, each with the offset of its last record."""
        for outcome, first, last in self.all_of(records):
            if outcome.expected == first and outcome.offset == self.last + 1:
                self.last = outcome.offset
                yield outcome, last

    def all_of(self, records: Iterable[Received]) -> Iterator[tuple[Outcome, int, int]]:
        """Return the outcomes that are there, counting or not, each with the offsets of its first and last record."""
        for record in records:
            part = dict(record.headers).get(_PART) if record.headers else None
            if part is None:
                self._parts.clear()
                outcome = decode_outcome(record.value or b"", record.headers)
                first = record.offset
            else:
                number, _, of = part.partition(b"/")
                if number == b"0":
                    self._parts, self._of = [record], of
                elif self._follows(int(number), of, record.offset):
                    self._parts.append(record)
                else:
                    self._parts.clear()
                if not self._parts or len(self._parts) < int(of.partition(b"/")[0]):
                    continue
                outcome = decode_outcome(b"".join(each.value or b"" for each in self._parts), self._parts[0].headers)
                first = self._parts[0].offset
                self._parts.clear()
            yield outcome, first, record.offset

    def _follows(self, number: int, of: bytes, offset: int) -> bool:
        """Return whether the next part is of the outcome that has begun, and stands right behind."""
        return of == self._of and len(self._parts) == number and self._parts[-1].offset == offset - 1


async def read_range(log: Log, stream: str, partition: int, start: int, end: int) -> AsyncIterator[Sequence[Received]]:
    """Read the records from `start` up to `end`, which is not read, in batches."""
    while start < end:
        records = await log.read(stream, partition, start, limit=READ_RECORDS)
        if not records:
            return
        yield [record for record in records if record.offset < end]
        start = records[-1].offset + 1


async def known_done(log: Log, partition: int, bounds: Bounds) -> int:
    """Return the log offset up to which the writers of the last outcomes knew all views done.

    That is so whether those outcomes count or not, so any whole one of them will do.
    """
    done, start = -1, max(bounds.first, bounds.end - _TAIL)
    async for records in read_range(log, OUTCOMES, partition, start, bounds.end):
        said = (decode_outcome(record.value or b"", record.headers).done for record in records if is_whole(record))
        done = max(done, *said, -1)
    return done
