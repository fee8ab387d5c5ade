"""Looking for planted defects: which story shows each, on all cores."""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import pytest

from tests.faults.plants import PLANTS, Plant
from tests.faults.simulator import Simulation

MOST_SEEDS = 200


@dataclass(frozen=True, slots=True)
class Sight:
    """What showed a planted defect, None for nothing, after so many stories."""

    plant: str
    seen_by: str | None
    told: int


def see(plant: Plant) -> Sight:
    """Tell stories with the defect until one goes wrong."""
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        for seed in range(MOST_SEEDS):
            simulation = Simulation(seed)
            differences = asyncio.run(simulation.run())
            for error in simulation.fatal:
                if isinstance(error, AttributeError | NameError):
                    raise error  # the plant is out of date, and shows nothing
            if differences or simulation.fatal:
                what = differences[0].name if differences else type(simulation.fatal[0]).__name__
                return Sight(plant.__name__, f"seed {seed}: {what}", seed + 1)
    return Sight(plant.__name__, None, MOST_SEEDS)


def _see(number: int) -> Sight:
    return see(PLANTS[number])


def look_for(plants: Sequence[Plant]) -> list[Sight]:
    """Look for each of the plants in processes of their own, so that none is left in this one."""
    numbers = [PLANTS.index(plant) for plant in plants]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("fork")) as pool:
        return list(pool.map(_see, numbers))
