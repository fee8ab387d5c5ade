"""Defects to plant, each a hole that the protocol closes: what lets them live finds nothing."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.application import assignment, takeover
from interaction_router.application.appending import append_batches
from interaction_router.application.assignment import Ownership
from interaction_router.application.intake import IntakeStage
from interaction_router.application.outcomes import OUTCOMES, Counting, outcome_records
from interaction_router.application.rowstore import RowStore
from interaction_router.application.stages import AssignmentStage
from interaction_router.application.takeover import Takeover
from interaction_router.application.views import DEAD_LETTERS, LOG, UPDATES, Batches
from interaction_router.domain import decide
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.events import Outcome
from interaction_router.domain.ids import Place
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Loaded, Log, Received, Writes
from interaction_router.wire.codec import decode_outcome

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]


def whole_outcomes(patch: Patch) -> None:
    """Have none in parts, for a defect that knows no parts."""
    patch.setattr("tests.faults.simulator.PART_BYTES", (1 << 20,))


def _not_yet_written(self: Ownership) -> list[Outcome]:
    return [
        Outcome(
            offset,
            -1,
            self._store.applied,
            record.to.tenant,
            record.cause or Place(LOG, self.partition, offset),
            origin,
            record.trace,
            decision,
            record.raw,
        )
        for offset, record, decision, origin in self._decided
    ]


def _order(*steps: str) -> Callable[[Ownership], Any]:
    """Return the effects in another order."""

    async def bring_about(self: Ownership) -> None:
        if not self._decided:
            return
        changed, before, outcomes = self._changed, self._before, _not_yet_written(self)
        for step in steps:
            match step:
                case "outcomes":
                    outcomes = await self._write_outcomes()
                case "updates":
                    updates, letters = self._views.updates(self.partition, outcomes)
                    await append_batches(self._log, (UPDATES, updates), (DEAD_LETTERS, letters))
                case "sends":
                    await append_batches(self._log, (LOG, self._views.sends(self.partition, outcomes)))
                case _:
                    await self._apply(outcomes)
        self._changed, self._before, self._decided = {}, {}, []
        await self._write_state(changed, before)
        self.next = outcomes[-1].offset + 1

    return bring_about


def tables_before_outcomes(patch: Patch) -> None:
    patch.setattr(Ownership, "_bring_about", _order("tables", "outcomes", "updates", "sends"))


def tables_before_updates(patch: Patch) -> None:
    patch.setattr(Ownership, "_bring_about", _order("outcomes", "tables", "updates", "sends"))


def rows_loaded_whatever_was_applied(patch: Patch) -> None:
    async def load(self: RowStore, keys: list[RowKey], buckets: tuple[str, ...]) -> Loaded:
        return await self._tables.load(self._partition, keys, buckets)

    patch.setattr(RowStore, "_load", load)


def first_outcome_of_a_record_counts(patch: Patch) -> None:
    """As it was before outcomes said where they are meant to stand."""

    def count(self: Counting, records: Iterable[Received]) -> Iterator[tuple[Outcome, int]]:
        for record in records:
            outcome = decode_outcome(record.value or b"", record.headers)
            if outcome.offset == self.last + 1:
                self.last = outcome.offset
                yield outcome, record.offset

    async def write(self: Ownership) -> list[Outcome]:
        outcomes = _not_yet_written(self)
        records = [part for outcome in outcomes for part in outcome_records(outcome)]
        offsets = await self._log.append(OUTCOMES, self.partition, records)
        self._outcome = offsets[-1]
        return outcomes

    whole_outcomes(patch)
    patch.setattr(Counting, "count", count)
    patch.setattr(Ownership, "_write_outcomes", write)


def applied_whatever_stood(patch: Patch) -> None:
    apply = EmbeddedTables.apply

    async def blind(self: EmbeddedTables, partition: int, *, after: int, applied: int, writes: Writes) -> int:
        del after
        standing = (await self.load(partition, [])).applied
        return await apply(self, partition, after=standing, applied=applied, writes=writes)

    patch.setattr(EmbeddedTables, "apply", blind)


def a_takeover_survives_its_failures(patch: Patch) -> None:
    """Rows whose apply was not acknowledged stay in the cache."""

    async def handle(self: AssignmentStage, stream: str, partition: int, records: Sequence[Received]) -> int:
        del stream
        held = await self._own(partition)
        behind = [record for record in records if record.offset >= held.next]
        if behind and behind[0].offset == held.next:
            try:
                await held.take(behind)
            except RetryableError:
                held._decided.clear()
                raise
        return held.next

    patch.setattr(AssignmentStage, "handle", handle)


def the_state_topic_is_not_mended(patch: Patch) -> None:
    async def nothing(_: AssignmentStage) -> None:
        await asyncio.sleep(0)

    patch.setattr(AssignmentStage, "mend_state", nothing)


def a_takeover_forgets_the_state_topic(patch: Patch) -> None:
    async def nothing(*_: object) -> None:
        await asyncio.sleep(0)

    patch.setattr(Takeover, "_repeat_state", nothing)


def repeats_are_taken(patch: Patch) -> None:
    for module in (decide, assignment):
        patch.setattr(module, "repeats", lambda *_: False)


def _takeover_without(patch: Patch, stream: str) -> None:
    async def append(log: Log, *batches: tuple[str, Batches]) -> None:
        await append_batches(log, *(batch for batch in batches if batch[0] != stream))

    patch.setattr(takeover, "append_batches", append)


def a_takeover_sends_nothing(patch: Patch) -> None:
    _takeover_without(patch, LOG)


def a_takeover_tells_nothing(patch: Patch) -> None:
    _takeover_without(patch, UPDATES)


def a_takeover_refuses_nothing(patch: Patch) -> None:
    _takeover_without(patch, DEAD_LETTERS)


def intake_goes_on_behind_a_failure(patch: Patch) -> None:
    handle = IntakeStage.handle

    async def careless(self: IntakeStage, stream: str, partition: int, records: Sequence[Received]) -> int:
        try:
            return await handle(self, stream, partition, records)
        except RetryableError:
            return records[-1].offset + 1

    patch.setattr(IntakeStage, "handle", careless)


PLANTS: tuple[Plant, ...] = (
    tables_before_outcomes,
    tables_before_updates,
    rows_loaded_whatever_was_applied,
    first_outcome_of_a_record_counts,
    applied_whatever_stood,
    a_takeover_survives_its_failures,
    the_state_topic_is_not_mended,
    a_takeover_forgets_the_state_topic,
    repeats_are_taken,
    a_takeover_sends_nothing,
    a_takeover_tells_nothing,
    a_takeover_refuses_nothing,
    intake_goes_on_behind_a_failure,
)
