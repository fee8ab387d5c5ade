"""Further defects to plant: in intake, between homes, in positions and in what a takeover knows."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.application import takeover
from interaction_router.application.assignment import Ownership
from interaction_router.application.intake import IntakeStage
from interaction_router.application.outcomes import OUTCOMES, Counting
from interaction_router.application.rowstore import RowStore
from interaction_router.application.stages import AssignmentStage
from interaction_router.domain import assign, contacts, decide, messages
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.events import Outcome
from interaction_router.domain.handover import ensure_endpoint
from interaction_router.domain.ids import Entity, update_id
from interaction_router.domain.messages import InteractionEvent
from interaction_router.domain.rows import RowKey, endpoint_key
from interaction_router.domain.turn import Turn
from interaction_router.ports import Bounds, Log, Outgoing, Received, Writes
from interaction_router.wire import updates
from interaction_router.wire.codec import decode_outcome, encode_log_record
from tests.faults.plants import whole_outcomes

Patch = pytest.MonkeyPatch


def a_committed_offset_is_trusted(patch: Patch) -> None:
    """A takeover goes on where the last batch of the process ended, whoever went on since."""
    own, handle = AssignmentStage._own, AssignmentStage.handle
    positions: dict[tuple[AssignmentStage, int], int] = {}

    async def owning(self: AssignmentStage, partition: int) -> Ownership:
        fresh = partition not in self._held
        held = await own(self, partition)
        if fresh:
            held.next = positions.get((self, partition), held.next)
        return held

    async def handing(self: AssignmentStage, stream: str, partition: int, records: Sequence[Received]) -> int:
        positions[self, partition] = await handle(self, stream, partition, records)
        return positions[self, partition]

    patch.setattr(AssignmentStage, "_own", owning)
    patch.setattr(AssignmentStage, "handle", handing)


def two_batches_in_flight(patch: Patch) -> None:
    """The second half of a batch is sent though the first may not have come, and nobody looks where they stand."""
    write = Ownership._write_outcomes

    class Halves:
        """A log that appends outcomes in two requests and hears of the second only."""

        def __init__(self, log: Log) -> None:
            self._log = log

        def __getattr__(self, name: str) -> Any:
            return getattr(self._log, name)

        async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
            if stream != OUTCOMES or len(records) < 2:
                return await self._log.append(stream, partition, records)
            half = len(records) // 2
            try:
                first = await self._log.append(stream, partition, records[:half])
                second = await self._log.append(stream, partition, records[half:])
            except RetryableError:
                second = await self._log.append(stream, partition, records[half:])
                first = [second[0] - half + at for at in range(half)]
            return [*first, *second]

    async def written(self: Ownership) -> list[Outcome]:
        if not isinstance(self._log, Halves):
            self._log = Halves(self._log)
        return await write(self)

    def count(self: Counting, records: Sequence[Received]) -> Iterator[tuple[Outcome, int]]:
        for record in records:
            outcome = decode_outcome(record.value or b"", record.headers)
            if outcome.offset > self.last:
                self.last = outcome.offset
                yield outcome, record.offset

    whole_outcomes(patch)
    patch.setattr(Ownership, "_write_outcomes", written)
    patch.setattr(Counting, "count", count)


def nothing_laid_over_within_a_batch(patch: Patch) -> None:
    take_down = Ownership._take_down

    def forgetful(self: Ownership, offset: int, record: Any, decision: Any, changes: Any) -> None:
        before = dict(self._store.rows)
        take_down(self, offset, record, decision, changes)
        self._store.rows.clear()
        self._store.rows.update(before)

    patch.setattr(Ownership, "_take_down", forgetful)


def a_row_goes_before_its_apply(patch: Patch) -> None:
    """A full cache lets go of what was decided and is not in the tables yet."""
    take_down = Ownership._take_down

    def evicting(self: Ownership, offset: int, record: Any, decision: Any, changes: Any) -> None:
        take_down(self, offset, record, decision, changes)
        if len(self._changed) > 8:
            self._store.rows.pop(next(iter(self._changed)), None)

    patch.setattr(Ownership, "_take_down", evicting)


def a_watermark_for_interactions(patch: Patch) -> None:
    put = IntakeStage._put
    encode = encode_log_record

    def all_of_them(self: IntakeStage, batches: Any, place: Any, record: Any, to: Entity, message: Any) -> None:
        from interaction_router.application import intake  # noqa: PLC0415

        def with_origin(log_record: Any) -> Outgoing:
            return encode(replace(log_record, origin=log_record.origin or self._reading._origin(place)))

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(intake, "encode_log_record", with_origin)
            put(self, batches, place, record, to, message)

    patch.setattr(IntakeStage, "_put", all_of_them)


def offsets_move_before_the_dead_letter(patch: Patch) -> None:
    """What was refused is gone where its letter could not be written."""
    letters = IntakeStage._letters

    def lossy(self: IntakeStage, partition: int, found: list[Outgoing]) -> Any:
        made = letters(self, partition, found)
        self._lost = not getattr(self, "_lost", False)  # type: ignore[attr-defined]
        return {} if self._lost else made  # type: ignore[attr-defined]

    patch.setattr(IntakeStage, "_letters", lossy)


def claims_without_a_number(patch: Patch) -> None:
    saved = contacts.saved

    def unnumbered(turn: Turn, message: messages.ContactSaved) -> None:
        contact = turn.contact(message.contact_id)
        turn.put_contact(replace(contact, saves=0))
        saved(turn, message)

    _handle(patch, messages.ContactSaved, unnumbered)


def not_mine_is_a_release(patch: Patch) -> None:
    """What a contact sends back as not its own makes the endpoint nobody's."""
    at_endpoint = assign.at_endpoint

    def freeing(turn: Turn, message: InteractionEvent) -> None:
        if message.asked and not message.withheld:
            endpoint = ensure_endpoint(turn, message.party)
            turn.put(endpoint_key(turn.tenant, message.party), replace(endpoint, owner=None))
        at_endpoint(turn, message)

    patch.setattr(assign, "at_endpoint", freeing)


