"""Taking a partition over: what counts is read from the outcomes, the views behind it are made again."""

import logging
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from interaction_router.application.appending import append_batches
from interaction_router.application.assignment import Standpoint
from interaction_router.application.fold import fold as fold_outcomes
from interaction_router.application.outcomes import OUTCOMES, Counting, known_done, read_range
from interaction_router.application.rowstore import RowStore
from interaction_router.application.snapshots import Snapshots
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.application.views import (
    DEAD_LETTERS,
    HEAD,
    LOG,
    STATE,
    UPDATES,
    Views,
    head_writes,
    read_head,
    writes,
)
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.domain.events import Outcome
from interaction_router.domain.evolve import touched
from interaction_router.domain.rows import (
    Conversation,
    Head,
    Row,
    RowKey,
    conversation_key,
)
from interaction_router.ports import Bounds, Log, Observer, Tables
from interaction_router.wire.codec import decode_row

_LOGGER = logging.getLogger("interaction_router.assignment")
_ATTEMPTS = 5
_CACHE_ROWS = 20_000
"""Rows that are kept on the way, since what follows mostly goes on from what was last."""

_CONVERSATIONS = conversation_key("").bucket


@dataclass(slots=True)
class _Fold:
    """The tables of a partition, and how far the fold has brought them."""

    applied: int
    outcome: int
    head: Head


