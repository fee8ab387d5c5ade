"""Many stories, over all cores; and of one that fails, the shortest that still does."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.faults.processes import same_processes
from tests.faults.simulator import DISRUPTIONS, STEPS, Part, Simulation

MOST_RERUNS = 250
_CHUNK = 10


@dataclass(frozen=True, slots=True)
class Story:
    """How the story of a seed ended: what is wrong, and what befell the workers."""

    seed: int
    wrong: tuple[str, ...]
    befell: Counter[str]


def tell(seed: int) -> Story:
    """Tell the story of a seed."""
    simulation, wrong = _told(seed, STEPS, Part())
    return Story(seed, wrong, simulation.counted())


def tell_all(seeds: Iterable[int]) -> Iterator[Story]:
    """Tell many stories, on all cores."""
    with same_processes() as pool:
        yield from pool.map(tell, seeds, chunksize=_CHUNK)


def _told(seed: int, steps: int, part: Part) -> tuple[Simulation, tuple[str, ...]]:
    simulation = Simulation(seed, steps=steps, part=part)
    differences = asyncio.run(simulation.run())
    return simulation, (*map(repr, simulation.fatal), *map(str, differences))


@dataclass(frozen=True, slots=True)
class Shortest:
    """What has to befall the workers so that the story of a seed goes wrong, in a few words, and what is wrong then."""

    seed: int
    steps: int
    schedule: Sequence[str]
    wrong: Sequence[str]

    def __str__(self) -> str:
        schedule = "\n".join(f"  {each}" for each in self.schedule)
        wrong = "\n".join(f"  {each}" for each in self.wrong[:5])
        return (
            f"seed {self.seed}; again: python -m tests.faults tell {self.seed}\n"
            f"shortest schedule ({self.steps} steps, all else left out):\n{schedule}\nwrong then:\n{wrong}"
        )


def tell_again(seed: int) -> tuple[Story, Shortest | None]:
    """Tell the story of a seed as `tell_all` does; where it goes wrong, the shortest one besides."""
    with same_processes() as pool:
        story = pool.submit(tell, seed).result()
        return story, pool.submit(shorten, seed).result() if story.wrong else None


def shorten(seed: int) -> Shortest:
    """Drop what befalls the workers of a failing story, part by part, for as long as it still fails."""
    left = MOST_RERUNS

    def fails(steps: int, part: Part) -> bool:
        nonlocal left
        left -= 1
        return left > 0 and bool(_told(seed, steps, part)[1])

    steps = _fewest_steps(lambda steps: fails(steps, Part()))
    simulation, _ = _told(seed, steps, Part())
    faults = [(each.worker, each.draw) for each in simulation.befell]
    events: list[tuple[int, ...]] = [*faults, *((number,) for number, name in simulation.done if name in DISRUPTIONS)]
    needed = _fewest(events, lambda kept: fails(steps, _only(events, kept)))
    part = _only(events, needed)
    simulation, wrong = _told(seed, steps, part)
    schedule = [f"step {number}: {name}" for number, name in simulation.done if name in DISRUPTIONS]
    schedule += [f"worker {each.worker}, {each.call}: {each.fault}" for each in simulation.befell]
    return Shortest(seed, steps, schedule, wrong)


def _fewest_steps(fails: Callable[[int], bool]) -> int:
    """Return a number of steps that still fails: halving is right where failing sooner means failing later too."""
    low, high = 0, STEPS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(middle) else (middle, high)
    return high


def _fewest(
    events: Sequence[tuple[int, ...]], fails: Callable[[Sequence[tuple[int, ...]]], bool]
) -> list[tuple[int, ...]]:
    """Leave out large parts first, then small ones, then one by one."""
    kept, size = list(events), max(1, len(events) // 2)
    while kept:
        at, before = 0, len(kept)
        while at < len(kept):
            fewer = kept[:at] + kept[at + size :]
            if fails(fewer):
                kept = fewer
            else:
                at += size
        if size == 1 and len(kept) == before:
            break
        size = max(1, size // 2)
    return kept


def _only(events: Iterable[tuple[int, ...]], kept: Iterable[tuple[int, ...]]) -> Part:
    return Part(
        frozenset((each[0], each[1]) for each in kept if len(each) > 1),
        frozenset(each[0] for each in set(events) - set(kept) if len(each) == 1),
    )
