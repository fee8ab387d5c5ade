"""How long a router tells nothing when its Redis is emptied under load: without a snapshot, and with one."""

import asyncio
import time
from dataclasses import dataclass

import redis.asyncio as aioredis

from interaction_router.application.outcomes import OUTCOMES
from interaction_router.domain.errors import RouterError
from tests.benchmarks.bench import Bench, ends
from tests.benchmarks.load import EMAIL, fill, interactions
from tests.benchmarks.measuring import StalledError
from tests.benchmarks.rests import LOOK_S, Rests, load
from tests.benchmarks.router import Namespace, fill_one_each, namespace, workers

_RATE = 200.0
_TAIL_SHARE = 10


@dataclass(frozen=True, slots=True)
class Wiped:
    """For how long partitions were without an update when Redis was emptied: the longest of them, and one in the middle.

    `folded_*` where all outcomes are folded, `restored_*` where there is a snapshot that lacks the last `tail` of them.
    """

    outcomes: int
    tail: int
    snapshot_s: float
    folded_p50_s: float
    folded_max_s: float
    restored_p50_s: float
    restored_max_s: float


async def wiped(bench: Bench) -> Wiped:
    """Empty the Redis of two workers, first without a snapshot, then with one that lacks a tenth of the contacts' next."""
    contacts = range(bench.sizes.wiped_contacts)
    async with namespace(bench, "wiped") as router:
        await fill_one_each(bench, router, contacts, "wiped")
        outcomes = await ends(router.log, OUTCOMES)
        async with workers(router.running, "all", "all"):
            async with load(router, contacts, rate=_RATE):
                with bench.step("Redis wiped, no snapshot"):
                    folded = await _wipe(bench, router)
            with bench.step("take a snapshot"):
                started_s = time.monotonic()
                snapshot = router.running.run("state", "snapshot")
                if await asyncio.to_thread(snapshot.process.wait) != 0:
                    raise StalledError(snapshot.errors.read_text())
                snapshot_s = time.monotonic() - started_s
            before = await ends(router.log, OUTCOMES)
            with bench.step("the tail", len(contacts) // _TAIL_SHARE) as step:
                tail = interactions(len(contacts) // _TAIL_SHARE, contacts, channel="email", prefix="tail")
                await fill(router.log, EMAIL, tail, tell=step.more)
                while await ends(router.log, OUTCOMES) < before + len(contacts) // _TAIL_SHARE:  # noqa: ASYNC110 - of other processes
                    await asyncio.sleep(LOOK_S)
            tail_outcomes = await ends(router.log, OUTCOMES) - before
            async with load(router, contacts, rate=_RATE):
                with bench.step("Redis wiped, with a snapshot"):
                    restored = await _wipe(bench, router)
    found = Wiped(outcomes, tail_outcomes, snapshot_s, *folded, *restored)
    bench.note(str(found))
    return found


async def _wipe(bench: Bench, router: Namespace) -> tuple[float, float]:
    """Empty Redis; return for how long the partition in the middle, and that of the longest rest, told nothing."""
    rests = Rests()
    await rests.until_all_grew(router)
    client = aioredis.Redis.from_url(bench.redis.url)
    await client.flushall()
    await client.aclose()
    rests = Rests()
    standing = [(await router.log.bounds(OUTCOMES, partition)).end for partition in range(router.partitions)]
    behind = set(range(router.partitions))
    while behind:
        await rests.look(router)
        behind -= {partition for partition in behind if await _outcome(router, partition) >= standing[partition] - 1}
        await rests.pause()
    await rests.until_all_grew(router)
    longest = sorted(rests.longest_s.values())
    return longest[len(longest) // 2], longest[-1]


async def _outcome(router: Namespace, partition: int) -> int:
    """Return the last outcome that the tables have, -1 where they have none that count."""
    try:
        return await router.outcome(partition)
    except RouterError:
        return -1
