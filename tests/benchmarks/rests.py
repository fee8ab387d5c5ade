"""For how long partitions tell nothing, under a load that would let them tell something all the time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, cycle
from random import Random

from interaction_router.application.views import UPDATES
from tests.benchmarks.load import EMAIL, PARTITIONS, interaction
from tests.benchmarks.measuring import StalledError
from tests.benchmarks.router import Namespace

LOOK_S = 0.02
_LIMIT_S = 300.0


@dataclass(slots=True)
class Rests:
    """For how long each partition of the updates has not grown at most, since this was made."""

    began_s: float = field(default_factory=time.monotonic)
    longest_s: dict[int, float] = field(default_factory=dict)
    _ends: dict[int, int] = field(default_factory=dict)
    _grew_s: dict[int, float] = field(default_factory=dict)

    async def look(self, router: Namespace) -> None:
        """See which have grown."""
        partitions = range(router.partitions)
        bounds = await asyncio.gather(*(router.log.bounds(UPDATES, partition) for partition in partitions))
        now_s = time.monotonic()
        for partition, (_, end) in zip(partitions, bounds, strict=True):
            if end != self._ends.setdefault(partition, end):
                rest_s = now_s - self._grew_s.get(partition, self.began_s)
                self.longest_s[partition] = max(rest_s, self.longest_s.get(partition, 0.0))
                self._ends[partition], self._grew_s[partition] = end, now_s

    async def until_all_grew(self, router: Namespace) -> None:
        """Look until every partition has grown once more."""
        since_s = time.monotonic()
        while sum(each > since_s for each in self._grew_s.values()) < router.partitions:
            await self.look(router)
            await self.pause()

    async def pause(self) -> None:
        """Wait until it is time to look again."""
        if time.monotonic() - self.began_s > _LIMIT_S:
            raise StalledError(f"not every partition is told of again after {_LIMIT_S:.0f} s")
        await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def load(router: Namespace, contacts: range, *, rate: float) -> AsyncIterator[None]:
    """Write so many interactions a second, of contacts drawn at random, to all partitions by turns."""
    random = Random(1)

    async def write() -> None:
        started_s = time.monotonic()
        for number, partition in zip(count(), cycle(range(PARTITIONS)), strict=False):
            _, record = interaction(random.choice(contacts), f"load-{number}", channel="email")
            await router.log.append(EMAIL, partition, [record])
            await asyncio.sleep(max(0.0, started_s + number / rate - time.monotonic()))

    writing = asyncio.create_task(write())
    try:
        yield
    finally:
        writing.cancel()
