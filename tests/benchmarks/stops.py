"""How long a partition tells nothing when its worker is asked to stop, and another one goes on with it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.benchmarks.bench import Bench
from tests.benchmarks.rests import Rests, load
from tests.benchmarks.router import Namespace, fill_one_each, namespace
from tests.integration.running import Running, Worker

_RATE = 400.0
_CONTACTS = 2_000
_SETTLED_S = 3.0


@dataclass(frozen=True, slots=True)
class Stops:
    """For how long a partition was without an update at each stop: over all partitions, and over the longest of each stop."""

    stops: int
    all_p50_s: float
    p50_s: float
    max_s: float


async def stops(bench: Bench) -> dict[str, Stops]:
    """Stop one of two workers again and again: such that have names in their group, and such that have none."""
    contacts = range(_CONTACTS)
    found: dict[str, Stops] = {}
    for kind in ("dynamic", "static"):
        async with namespace(bench, f"stops-{kind}") as router:
            await fill_one_each(bench, router, contacts, f"stops of {kind} members")
            with bench.step(f"stops of {kind} members", bench.sizes.stops) as step:
                async with _two(router.running, named=kind == "static") as started, load(router, contacts, rate=_RATE):
                    rests: list[Rests] = []
                    for number in range(bench.sizes.stops):
                        rests.append(await _stop(router, started, number % 2, named=kind == "static"))
                        step.more(1)
            found[kind] = _summed_up(rests)
            bench.note(f"{kind}: {found[kind]}")
    return found


@asynccontextmanager
async def _two(running: Running, *, named: bool) -> AsyncIterator[list[Worker]]:
    workers = [_started(running, number, named=named) for number in range(2)]
    try:
        await asyncio.gather(*(worker.ready() for worker in workers))
        yield workers
    finally:
        for worker in workers:
            worker.kill()


def _started(running: Running, number: int, *, named: bool) -> Worker:
    return running.worker(*(("--set", f"kafka.group_instance_id=worker-{number}") if named else ()))


async def _stop(router: Namespace, workers: list[Worker], number: int, *, named: bool) -> Rests:
    """Stop one, wait until the other one has everything, and start it again; tell how long partitions rested till then."""
    before = Rests()
    await before.until_all_grew(router)
    await asyncio.sleep(_SETTLED_S)
    rests = Rests()
    stopping = asyncio.create_task(asyncio.to_thread(workers[number].stop))
    await rests.until_all_grew(router)
    while not stopping.done():
        await rests.look(router)
        await rests.pause()
    await stopping
    await rests.until_all_grew(router)
    workers[number] = _started(router.running, number, named=named)
    await workers[number].ready()
    return rests


def _summed_up(rests: list[Rests]) -> Stops:
    each = sorted(length for rest in rests for length in rest.longest_s.values())
    longest = sorted(max(rest.longest_s.values()) for rest in rests)
    return Stops(len(rests), each[len(each) // 2], longest[len(longest) // 2], longest[-1])
