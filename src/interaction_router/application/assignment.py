"""Assignment: one partition's records in order, decided, and the effects of it in the one order that is safe."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from interaction_router.application.appending import append_batches
from interaction_router.application.outcomes import OUTCOMES, outcome_records
from interaction_router.application.rowstore import RowStore
from interaction_router.application.views import DEAD_LETTERS, LOG, STATE, UPDATES, Views, head_writes, writes
from interaction_router.domain.decide import decide, first_rows, repeats
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.events import Decision, Outcome
from interaction_router.domain.ids import Place
from interaction_router.domain.messages import LogRecord, Origin
from interaction_router.domain.rows import POLICY, Conversation, Head, Policy, Row, RowKey
from interaction_router.domain.turn import NotLoaded
from interaction_router.ports import Log, Observer, Outgoing, Received, Tables
from interaction_router.wire.codec import decode_log_record

Decided: TypeAlias = tuple[int, LogRecord, Decision, Origin | None]
"""The offset of a log record, the record, what was decided, and its origin where that counts."""


@dataclass(frozen=True, slots=True)
class Standpoint:
    """How far a takeover has brought a partition.

    `applied` is the last log offset in the tables, and so the last decided; `expected` the offset that the next
    outcome has to stand at.
    """

    partition: int
    applied: int
    expected: int
    outcome: int
    head: Head
    lineage: str


class Ownership:
    """One takeover of one partition: cache, position and expected offset. Any failure is the end of it."""

    def __init__(  # noqa: PLR0913 - each a thing of its own; a bundle would hide which are used
        self,
        log: Log,
        tables: Tables,
        views: Views,
        at: Standpoint,
        *,
        observer: Observer,
        cache_rows: int,
        doubted: Iterable[RowKey] = (),
    ) -> None:
        """Go on from where the takeover has brought the partition; `doubted` is what that wrote to the state topic."""
        self.partition = at.partition
        self.next = at.applied + 1
        self._log = log
        self._tables = tables
        self._views = views
        self._head = at.head
        self._lineage = at.lineage
        self._expected = at.expected
        self._outcome = at.outcome
        self._observer = observer
        self._store = RowStore(tables, at.partition, observer, applied=at.applied, cache_rows=cache_rows)
        self._doubted = set(doubted)
        self._resting: int | None = self.next
        self._looked_at: int | None = None
        self._decided: list[Decided] = []
        self._changed: dict[RowKey, Row | None] = {}
        self._before: dict[RowKey, Row | None] = {}

    async def take(self, records: Sequence[Received]) -> None:
        """Decide the records, which begin at `next`, and bring the effects about.

        Raises: RetryableError when any step fails: then this object must not be used again, and the next takeover
        finds out what of it counts.
        """
        self._resting = None
        await self._observer.reached("polled", self.partition)
        decoded = [decode_log_record(r.value or b"", r.headers, arrived_ms=r.timestamp) for r in records]
        store, head = self._store, self._head
        await store.prepare([POLICY, *(key for record in decoded for key in first_rows(record))])
        await self._observer.reached("rows_loaded", self.partition)
        for received, record in zip(records, decoded, strict=True):
            decided = None
            while decided is None:
                try:
                    decided = decide(store.rows, store.buckets, head, record, offset=received.offset)
                except NotLoaded as missing:
                    await self._load(missing, record)
            self._take_down(received.offset, record, *decided)
        await self._bring_about()
        self._resting = self.next

    async def _load(self, missing: NotLoaded, record: LogRecord) -> None:
        """Load what the decision of the record needs besides."""
        store = self._store
        if missing.bucket is None:
            await store.prepare(missing.keys)
        else:  # a whole bucket is read as the tables have it, so they have to have all that was decided
            await self._bring_about()
            await store.prepare([POLICY, *first_rows(record)])
            await store.load_bucket(missing.bucket)

    def _take_down(
        self, offset: int, record: LogRecord, decision: Decision, changes: Mapping[RowKey, Row | None]
    ) -> None:
        """Note what was decided, and have the rows as it leaves them."""
        store = self._store
        self._decided.append((offset, record, decision, self._origin_taken(record, decision)))
        rows, before = store.rows, self._before
        for key in changes:
            if key not in before:
                before[key] = rows.get(key)
        rows.update(changes)
        self._changed.update(changes)
        if store.buckets:
            store.buckets.clear()

    def _origin_taken(self, record: LogRecord, decision: Decision) -> Origin | None:
        """Note how far the partition is; return the record's origin where it is above what was taken before."""
        origin = record.origin
        if origin is not None and repeats(self._head, record):
            origin = None
        self._head.log_time_ms = decision.log_time_ms
        if origin is not None:
            self._head.watermarks[origin.stream, origin.partition] = (origin.offset, origin.nth)
        return origin

    async def _bring_about(self) -> None:
        """The effects of what was decided, each acknowledged before the next. Their order is written here only.

        1 outcomes: from here on it is so. 2 updates and dead letters. 3 sends: what another home makes of them is
        published after what led to it. 4 the tables: a hint is visible only when everything that was handed over is in
        its owner's log. 5 the state topic: last, since its last write stands.
        """
        if not self._decided:
            return
        observer, at = self._observer, self.partition
        await observer.reached("decided", at)
        outcomes = await self._write_outcomes()
        observer.decided(outcomes)
        await observer.reached("outcomes_acknowledged", at)
        await self._tell(outcomes)
        await observer.reached("updates_acknowledged", at)
        await append_batches(self._log, (LOG, self._views.sends(self.partition, outcomes)))
        await observer.reached("sends_acknowledged", at)
        await self._apply(outcomes)
        await observer.reached("tables_applied", at)
        changed, before = self._changed, self._before
        self._changed, self._before, self._decided = {}, {}, []
        await self._write_state(changed, before)
        await observer.reached("state_written", at)
        self.next = outcomes[-1].offset + 1

    async def _write_outcomes(self) -> list[Outcome]:
        outcomes: list[Outcome] = []
        records: list[Outgoing] = []
        start, done = self._expected, self._store.applied
        for offset, record, decision, origin in self._decided:
            outcome = Outcome(
                offset,
                start + len(records),
                done,
                record.to.tenant,
                record.cause or Place(LOG, self.partition, offset),
                origin,
                record.trace,
                decision,
                record.raw if decision.refusal is not None or decision.sends else None,
            )
            outcomes.append(outcome)
            records += outcome_records(outcome)
        at = start + len(records)
        appending = self._log.append(OUTCOMES, self.partition, records)
        offsets = await self._observer.during("outcomes_produced", appending)
        if offsets != list(range(start, at)):
            raise RetryableError(
                "outcomes_displaced",
                f"Outcomes of partition {self.partition} stand at {offsets[0]}, not at {start}.",
                "Somebody else decides this partition; taking over anew.",
            )
        self._expected, self._outcome = at, at - 1
        self._doubted.clear()  # nobody else has decided since what was written before
        return outcomes

    async def _tell(self, outcomes: Sequence[Outcome]) -> None:
        updates, letters = self._views.updates(self.partition, outcomes)
        await append_batches(self._log, (UPDATES, updates), (DEAD_LETTERS, letters))

    async def _apply(self, outcomes: Sequence[Outcome]) -> None:
        last = outcomes[-1].offset
        batch = writes(self._changed, self._before, self._policy())
        moved = {(o.origin.stream, o.origin.partition) for o in outcomes if o.origin is not None}
        head_writes(batch, self._head, outcome=self._outcome, lineage=self._lineage, changed=moved)
        applying = self._tables.apply(self.partition, after=self._store.applied, applied=last, writes=batch)
        applied = await self._observer.during("tables_sent", applying)
        if applied != last:
            raise RetryableError(
                "taken_over",
                f"The tables of partition {self.partition} are at {applied}, not at {self._store.applied}.",
                "Somebody else has moved them, or they were lost; taking over anew.",
            )
        self._store.applied_up_to(last)

    def _policy(self) -> Policy:
        row = self._store.rows.get(POLICY)
        return row if isinstance(row, Policy) else Policy()

    async def _write_state(self, changed: Mapping[RowKey, Row | None], before: Mapping[RowKey, Row | None]) -> None:
        """Write what changed for subscribers; in doubt until the outcomes show that nobody came between."""
        rows = {
            key: row
            for key, row in changed.items()
            if isinstance(row, Conversation) and not _same_seq(row, before.get(key))
        }
        self._doubted.update(rows)
        await append_batches(self._log, (STATE, self._views.state(rows.values(), self._head.log_time_ms)))

    async def confirm(self) -> bool:
        """Take what was in doubt for certain where the outcomes end where this takeover has left them.

        Not the tables: those may have been rolled back to there. One that goes on finds out by its next outcomes, so
        only one that has rested since the last call is looked at: what was asked before a write had ended says nothing
        of it. Return False where somebody else has decided, and this takeover is over.
        """
        resting = self._resting
        if resting is None or self._looked_at != resting:
            self._looked_at = resting
        elif self._doubted:
            end = (await self._log.bounds(OUTCOMES, self.partition)).end
            if self._resting == resting:
                if end != self._expected:
                    return False
                self._doubted.clear()
        return True

    @property
    def doubted(self) -> frozenset[RowKey]:
        """The conversations whose last write to the state topic may have come behind somebody else's."""
        return frozenset(self._doubted)


def _same_seq(row: Conversation, was: Row | None) -> bool:
    return isinstance(was, Conversation) and was.seq == row.seq
