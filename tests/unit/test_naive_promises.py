"""The model keeps the promises on drawn histories, and the checks notice when they are broken."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from tests.model.bench import PHONE, Bench
from tests.model.compare import differences
from tests.model.naive import NaiveRouter
from tests.model.promises import check_promises, check_updates
from tests.model.state import Policy
from tests.model.strategies import POLICY, histories
from tests.model.updates import Recorded, Update

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.model.steps import Timed

OTHER = "tel:+27821234568"


def lived(steps: Sequence[Timed]) -> list[Recorded]:
    """Let a new router do the steps."""
    router = NaiveRouter(policy=POLICY)
    return [Recorded(timed=each, result=router.step(each.step, at_ms=each.at_ms)) for each in steps]


def updates_of(history: Sequence[Recorded]) -> list[Update]:
    """Show all updates of a history, in order."""
    return [update for recorded in history for update in recorded.result.updates]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=histories())
def test_promises_are_kept(steps: list[Timed]) -> None:
    """No drawn history breaks one, and the rows are the fold of the updates."""
    history = lived(steps)
    assert check_promises(history) == []


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=histories())
def test_rows_agree_with_the_last_updates(steps: list[Timed]) -> None:
    """A conversation stands as its last update says, and holds what was added to it."""
    router = NaiveRouter(policy=POLICY)
    updates = [each for t in steps for each in router.step(t.step, at_ms=t.at_ms).updates]
    for number, row in router.rows().items():
        own = [each for each in updates if each.conversation == number]
        if row is None:
            assert own[-1].type == "conversation.erased"
        else:
            last = (own[-1].seq, own[-1].status, own[-1].contact_id, own[-1].endpoint)
            assert (row.seq, row.status, row.contact_id, row.endpoint) == last
            added = [each for each in own if each.type == "conversation.interaction_added"]
            assert row.interaction_count == len(added) == sum(row.channels.values())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=histories())
def test_comparison_ignores_ids_and_the_order_between_conversations(steps: list[Timed]) -> None:
    """Renamed, and told conversation by conversation, a history is still the same."""
    updates = updates_of(lived(steps))
    renamed = [
        replace(
            each,
            conversation=None if each.conversation is None else f"id-{each.conversation}",
            previous=None if each.previous is None else f"id-{each.previous}",
            into=None if each.into is None else f"id-{each.into}",
        )
        for each in updates
    ]
    shuffled = sorted(renamed, key=lambda each: str(each.conversation))
    assert differences(updates, shuffled) == []


RULES = (
    "joined_open_conversation",
    "opened_for_contact",
    "opened_unlinked",
    "joined_closed_late",
    "joined_closed_auto",
    "event_of_known",
    "saved",
    "by_hand",
    "requested",
    "idle",
    "superseded",
    "merged",
    "contact_deleted",
    "erased",
)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_drawn(rule: str) -> None:
    """The strategy leads to each rule of contract 7, so none goes unchecked."""
    found = find(
        histories(),
        lambda steps: any(each.rule == rule for each in updates_of(lived(steps))),
        settings=settings(max_examples=2000, database=None, deadline=None, phases=[Phase.generate]),
    )
    assert found


@pytest.fixture
def told() -> list[Update]:
    """Give updates in which a save closed two into a third, which goes on and is closed."""
    bench = Bench(policy=Policy())
    bench.event("m1")
    bench.event("m2")
    bench.event("m3")
    bench.save("c", PHONE)
    bench.event("m4")
    bench.close(2)
    bench.event("m5")
    bench.save("d", OTHER)
    bench.event("m6", endpoint=OTHER)
    bench.erase("d")
    updates = updates_of(bench.history)
    assert check_updates(updates) == []
    return updates


def place(updates: Sequence[Update], kind: str, conversation: int) -> int:
    """Find the first update of a kind in a conversation."""
    wanted = (f"conversation.{kind}", conversation)
    return next(n for n, each in enumerate(updates) if (each.type, each.conversation) == wanted)


BREAKS: dict[str, tuple[str, int, dict[str, object]]] = {
    "seq follows": ("linked", 0, {"seq": 9}),
    "at goes back": ("closed", 2, {"at_ms": 1}),
    "closed is final": ("linked", 0, {"status": "open"}),
    "another endpoint": ("closed", 2, {"endpoint": OTHER}),
    "another contact": ("closed", 2, {"contact_id": "d"}),
    "another tenant": ("closed", 2, {"tenant": "globex"}),
    "into no open one": ("closed", 0, {"into": 3}),
    "into": ("closed", 2, {"into": 1}),
    "still tells who": ("erased", 4, {"endpoint": OTHER}),
    "not a closed one": ("opened", 3, {"previous": 4}),
    "linked": ("opened", 0, {"linked": True}),
    "no interaction": ("interaction_added", 2, {"interaction": None}),
    "updated where it is not": (
        "interaction_added",
        2,
        {"type": "conversation.interaction_updated"},
    ),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_promise_is_noticed(told: list[Update], broken: str) -> None:
    """One update changed breaks the promise, and it is told by name."""
    kind, conversation, change = BREAKS[broken]
    where = place(told, kind, conversation)
    changed = with_change(told[where], change)
    faults = check_updates([*told[:where], changed, *told[where + 1 :]])
    assert any(broken in fault for fault in faults)


def with_change(update: Update, change: dict[str, object]) -> Update:
    """Change fields of an update; `replace` cannot be typed for names that vary."""
    changed = copy(update)
    for name, value in change.items():
        object.__setattr__(changed, name, value)
    return changed


def test_an_interaction_in_two_conversations_is_noticed(told: list[Update]) -> None:
    """What was added to one conversation is added to another."""
    where = place(told, "interaction_added", 3)
    first = told[place(told, "interaction_added", 2)].interaction
    again = replace(told[where], interaction=first)
    faults = check_updates([*told[:where], again, *told[where + 1 :]])
    assert any("in two conversations" in fault for fault in faults)


def test_two_open_of_one_contact_are_noticed(told: list[Update]) -> None:
    """Without the close before it, the next opening makes two."""
    where = place(told, "closed", 2)
    faults = check_updates([*told[:where], *told[where + 1 :]])
    assert any("two open conversations" in fault for fault in faults)


def test_a_lost_interaction_is_noticed() -> None:
    """An interaction that was accepted and is nowhere breaks a promise."""
    bench = Bench(policy=Policy())
    bench.event("m1")
    silent = replace(bench.history[0], result=replace(bench.history[0].result, updates=()))
    assert check_promises([silent]) == [
        "step 0: an accepted interaction is in no conversation",
    ]


def test_a_survivor_linked_too_soon_is_noticed() -> None:
    """The survivor of a save is linked last."""
    bench = Bench(policy=Policy())
    bench.event("m1")
    bench.event("m2")
    result = bench.save("c", PHONE)
    closed, linked, survivor = result.updates
    early = replace(result, updates=(survivor, closed, linked))
    faults = check_promises([*bench.history[:-1], replace(bench.history[-1], result=early)])
    assert faults == ["step 2: the survivor is not linked last"]


@pytest.mark.parametrize("change", ["rule", "seq", "missing", "conflict"])
def test_a_difference_is_noticed(change: str) -> None:
    """A field changed, an update missing, a conflict told twice."""
    bench = Bench(policy=Policy())
    bench.save("a", PHONE)
    bench.event("m1")
    bench.save("b", PHONE)
    updates = updates_of(bench.history)
    conflict = updates[-1]
    others = {
        "rule": [replace(updates[0], rule="opened_unlinked"), *updates[1:]],
        "seq": [replace(updates[0], seq=2), *updates[1:]],
        "missing": [updates[0], conflict],
        "conflict": [*updates, conflict],
    }
    assert differences(updates, updates) == []
    assert len(differences(updates, others[change])) > 0
