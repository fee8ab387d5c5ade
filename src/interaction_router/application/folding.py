"""Folding the outcomes that count into tables of one's own: what is checked, and what a rebuild puts in place."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

from interaction_router.application.fold import fold
from interaction_router.application.outcomes import OUTCOMES, Counting
from interaction_router.application.rowstore import RowStore
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.application.views import HEAD, head_writes, read_head, writes
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.domain.events import AliasMade, Conflicted, Outcome, RowGone, RowPut
from interaction_router.domain.rows import POLICY, Conversation, Head, Policy, Row, RowKey, conversation_key
from interaction_router.ports import Log, Tables, Writes
from interaction_router.wire.codec import decode_row

BATCH: Final = 1000
"""Outcomes that are folded at once."""

CACHE_ROWS: Final = 10_000
"""Rows that are kept on the way: those of a partition come again and again."""

Base = Callable[[int], Awaitable[None]]
"""Fills a partition of the tables with what there was at some place of the outcomes."""

Gap = tuple[str, int, int]
"""A conversation, the `seq` that an event of it has, and the one that it should have."""


class Folding:
    """Brings tables that nobody else writes to any place of one partition's outcomes, and no further.

    The log is not written, and nothing is told. `applied` is the log offset that is folded last, `outcome` where its
    outcome ends, -1 for none; `gaps` are events whose `seq` does not follow; `policies` are those
    that were in force at any time since this began.
    """

    def __init__(
        self, log: Log, tables: Tables, partition: int, *, into: int, lineage: str, base: Base | None = None
    ) -> None:
        """Fold the outcomes of `partition` into the tables' partition `into`; nothing is read before `begin`.

        `base` is asked to fill tables that would else begin empty, and may leave them so.
        """
        self._log = log
        self._tables = tables
        self._partition = partition
        self._into = into
        self._lineage = lineage
        self._base = base
        self.outcome = -1
        self._head = Head()
        self._store = RowStore(tables, into, UNOBSERVED, applied=-1, cache_rows=CACHE_ROWS)
        self._position = 0
        self._counting = Counting(-1)
        self._ahead: deque[tuple[Outcome, int]] = deque()
        self.applied = -1
        self.gaps: list[Gap] = []
        self.policies: list[Policy] = [Policy()]

    async def begin(self) -> None:
        """Go on from what the tables have of this log, or begin with empty ones.

        Raises:
            FatalError: the outcomes that come next are no longer there.
        """
        bounds = await self._log.bounds(OUTCOMES, self._partition)
        applied, head, outcome, lineage = await self._standing()
        if applied < 0 or lineage != self._lineage or outcome >= bounds.end:
            await self._tables.clear(self._into)
            if self._base is not None:
                await self._base(self._into)
            await self._tables.apply(self._into, after=-1, applied=-1, writes=Writes())
            applied, head, outcome, _ = await self._standing()
            bounds = await self._log.bounds(OUTCOMES, self._partition)  # behind it, since a snapshot may be new
        if outcome >= bounds.end:
            cause = f"The snapshot of partition {self._partition} has outcome {outcome}, the log ends at {bounds.end}."
            raise FatalError("outcomes_missing", cause, "The outcomes have lost records: restore the topic.")
        if bounds.first > outcome + 1:
            raise FatalError(
                "outcomes_trimmed",
                f"Outcomes of partition {self._partition} begin at {bounds.first}; {outcome + 1} is needed.",
                "Retention has removed them, and there is no snapshot that goes on from there.",
            )
        self._head, self.outcome, self.applied = head, outcome, applied
        self._store = RowStore(self._tables, self._into, UNOBSERVED, applied=applied, cache_rows=CACHE_ROWS)
        self._position = outcome + 1
        self._counting = Counting(applied)
        self._ahead.clear()
        (value,) = (await self._tables.load(self._into, [POLICY])).rows
        policy = None if value is None else decode_row(value)
        self.policies = [policy if isinstance(policy, Policy) else Policy()]

    async def _standing(self) -> tuple[int, Head, int, str | None]:
        loaded = await self._tables.load(self._into, [], [HEAD])
        head, outcome, lineage = read_head(loaded.buckets[0])
        return loaded.applied, head, outcome, lineage

    @property
    def log_time_ms(self) -> int:
        """The log time of what is folded last."""
        return self._head.log_time_ms

    async def up_to(self, applied: int, told: Callable[[int], None] = lambda _: None) -> bool:
        """Fold up to the log offset `applied`; return whether so many count. `told` hears how far it is.

        Raises:
            RetryableError: it is further already.
        """
        if applied < self.applied:
            cause = f"The tables of partition {self._partition} went back from {self.applied} to {applied}."
            raise RetryableError(
                "tables_went_back", cause, "Somebody has emptied, restored or rebuilt them; try again."
            )
        while self.applied < applied:
            batch = await self._next(applied)
            if not batch:
                return False
            await self._fold(batch)
            told(self.applied)
        return True

    async def _next(self, applied: int) -> list[tuple[Outcome, int]]:
        """Return the next outcomes that count, none of a log record behind `applied`."""
        while not self._ahead:
            records = await self._log.read(OUTCOMES, self._partition, self._position, limit=BATCH)
            if not records:
                return []
            self._position = records[-1].offset + 1
            self._ahead.extend(self._counting.count(records))
        batch: list[tuple[Outcome, int]] = []
        while self._ahead and len(batch) < BATCH and self._ahead[0][0].offset <= applied:
            batch.append(self._ahead.popleft())
        return batch

    async def _fold(self, batch: Sequence[tuple[Outcome, int]]) -> None:
        outcomes = [outcome for outcome, _ in batch]
        try:
            folded = await fold(self._store, outcomes, self._head)
        except TypeError as error:
            cause = f"The outcomes up to log offset {outcomes[-1].offset} do not follow from those before them."
            raise FatalError("outcomes_inconsistent", cause, "Report it: it is a defect of this program.") from error
        self.gaps += _gaps(outcomes, folded.before)
        self.policies += [row for outcome in outcomes for row in _policies(outcome)]
        into = writes(folded.changed, folded.before, folded.policy)
        moved = {(o.origin.stream, o.origin.partition) for o in outcomes if o.origin is not None}
        self.outcome = batch[-1][1]
        head_writes(into, self._head, outcome=self.outcome, lineage=self._lineage, changed=moved)
        last = outcomes[-1].offset
        if await self._tables.apply(self._into, after=self.applied, applied=last, writes=into) != last:
            cause = f"Somebody else makes partition {self._partition} anew as well."
            raise RetryableError("rebuilt_elsewhere", cause, "Let it end, then try again.")
        self.applied = last
        self._store.applied_up_to(last)


def _gaps(outcomes: Iterable[Outcome], before: Mapping[RowKey, Row | None]) -> list[Gap]:
    """Tell where an event of a conversation is not the one after its last."""
    gaps: list[Gap] = []
    seqs: dict[RowKey, int] = {}
    for event in (event for outcome in outcomes for event in outcome.decision.events):
        match event:
            case Conflicted() | AliasMade():
                continue
            case RowPut():
                seqs[event.key] = _seq(event.row)
            case RowGone():
                seqs[event.key] = 0
            case _:
                key = conversation_key(event.now.conversation_id)
                wanted = (seqs[key] if key in seqs else _seq(before.get(key))) + 1
                seqs[key] = event.now.seq
                if event.now.seq != wanted:
                    gaps.append((event.now.conversation_id, event.now.seq, wanted))
    return gaps


def _seq(row: Row | None) -> int:
    return row.seq if isinstance(row, Conversation) else 0


def _policies(outcome: Outcome) -> list[Policy]:
    return [
        event.row for event in outcome.decision.events if isinstance(event, RowPut) and isinstance(event.row, Policy)
    ]
