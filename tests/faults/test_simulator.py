"""Stories of workers that die, sleep and wake late; and that defects planted in the protocol are seen in them."""

import asyncio
import os

import pytest

from tests.faults.plants import PLANTS, Plant
from tests.faults.simulator import Simulation

SEEDS = 100 if os.environ.get("CI") else 15
MOST_SEEDS = 200


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_is_wrong_once_the_faults_are_over(seed: int) -> None:
    simulation = Simulation(seed)
    differences = asyncio.run(simulation.run())
    again = f"seed {seed}; again: python -m tests.faults {seed}; what befell it: {simulation.befell}"
    assert not simulation.fatal, f"{simulation.fatal[0]!r}; {again}"
    assert not differences, f"{[str(each) for each in differences]}; {again}"


@pytest.mark.parametrize("plant", PLANTS, ids=[plant.__name__ for plant in PLANTS])
def test_a_planted_defect_is_seen(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    for seed in range(MOST_SEEDS):
        simulation = Simulation(seed)
        differences = asyncio.run(simulation.run())
        for error in simulation.fatal:
            if isinstance(error, AttributeError | NameError):
                raise error  # the plant is out of date, and shows nothing
        if differences or simulation.fatal:
            return
    pytest.fail(f"{MOST_SEEDS} stories show nothing of it")
