"""Writes a replayed log for the router that is to start from it, with all that its worker would have made of it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from interaction_router.application.appending import append_batches, append_each
from interaction_router.application.log_replay import Replaced
from interaction_router.application.outcomes import OUTCOMES, outcome_records
from interaction_router.application.raw_replay import Unread
from interaction_router.application.views import DEAD_LETTERS, LOG, STATE, UPDATES, Batches, Views
from interaction_router.domain.errors import FatalError
from interaction_router.domain.rows import Conversation
from interaction_router.ports import Log, Observer, Outgoing

STATE_BATCH = 1_000


class SecondLogWriter:
    """Appends log, outcomes, updates and dead letters; each batch whole before the next.

    The order in which records come is kept in every partition of the updates: a worker that decided the log by itself
    would tell what came of a send before what led to it, since both stand there already.
    """

    def __init__(self, log: Log, views: Views, observer: Observer) -> None:
        """`views` are those of the second router."""
        self._log = log
        self._views = views
        self._observer = observer
        self._ends: dict[tuple[str, int], int] = defaultdict(int)

    async def write(self, batch: Iterable[Replaced | Unread]) -> None:
        """Append a batch.

        Raises:
            FatalError: `target_moves`: somebody else appends there.
        """
        records: dict[tuple[str, int], list[Outgoing]] = defaultdict(list)
        outcomes: dict[tuple[str, int], list[Outgoing]] = defaultdict(list)
        updates: Batches = defaultdict(list)
        letters: Batches = defaultdict(list)
        for each in batch:
            if isinstance(each, Unread):
                letters[each.partition].append(each.letter)
                continue
            records[LOG, each.partition].append(each.record)
            place = (OUTCOMES, each.partition)
            expected = self._ends[place] + len(outcomes[place])
            outcome = replace(each.outcome, expected=expected)
            outcomes[place] += outcome_records(outcome)
            for into, made in zip((updates, letters), self._views.updates(each.partition, [outcome]), strict=True):
                for partition, told in made.items():
                    into[partition] += told
        await self._append(records)
        await self._observer.reached("replay_log_written", LOG)
        await self._append(outcomes)
        await self._observer.reached("replay_outcomes_written", LOG)
        await append_batches(self._log, (UPDATES, updates), (DEAD_LETTERS, letters))
        await self._observer.reached("replay_updates_written", LOG)

    async def write_state(self, conversations: Iterable[Conversation], stamp_ms: int) -> None:
        """Write conversations as they stand; of an erased one there is nothing to write."""
        rows: list[Conversation] = []
        for row in conversations:
            if row.status != "erased":
                rows.append(row)
            if len(rows) == STATE_BATCH:
                await append_batches(self._log, (STATE, self._views.state(rows, stamp_ms)))
                rows = []
        await append_batches(self._log, (STATE, self._views.state(rows, stamp_ms)))
        await self._observer.reached("replay_state_written", STATE)

    async def _append(self, batches: dict[tuple[str, int], list[Outgoing]]) -> None:
        for place, offsets in (await append_each(self._log, batches)).items():
            if offsets[0] != self._ends[place]:
                cause = f"Somebody else writes to {place[0]} of the other router: it ends at {offsets[0]}."
                raise FatalError("target_moves", cause, "Stop its workers, remove its topics, and begin anew.")
            self._ends[place] += len(offsets)
