"""Taking a partition over: what counts is read from the outcomes, the views behind it are made again."""

from collections.abc import Sequence
from dataclasses import dataclass

from interaction_router.application.appending import append_batches
from interaction_router.application.assignment import Standpoint
from interaction_router.application.outcomes import OUTCOMES, Counting, is_whole, read_range
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
from interaction_router.domain.evolve import evolve, touched
from interaction_router.domain.rows import POLICY, Conversation, Head, Policy, Row, RowKey, contact_key
from interaction_router.domain.turn import NotLoaded
from interaction_router.ports import Bounds, Log, Tables
from interaction_router.wire.codec import decode_outcome, decode_row

_ATTEMPTS = 5
_TAIL = 50


@dataclass(slots=True)
class _Fold:
    """The tables of a partition, and how far the fold has brought them."""

    applied: int
    outcome: int
    head: Head


async def take_over(log: Log, tables: Tables, views: Views, partition: int, *, lineage: str) -> Standpoint:
    """Bring a partition's views and tables to the end of its outcomes; return where to go on.

    Raises: RetryableError where a server does not answer or another owner is still at it; FatalError where the tables
    are of another log, or further than the outcomes are.
    """
    for _ in range(_ATTEMPTS):
        fold = await _tables_now(tables, partition, lineage)
        bounds = await log.bounds(OUTCOMES, partition)
        counting = Counting(fold.applied)
        done = await _done(log, partition, bounds)
        async for records in read_range(log, OUTCOMES, partition, fold.outcome + 1, bounds.end):
            counted = list(counting.count(records))
            if counted:
                fold.outcome = counted[-1][1]
                outcomes = [outcome for outcome, _ in counted]
                await _catch_up(log, tables, views, partition, fold, outcomes, done=done, lineage=lineage)
        if fold.outcome >= bounds.end:
            raise FatalError(
                "tables_ahead",
                f"The tables of partition {partition} have the outcome {fold.outcome}, the log ends at {bounds.end}.",
                "The topic was made anew, or has lost records. See `interaction-router state rebuild`.",
            )
        if (await _tables_now(tables, partition, lineage)).applied == fold.applied:
            first = (await log.bounds(LOG, partition)).first
            if first > fold.applied + 1:
                raise FatalError(
                    "log_trimmed",
                    f"Partition {partition} is decided up to {fold.applied}, but its log begins at {first}.",
                    "Retention of the internal log has removed what was not decided yet.",
                )
            return Standpoint(partition, fold.applied, bounds.end, fold.outcome, fold.head, lineage)
    raise RetryableError("taken_over", f"Another worker still moves partition {partition}.", "Trying again.")


async def _done(log: Log, partition: int, bounds: Bounds) -> int:
    """Return the log offset up to which the writers of the last outcomes knew all views done.

    That is so whether those outcomes count or not, so any whole one of them will do.
    """
    done = -1
    async for records in read_range(log, OUTCOMES, partition, max(bounds.first, bounds.end - _TAIL), bounds.end):
        done = max(done, *(decode_outcome(r.value or b"", r.headers).done for r in records if is_whole(r)), -1)
    return done


async def _tables_now(tables: Tables, partition: int, lineage: str) -> _Fold:
    loaded = await tables.load(partition, [], [HEAD])
    head, outcome, tables_lineage = read_head(loaded.buckets[0])
    if tables_lineage is not None and tables_lineage != lineage:
        raise FatalError(
            "tables_of_another_log",
            f"The tables of partition {partition} were made from another internal log.",
            "Its topics were made anew. Use another namespace, or clear the tables with `interaction-router state rebuild`.",
        )
    return _Fold(loaded.applied, outcome, head)


async def _catch_up(
    log: Log,
    tables: Tables,
    views: Views,
    partition: int,
    fold: _Fold,
    outcomes: Sequence[Outcome],
    *,
    done: int,
    lineage: str,
) -> None:
    """Repeat the views of these outcomes where they may be missing, then fold them into the tables."""
    again = [outcome for outcome in outcomes if outcome.offset > done]
    updates, letters = views.updates(partition, again)
    await append_batches(log, (UPDATES, updates), (DEAD_LETTERS, letters))
    await append_batches(log, (LOG, views.sends(partition, again)))
    before = await _rows_before(tables, partition, outcomes, fold.applied)
    rows, changed = dict(before), _apply_all(before, outcomes, fold.head)
    policy = changed.get(POLICY, rows.get(POLICY))
    batch = writes(changed, before, policy if isinstance(policy, Policy) else Policy())
    moved = {(o.origin.stream, o.origin.partition) for o in outcomes if o.origin is not None}
    head_writes(batch, fold.head, outcome=fold.outcome, lineage=lineage, changed=moved)
    last = outcomes[-1].offset
    applied = await tables.apply(partition, after=fold.applied, applied=last, writes=batch)
    if applied != last:
        raise RetryableError("taken_over", f"Another worker moves partition {partition}.", "Taking over anew.")
    fold.applied = last
    await append_batches(log, (STATE, views.state(changed.values(), fold.head.log_time_ms)))


def _apply_all(before: dict[RowKey, Row | None], outcomes: Sequence[Outcome], head: Head) -> dict[RowKey, Row | None]:
    """Return the rows that the outcomes change, as they leave them."""
    changed: dict[RowKey, Row | None] = {}

    def get(key: RowKey) -> Row | None:
        if key in changed:
            return changed[key]
        if key not in before:
            raise NotLoaded((key,))
        return before[key]

    for outcome in outcomes:
        log_time_ms = outcome.decision.log_time_ms
        for event in outcome.decision.events:
            changed.update(evolve(get, event, log_time_ms=log_time_ms, offset=outcome.offset))
        head.log_time_ms = log_time_ms
        if outcome.origin is not None:
            origin = outcome.origin
            head.watermarks[origin.stream, origin.partition] = (origin.offset, origin.nth)
    return changed


async def _rows_before(
    tables: Tables, partition: int, outcomes: Sequence[Outcome], applied: int
) -> dict[RowKey, Row | None]:
    """Load what the fold of the outcomes reads, and what the rows that they replace were."""
    events = [event for outcome in outcomes for event in outcome.decision.events]
    keys = {POLICY, *(key for event in events for key in touched(event))}
    rows = await _load(tables, partition, list(keys), applied)
    owners = {row.owner for row in rows.values() if isinstance(row, Conversation) and row.owner.kind == "contact"}
    contacts = [contact_key(owner.tenant, owner.key) for owner in owners]
    rows |= await _load(tables, partition, [key for key in contacts if key not in rows], applied)
    while True:
        probe = Head()
        try:
            _apply_all(dict(rows), outcomes, probe)
        except NotLoaded as missing:
            rows |= await _load(tables, partition, list(missing.keys), applied)
        else:
            return rows


async def _load(tables: Tables, partition: int, keys: list[RowKey], applied: int) -> dict[RowKey, Row | None]:
    if not keys:
        return {}
    loaded = await tables.load(partition, keys)
    if loaded.applied != applied:
        raise RetryableError("taken_over", f"Another worker moves partition {partition}.", "Taking over anew.")
    return {key: None if value is None else decode_row(value) for key, value in zip(keys, loaded.rows, strict=True)}
