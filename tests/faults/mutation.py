"""Looking for planted defects: which story shows each, on all cores."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.checker import Difference
from tests.faults.concurrent import ConcurrentDriver
from tests.faults.plants import PLANTS, Plant
from tests.faults.plants_between import PLANTS_BETWEEN, PLANTS_BETWEEN_HOMES
from tests.faults.plants_restoring import PLANTS_RESTORING
from tests.faults.processes import same_processes
from tests.faults.quiet import faults_at_rest
from tests.faults.simulator import Simulation
from tests.model.steps import Timed
from tests.model.strategies import POLICY, histories

MOST_SEEDS = 400
MOST_HISTORIES = 400
SEEN_LAST: Mapping[str, int] = {
    "the_state_topic_is_not_mended": 46,
    "a_watermark_for_interactions": 121,
    "not_mine_is_a_release": 63,
}
"""The stories that last showed what few do: each is told first, so that the others need not be."""
SCRIPTED = (
    "sends before updates",
    "an index left behind by a release",
    "tables of another log gone on with",
    "rows visible before a rebuild's flip",
    "a snapshot beside rows",
    "rows of an older snapshot stay",
)
"""What `test_scripted_plants` plants: nothing in a story comes by it."""
ALL: tuple[Plant, ...] = (*PLANTS, *PLANTS_BETWEEN, *PLANTS_RESTORING, *PLANTS_BETWEEN_HOMES)


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
        first = SEEN_LAST.get(plant.__name__, 0)
        for told, seed in enumerate(sorted({first, *range(MOST_SEEDS)}, key=lambda seed: (seed != first, seed)), 1):
            simulation = Simulation(seed)
            differences: Sequence[Difference] = []
            try:
                differences = asyncio.run(simulation.run())
            except Exception as error:  # noqa: BLE001 - what comes of a defect may be anything
                simulation.fatal.append(error)
            for each in simulation.fatal:
                if isinstance(each, AttributeError | NameError):
                    raise each  # the plant is out of date, and shows nothing
            if differences or simulation.fatal:
                what = differences[0].name if differences else type(simulation.fatal[0]).__name__
                return Sight(plant.__name__, f"seed {seed}: {what}", told)
    return Sight(plant.__name__, None, MOST_SEEDS)


@settings(
    max_examples=MOST_HISTORIES,
    phases=[Phase.generate],
    database=None,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(histories(), st.integers(0, 2**32), st.sampled_from((1, 2, 4, 16)))
def _in_any_order(history: list[Timed], seed: int, partitions: int) -> None:
    driver = ConcurrentDriver(POLICY, seed=seed, partitions=partitions)
    if not driver.run(history):
        raise SimulationError("something is sent round for ever")
    wrong = faults_at_rest(driver.busy)
    if wrong:
        raise SimulationError(wrong[0])


class SimulationError(Exception):
    """What is wrong at rest."""


def see_between_homes(plant: Plant) -> Sight:
    """Let histories happen in any order of arrival with the defect until something is wrong at rest."""
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        try:
            _in_any_order()
        except Exception as error:  # noqa: BLE001 - what comes of a defect may be anything
            return Sight(plant.__name__, f"any order of arrival: {type(error).__name__}", MOST_HISTORIES)
    return Sight(plant.__name__, None, MOST_HISTORIES)


def _see(number: int) -> Sight:
    plant = ALL[number]
    return see_between_homes(plant) if plant in PLANTS_BETWEEN_HOMES else see(plant)


def look_for(plants: Sequence[Plant]) -> list[Sight]:
    """Look for each of the plants in processes of their own, so that none is left in this one."""
    numbers = [ALL.index(plant) for plant in plants]
    with same_processes() as pool:
        return list(pool.map(_see, numbers))
