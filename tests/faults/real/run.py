"""One run: load, faults one after the other, rest, and what is found then."""

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import quantiles
from typing import NamedTuple

from interaction_router.bootstrap.storage import redis_tables
from interaction_router.bootstrap.terms import intake_settings
from tests.checker import Difference, check
from tests.faults.real.kinds import KINDS, NEED_DISKS
from tests.faults.real.world import PARTITIONS, UPDATES, World
from tests.integration.running import at_rest

FAULTS = 76
MOST_S = 500.0
RECOVERY_LIMIT_S = 30.0
_SILENCE_S = 8.0
"""A request to a server that was silent may be tried again only after that."""
_REST_LIMIT_S = 150.0
_LOST = frozenset({"lost", "undecided", "not_refused"})
_TWICE = frozenset({"in_two_conversations", "event_told", "opened_twice"})


class Recovery(NamedTuple):
    """For how many seconds a partition was without an update at most, and after how many since everything ran again."""

    rest_s: float
    back_s: float


@dataclass(frozen=True, slots=True)
class Row:
    """How a kind of fault went, over all partitions."""

    kind: str
    times: int
    p50_s: float
    p99_s: float
    back_p50_s: float
    back_p99_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """What a run has found."""

    rows: Sequence[Row]
    all: Row
    written: int
    updates: int
    repeated: int
    lost: int
    twice: int
    others: int
    exits: Sequence[str]
    differences: Sequence[str]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.differences

    def plain(self) -> dict[str, object]:
        """Return it for JSON."""
        return asdict(self)


async def run(folder: Path, *, faults: int = FAULTS, seconds: float = MOST_S, seed: int = 0) -> Report:
    """Inflict the faults, every kind in turn, and compare what is there at rest with what was ordered in the log."""
    random = Random(seed)
    async with World.opened(folder) as world:
        stop = asyncio.Event()
        tasks = [asyncio.create_task(world.supervise()), asyncio.create_task(world.look())]
        feeding = asyncio.create_task(world.feed(stop))
        try:
            recoveries = await _inflict(world, random, faults=faults, seconds=seconds)
            stop.set()
            await feeding
            async with redis_tables(world.past_the_proxies) as tables:
                await at_rest(world.past_the_proxies, world.log(), tables, within_s=_REST_LIMIT_S, rest_s=_SILENCE_S)
                differences = await check(world.log(), tables, intake_settings(world.past_the_proxies))
            told, repeated = await _told(world)
        finally:
            for task in (*tasks, feeding):
                task.cancel()
            await asyncio.gather(*tasks, feeding, return_exceptions=True)
            await world.log().stop()
        return _report(world, recoveries, differences, told, repeated)


async def _inflict(world: World, random: Random, *, faults: int, seconds: float) -> dict[str, list[Recovery]]:
    recoveries: dict[str, list[Recovery]] = defaultdict(list)
    kinds = [kind for kind in KINDS if world.has_disks or kind not in NEED_DISKS]
    started = time.monotonic()
    await world.reached(world.mark(), within_s=RECOVERY_LIMIT_S)
    for number in range(faults):
        if time.monotonic() - started > seconds:
            break
        inflict = kinds[number % len(kinds)]
        begun = world.mark()
        await inflict(world, random)
        back = world.mark()
        since_back = await world.reached(back, within_s=RECOVERY_LIMIT_S)
        rests = world.rests(begun)
        recoveries[inflict.__name__] += map(Recovery, rests, since_back)
        slowest = max(rests), max(since_back)
        print(
            f"{number + 1:3} {inflict.__name__:22} {slowest[0]:5.1f} s {slowest[1]:5.1f} s", file=sys.stderr, flush=True
        )
        await asyncio.sleep(random.random())
    return recoveries


async def _told(world: World) -> tuple[int, int]:
    """Return how many updates there are, and how many of them are repeats."""
    log, seen, count = world.log(), set(), 0
    for partition in range(PARTITIONS):
        start, end = await log.bounds(UPDATES, partition)
        while start < end and (records := await log.read(UPDATES, partition, start)):
            for record in records:
                count += 1
                seen.add(dict(record.headers)["ce_id"])
            start = records[-1].offset + 1
    return count, count - len(seen)


def _report(
    world: World, recoveries: dict[str, list[Recovery]], differences: Sequence[Difference], told: int, repeated: int
) -> Report:
    names = [difference.name for difference in differences]
    lost, twice = (sum(name in kinds for name in names) for kinds in (_LOST, _TWICE))
    return Report(
        [_row(kind, took) for kind, took in recoveries.items()],
        _row("all", [each for took in recoveries.values() for each in took]),
        world.written,
        told,
        repeated,
        lost,
        twice,
        len(names) - lost - twice,
        world.exits,
        [str(difference) for difference in differences],
    )


def _row(kind: str, took: Sequence[Recovery]) -> Row:
    (p50, p99), (back_p50, back_p99) = (_cuts([each[of] for each in took]) for of in range(2))
    return Row(kind, len(took) // PARTITIONS, p50, p99, back_p50, back_p99)


def _cuts(took: Sequence[float]) -> tuple[float, float]:
    cuts = quantiles(took, n=100, method="inclusive")
    return round(cuts[49], 2), round(cuts[98], 2)
