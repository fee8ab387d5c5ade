"""Folding outcomes into rows, with those that they read loaded as they are asked for."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from interaction_router.application.rowstore import RowStore
from interaction_router.domain.events import Event, InteractionUpdated, Outcome
from interaction_router.domain.evolve import Change, evolve, touched
from interaction_router.domain.rows import POLICY, Conversation, Head, Policy, Row, RowKey, index_bucket
from interaction_router.domain.turn import NotLoaded


class Folded(NamedTuple):
    """The rows that outcomes change, as they leave them and as they were, and the policy in force behind them."""

    changed: Mapping[RowKey, Row | None]
    before: Mapping[RowKey, Row | None]
    policy: Policy


async def fold(store: RowStore, outcomes: Sequence[Outcome], head: Head) -> Folded:
    """Bring the store's rows and the head behind the outcomes: a few round trips, however many they are.

    Raises: RetryableError where somebody else moves the tables.
    """
    events = [event for outcome in outcomes for event in outcome.decision.events]
    await store.prepare([POLICY, *(key for event in events for key in touched(event))])
    await store.prepare(_entries(store.rows, events))
    before: dict[RowKey, Row | None] = {}
    for outcome in outcomes:
        for event in outcome.decision.events:
            for key, row in await _changes(store, event, outcome):
                if key not in before:
                    before[key] = store.rows.get(key)
                store.rows[key] = row
        _move(head, outcome)
    policy = store.rows[POLICY]
    changed = {key: store.rows[key] for key in before}
    return Folded(changed, before, policy if isinstance(policy, Policy) else Policy())


async def _changes(store: RowStore, event: Event, outcome: Outcome) -> list[Change]:
    log_time_ms = outcome.decision.log_time_ms
    while True:
        try:
            return evolve(store.row, event, log_time_ms=log_time_ms, offset=outcome.offset)
        except NotLoaded as missing:
            await store.prepare(missing.keys)


def _entries(rows: Mapping[RowKey, Row | None], events: Sequence[Event]) -> list[RowKey]:
    """Return the index entries that updates of interactions read, of conversations that are there already."""
    keys: list[RowKey] = []
    for event in events:
        if isinstance(event, InteractionUpdated):
            row = next((rows.get(key) for key in touched(event)), None)
            if isinstance(row, Conversation):
                keys.append(RowKey(index_bucket(row.owner), event.entry))
    return keys


def _move(head: Head, outcome: Outcome) -> None:
    head.log_time_ms = outcome.decision.log_time_ms
    origin = outcome.origin
    if origin is not None:
        head.watermarks[origin.stream, origin.partition] = (origin.offset, origin.nth)
