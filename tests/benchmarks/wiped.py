"""How long a router tells nothing when its Redis is emptied under load: without a snapshot, and with one."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, cycle
from random import Random

import redis.asyncio as aioredis

from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.views import UPDATES
from interaction_router.domain.errors import RouterError
from tests.benchmarks.bench import Bench, ends
from tests.benchmarks.load import EMAIL, PARTITIONS, fill, interaction, interactions
from tests.benchmarks.measuring import StalledError
from tests.benchmarks.router import Namespace, fill_one_each, namespace, workers

_LIMIT_S = 300.0
_RATE = 200.0
_TAIL_SHARE = 10
_LOOK_S = 0.05


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


@dataclass(slots=True)
class Rests:
    """For how long each partition of the updates has not grown at most, since this was made."""

    began_s: float = field(default_factory=time.monotonic)
    longest_s: dict[int, float] = field(default_factory=dict)
    _ends: dict[int, int] = field(default_factory=dict)
    _grew_s: dict[int, float] = field(default_factory=dict)

    async def look(self, router: Namespace) -> None:
        """See which have grown."""
        for partition in range(router.partitions):
            end = (await router.log.bounds(UPDATES, partition)).end
            now_s = time.monotonic()
            if end != self._ends.setdefault(partition, end):
                rest_s = now_s - self._grew_s.get(partition, self.began_s)
                self.longest_s[partition] = max(rest_s, self.longest_s.get(partition, 0.0))
                self._ends[partition], self._grew_s[partition] = end, now_s

    def all_grew_since(self, moment_s: float, partitions: int) -> bool:
        """Tell whether every partition has grown since then."""
        return sum(each > moment_s for each in self._grew_s.values()) == partitions


async def wiped(bench: Bench) -> Wiped:
    """Empty the Redis of two workers, first without a snapshot, then with one that lacks a tenth of the contacts' next."""
    contacts = range(bench.sizes.wiped_contacts)
    async with namespace(bench, "wiped") as router:
        await fill_one_each(bench, router, contacts, "wiped")
        outcomes = await ends(router.log, OUTCOMES)
        async with workers(router.running, "all", "all"), _load(router, contacts):
            with bench.step("Redis wiped, no snapshot"):
                folded = await _wipe(bench, router)
            with bench.step("take a snapshot"):
                started_s = time.monotonic()
                snapshot = router.running.run("state", "snapshot")
                if await asyncio.to_thread(snapshot.process.wait) != 0:
                    raise StalledError(snapshot.errors.read_text())
                snapshot_s = time.monotonic() - started_s
            with bench.step("the tail", len(contacts) // _TAIL_SHARE) as step:
                before = await ends(router.log, OUTCOMES)
                tail = interactions(len(contacts) // _TAIL_SHARE, contacts, channel="email", prefix="tail")
                await fill(router.log, EMAIL, tail, tell=step.more)
                while await ends(router.log, OUTCOMES) < before + len(contacts) // _TAIL_SHARE:  # noqa: ASYNC110 - of other processes
                    await asyncio.sleep(_LOOK_S)
                tail_outcomes = await ends(router.log, OUTCOMES) - before
            with bench.step("Redis wiped, with a snapshot"):
                restored = await _wipe(bench, router)
    found = Wiped(outcomes, tail_outcomes, snapshot_s, *folded, *restored)
    bench.note(str(found))
    return found


async def _wipe(bench: Bench, router: Namespace) -> tuple[float, float]:
    """Empty Redis; return for how long the partition in the middle, and that of the longest rest, told nothing."""
    rests = Rests()
    await _until(lambda: rests.all_grew_since(rests.began_s, router.partitions), rests, router)
    client = aioredis.Redis.from_url(bench.redis.url)
    await client.flushall()
    await client.aclose()
    rests = Rests()
    standing = [(await router.log.bounds(OUTCOMES, partition)).end for partition in range(router.partitions)]
    behind = set(range(router.partitions))
    while behind:
        await rests.look(router)
        behind -= {partition for partition in behind if await _outcome(router, partition) >= standing[partition] - 1}
        await _pause(rests)
    back_s = time.monotonic()
    await _until(lambda: rests.all_grew_since(back_s, router.partitions), rests, router)
    longest = sorted(rests.longest_s.values())
    return longest[len(longest) // 2], longest[-1]


async def _until(condition: Callable[[], bool], rests: Rests, router: Namespace) -> None:
    while not condition():
        await rests.look(router)
        await _pause(rests)


async def _pause(rests: Rests) -> None:
    if time.monotonic() - rests.began_s > _LIMIT_S:
        raise StalledError(f"not every partition is told of again after {_LIMIT_S:.0f} s")
    await asyncio.sleep(_LOOK_S)


async def _outcome(router: Namespace, partition: int) -> int:
    """Return the last outcome that the tables have, -1 where they have none that count."""
    try:
        return await router.outcome(partition)
    except RouterError:
        return -1


@asynccontextmanager
async def _load(router: Namespace, contacts: range) -> AsyncIterator[None]:
    """Write interactions of contacts drawn at random, at a rate that keeps every partition busy and no worker."""
    random = Random(1)

    async def write() -> None:
        started_s = time.monotonic()
        for number, partition in zip(count(), cycle(range(PARTITIONS)), strict=False):
            _, record = interaction(random.choice(contacts), f"load-{number}", channel="email")
            await router.log.append(EMAIL, partition, [record])
            await asyncio.sleep(max(0.0, started_s + number / _RATE - time.monotonic()))

    writing = asyncio.create_task(write())
    try:
        yield
    finally:
        writing.cancel()
