"""Stories of workers that die, sleep and wake late; and that defects planted in the protocol are seen in them."""

import os

import pytest

from tests.faults.mutation import ALL, MOST_SEEDS, look_for
from tests.faults.plants import tables_before_updates
from tests.faults.simulator import DISRUPTIONS
from tests.faults.telling import Shortest, shorten, tell, tell_again, tell_all

SEEDS = 1000 if os.environ.get("CI") else 40
_FAULTS = ("before", "after", "torn", "twice", "late")


def test_nothing_is_wrong_once_the_faults_are_over() -> None:
    befell: set[str] = set()
    for story in tell_all(range(SEEDS)):
        if story.wrong:
            pytest.fail(str(tell_again(story.seed)[1]))
        befell |= set(story.befell)
    assert befell >= DISRUPTIONS
    for fault in _FAULTS:
        assert f"append internal.outcomes: {fault}" in befell


def test_planted_defects_are_seen() -> None:
    unseen = [sight.plant for sight in look_for(ALL) if sight.seen_by is None]
    assert not unseen, f"{MOST_SEEDS} stories show nothing of {unseen}"


def test_a_story_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of it still fails, with little happening in it, and is the same whenever it is told."""
    tables_before_updates(monkeypatch)
    seed = next(seed for seed in range(MOST_SEEDS) if tell(seed).wrong)
    shortest = shorten(seed)
    assert isinstance(shortest, Shortest)
    assert shortest.wrong
    assert len(shortest.schedule) < sum(tell(seed).befell.values()) / 4
    assert shorten(seed) == shortest