def an_alias_forwards_what_comes_from_intake(patch: Patch) -> None:
    at_contact = assign.at_contact

    def forwarding(turn: Turn, message: InteractionEvent) -> None:
        contact = turn.contact(turn.record.to.key)
        if contact.state == "alias" and contact.into is not None and not message.asked:
            turn.send(Entity(turn.tenant, "contact", contact.into), message)
        else:
            at_contact(turn, message)

    patch.setattr(assign, "at_contact", forwarding)


def the_clock_in_an_id(patch: Patch) -> None:
    made = update_id
    patch.setattr(updates, "update_id", lambda key, seq: made(key, seq + time.time_ns() % 2**20 * 2**20))


def interactions_known_for_a_while(patch: Patch) -> None:
    """A duplicate is told by a time to live: the index forgets by itself."""
    apply = EmbeddedTables.apply

    async def expiring(self: EmbeddedTables, partition: int, *, after: int, applied: int, writes: Writes) -> int:
        for key in [key for key in writes.puts if key.field and key.bucket != "head"][::7]:
            del writes.puts[key]
        return await apply(self, partition, after=after, applied=applied, writes=writes)

    patch.setattr(EmbeddedTables, "apply", expiring)


def all_views_known_done_too_soon(patch: Patch) -> None:
    """A writer says of its own batch that its views are done."""

    async def all_done(log: Log, partition: int, bounds: Bounds) -> int:
        done = -1
        for record in await log.read(OUTCOMES, partition, max(bounds.first, bounds.end - 50)):
            done = max(done, decode_outcome(record.value or b"", record.headers).offset)
        return done

    whole_outcomes(patch)
    patch.setattr(takeover, "known_done", all_done)


def rows_of_the_last_takeover_stay(patch: Patch) -> None:
    """The cache is the process's, not the takeover's."""
    made = RowStore.__init__
    caches: dict[int, dict[RowKey, Any]] = {}

    def shared(self: RowStore, *given: Any, **named: Any) -> None:
        made(self, *given, **named)
        self._young = caches.setdefault(self._partition, {})

    patch.setattr(RowStore, "__init__", shared)


def _handle(patch: Patch, kind: type[messages.Message], handler: Any) -> None:
    patch.setattr(decide, "_HANDLERS", {**decide._HANDLERS, kind: handler})


PLANTS_BETWEEN = (
    a_committed_offset_is_trusted,
    two_batches_in_flight,
    nothing_laid_over_within_a_batch,
    a_row_goes_before_its_apply,
    a_watermark_for_interactions,
    offsets_move_before_the_dead_letter,
    claims_without_a_number,
    not_mine_is_a_release,
    the_clock_in_an_id,
    interactions_known_for_a_while,
    all_views_known_done_too_soon,
    rows_of_the_last_takeover_stay,
)

PLANTS_BETWEEN_HOMES = (an_alias_forwards_what_comes_from_intake,)
"""Those that want many records under way at once, and no worker that fails: the worlds of `test_domain_order`."""
