"""Every order of arrival between homes, of what is small enough; and that defects planted there are found."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from interaction_router.domain import contacts, decide, handover, merges, messages
from interaction_router.domain.turn import Turn
from tests.faults.plants_between import (
    an_alias_forwards_what_comes_from_intake,
    claims_without_a_number,
    not_mine_is_a_release,
)
from tests.protocol.explore import explore
from tests.protocol.homes import Homes, in_parts
from tests.protocol.partition import Partition, State
from tests.protocol.scenarios import FAMILIES, LARGE
from tests.protocol.scripts import Scenario

_MOST_STATES = 2_000
"""What more states than these has is for the command."""

_SCENARIOS = {scenario.name: scenario for family in FAMILIES.values() for scenario in family}
Patch = pytest.MonkeyPatch


@pytest.mark.parametrize("scenario", _SCENARIOS.values(), ids=_SCENARIOS)
def test_there_is_no_hole(scenario: Scenario) -> None:
    with in_parts() if scenario in LARGE else nullcontext():
        found = explore(Homes(scenario), most_states=_MOST_STATES, seconds=60)
    assert found.hole is None, "\n".join(found.hole)


def _handled(patch: Patch, kind: type[messages.Message], handler: Callable[[Turn, Any], None]) -> None:
    patch.setattr(decide, "_HANDLERS", {**decide._HANDLERS, kind: handler})


def an_index_left_behind_by_a_release(patch: Patch) -> None:
    patch.setattr(contacts, "index_of", lambda *_: {})


def a_merged_conversation_is_not_given_back(patch: Patch) -> None:
    patch.setattr(merges, "_give_back", lambda *_: None)


def a_survivor_claims_for_itself_only(patch: Patch) -> None:
    claim_all = contacts.claim_all
    patch.setattr(merges, "claim_all", lambda *given, **_: claim_all(*given))


def nothing_is_learnt_from_the_giver(patch: Patch) -> None:
    for module in (handover, contacts, merges):
        patch.setattr(module, "learn", lambda *_: None)
    _handled(patch, messages.ContactMoved, merges.moved)


@pytest.mark.parametrize(
    ("plant", "name"),
    [
        (claims_without_a_number, "saved, let go, saved; calls"),
        (not_mine_is_a_release, "saved, let go, saved; calls"),
        (an_alias_forwards_what_comes_from_intake, "an unlinked call goes through an alias"),
        (an_index_left_behind_by_a_release, "saved, let go; a call"),
        (a_merged_conversation_is_not_given_back, "merged with two open calls; the survivor deleted, the other erased"),
        (a_survivor_claims_for_itself_only, "a merge; a call"),
        (nothing_is_learnt_from_the_giver, "the owner changes; a call"),
    ],
)
def test_a_planted_defect_is_found(plant: Callable[[Patch], None], name: str, monkeypatch: Patch) -> None:
    plant(monkeypatch)
    assert explore(Homes(_SCENARIOS[name]), most_states=100_000, seconds=60).hole is not None


@pytest.mark.parametrize(
    ("start", "plant"),
    [
        (State(faults=1), "parts of any writer"),
        (State(), "expected ignored"),
        (State(rollbacks=1), "rows without applied"),
        (State(), "done too soon"),
        (State(rebuilds=1), "rebuilt beyond what is told"),
    ],
)
def test_of_a_partition_only_what_is_planted_is_found(start: State, plant: str) -> None:
    assert explore(Partition(start), most_states=5_000, seconds=60).hole is None
    assert explore(Partition(start, plants=frozenset({plant})), most_states=50_000, seconds=60).hole is not None