class Takeover:
    """Brings one partition's views and tables to the end of its outcomes.

    `wrote` are the conversations that it has written to the state topic, in doubt as any such write is; `overtaken`
    those of them that are elsewhere by now, so that a write of an attempt before the last may have come behind their
    owner's, and nothing that happens here tells. `folded` counts the outcomes that it has folded, and the chunks of a
    snapshot, and so tells that it gets on.
    """

    def __init__(self, log: Log, tables: Tables, views: Views, partition: int, observer: Observer = UNOBSERVED) -> None:
        """Nothing is read before `run`."""
        self._observer = observer
        self._log = log
        self._tables = tables
        self._views = views
        self._partition = partition
        self._snapshots = Snapshots(log, lineage=views.lineage, observer=observer)
        self.wrote: set[RowKey] = set()
        self.overtaken: set[RowKey] = set()
        self.folded = 0

    async def run(self) -> Standpoint:
        """Return where to go on.

        Raises: RetryableError where a server does not answer or another owner is still at it; FatalError where the
        tables are of another log, or further than the outcomes are.
        """
        await self._observer.reached("takeover_begun", self._partition)
        for _ in range(_ATTEMPTS):
            fold, bounds = await self._begin()
            await self._fold_up_to(bounds, fold)
            standing = await self._tables_now()
            if standing is not None and standing.applied == fold.applied:
                return await self._standpoint(fold, bounds.end)
        raise RetryableError("taken_over", f"Another worker still moves partition {self._partition}.", "Trying again.")

    async def _begin(self) -> tuple[_Fold, Bounds]:
        """Return how far the tables are, with the latest snapshot in them where the fold cannot go on from what there was.

        Where nothing was, it could: that would only take longer.
        """
        fold = await self._tables_now()
        bounds = await self._log.bounds(OUTCOMES, self._partition)
        if fold is None or fold.applied < 0 or bounds.first > fold.outcome + 1:
            await self._restore(-1 if fold is None else fold.applied)
            fold = await self._tables_now()
            bounds = await self._log.bounds(OUTCOMES, self._partition)
        if fold is None:
            raise self._moved()
        if fold.outcome >= bounds.end:
            raise FatalError(
                "tables_ahead",
                f"The tables of partition {self._partition} have outcome {fold.outcome}, the log ends at {bounds.end}.",
                "The topic was made anew or has lost records. See `interaction-router state rebuild`.",
            )
        if bounds.first > fold.outcome + 1:
            raise FatalError(
                "outcomes_trimmed",
                f"The tables of partition {self._partition} lack outcomes from {fold.outcome + 1} on, and those begin at {bounds.first}.",
                "There is no snapshot that leads on to them: restore the topic.",
            )
        return fold, bounds

    async def _restore(self, after: int) -> None:
        """Put the latest snapshot in the place of what the tables have, where it is further and can be read."""
        partition = self._partition
        try:
            await self._snapshots.restore(partition, self._tables, into=partition, after=after, told=self._got_on)
        except FatalError as error:
            if error.code != "snapshot_unreadable":
                raise
            _LOGGER.warning("snapshot_passed_over", extra={"partition": partition, "code": error.code})
            await self._snapshots.abandon(self._tables, partition)

    def _got_on(self) -> None:
        self.folded += 1

    async def _fold_up_to(self, bounds: Bounds, fold: _Fold) -> None:
        counting = Counting(fold.applied)
        done = await known_done(self._log, self._partition, bounds)
        unwritten = await self._perhaps_unwritten(bounds, fold, done)
        store = RowStore(self._tables, self._partition, self._observer, applied=fold.applied, cache_rows=_CACHE_ROWS)
        start = max(fold.outcome + 1, bounds.first)
        async for records in read_range(self._log, OUTCOMES, self._partition, start, bounds.end):
            counted = list(counting.count(records))
            if counted:
                fold.outcome = counted[-1][1]
                unwritten |= await self._catch_up(fold, store, [outcome for outcome, _ in counted], done)
        # What an attempt before this one has written may have come behind somebody else's write.
        await self._repeat_state(unwritten | self.wrote, fold)

    async def _standpoint(self, fold: _Fold, expected: int) -> Standpoint:
        first = (await self._log.bounds(LOG, self._partition)).first
        if first > fold.applied + 1:
            raise FatalError(
                "log_trimmed",
                f"Partition {self._partition} is decided up to {fold.applied}, but its log begins at {first}.",
                "Retention of the internal log has removed what was not decided yet.",
            )
        return Standpoint(self._partition, fold.applied, expected, fold.outcome, fold.head, self._views.lineage)

    async def _tables_now(self) -> _Fold | None:
        """Return how far the tables are, None where a snapshot is being put into them."""
        try:
            loaded = await self._tables.load(self._partition, [], [HEAD])
        except RetryableError as error:
            if error.code != "tables_restoring":
                raise
            return None
        head, outcome, lineage = read_head(loaded.buckets[0])
        if lineage is not None and lineage != self._views.lineage:
            raise FatalError(
                "tables_of_another_log",
                f"The tables of partition {self._partition} were made from another internal log.",
                "Its topics were made anew. Use another namespace, or see `interaction-router state rebuild`.",
            )
        return _Fold(loaded.applied, outcome, head)

    async def _catch_up(self, fold: _Fold, store: RowStore, outcomes: Sequence[Outcome], done: int) -> set[RowKey]:
        """Repeat the views of these outcomes where they may be missing, then fold them into the tables.

        Return the rows that changed for subscribers of the state topic and may not be there.
        """
        partition, log, views = self._partition, self._log, self._views
        again = [outcome for outcome in outcomes if outcome.offset > done]
        updates, letters = views.updates(partition, again)
        await append_batches(log, (UPDATES, updates), (DEAD_LETTERS, letters))
        await append_batches(log, (LOG, views.sends(partition, again)))
        await self._observer.reached("takeover_told", partition)
        folded = await fold_outcomes(store, outcomes, fold.head)
        batch = writes(folded.changed, folded.before, folded.policy)
        moved = {(o.origin.stream, o.origin.partition) for o in outcomes if o.origin is not None}
        head_writes(batch, fold.head, outcome=fold.outcome, lineage=views.lineage, changed=moved)
        last = outcomes[-1].offset
        if await self._tables.apply(partition, after=fold.applied, applied=last, writes=batch) != last:
            raise self._moved()
        fold.applied = last
        store.applied_up_to(last)
        self.folded += len(outcomes)
        await self._observer.reached("takeover_applied", partition)
        if last <= done:
            return set()
        return {key for key, row in folded.changed.items() if isinstance(row, Conversation)}

    async def _perhaps_unwritten(self, bounds: Bounds, fold: _Fold, done: int) -> set[RowKey]:
        """Return what is in the tables and perhaps not in the state topic: that comes last, and nothing else tells.

        Each reading goes back twice as far and to the end again, since an outcome may stand in several records.
        """
        keys: set[RowKey] = set()
        end, size = fold.outcome + 1, 2 * (fold.applied - done)
        start = end
        while fold.applied > done and start > bounds.first:
            start, size = max(bounds.first, end - size), 2 * size
            oldest = fold.applied
            reading = Counting(-1)
            async for records in read_range(self._log, OUTCOMES, self._partition, start, end):
                for outcome, first, _ in reading.all_of(records):
                    if outcome.expected == first:  # a late one of long ago says nothing of those before it
                        oldest = min(oldest, outcome.offset)
                    if done < outcome.offset <= fold.applied:
                        keys.update(key for event in outcome.decision.events for key in touched(event))
            if oldest <= done:
                break
        return {key for key in keys if key.bucket.startswith(_CONVERSATIONS)}

    async def _repeat_state(self, keys: AbstractSet[RowKey], fold: _Fold) -> None:
        """Write to the state topic what may be missing there, as it is at the end of the fold.

        Not on the way there: one that has moved on since is written by who has it, and that may have been long ago.
        """
        rows = await self._load(keys, fold.applied)
        here = {key for key, row in rows.items() if isinstance(row, Conversation)}
        self.overtaken = self.wrote - here
        self.wrote |= here
        await append_batches(self._log, (STATE, self._views.state(rows.values(), fold.head.log_time_ms)))
        await self._observer.reached("takeover_state_written", self._partition)

    async def _load(self, keys: AbstractSet[RowKey], applied: int) -> dict[RowKey, Row | None]:
        if not keys:
            return {}
        asked = list(keys)
        loaded = await self._tables.load(self._partition, asked)
        if loaded.applied != applied:
            raise self._moved()
        values = zip(asked, loaded.rows, strict=True)
        return {key: None if value is None else decode_row(value) for key, value in values}

    def _moved(self) -> RetryableError:
        return RetryableError("taken_over", f"Another worker moves partition {self._partition}.", "Taking over anew.")
