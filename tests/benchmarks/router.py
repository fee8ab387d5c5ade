"""The router's rows: its worker processes on real servers, fed from topics that were filled before."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import redis.asyncio as aioredis

from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.views import HEAD, LOG, UPDATES, read_head
from interaction_router.bootstrap.storage import redis_tables
from interaction_router.ports import Tables
from tests.benchmarks.bench import Bench, Group, ends
from tests.benchmarks.load import CONTACTS, EMAIL, PARTITIONS, SMS, fill, interactions, one_each, saves
from tests.benchmarks.measuring import Cost, StalledError, drained, peak_rss_mib
from tests.integration.running import Running, Worker

CACHE_ROWS = 20_000
"""The rows that the cache of `memory` has place for."""

_REST_S = 2.0
_LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Stages:
    """The cost of the stages, each alone and both together."""

    intake: Cost
    assignment: Cost
    end_to_end: Cost


@dataclass(frozen=True, slots=True)
class Takeover:
    """How long a worker needs to be ready where its tables are there, and how much longer where they are folded from nothing."""

    outcomes: int
    ready_s: float
    folded_s: float


@dataclass(frozen=True, slots=True)
class Namespace:
    """A router's topics and tables, seen from outside."""

    running: Running
    log: KafkaLog
    tables: Tables
    partitions: int

    async def decided(self) -> int:
        """Return how many log records are decided, published and in Redis."""
        return sum([(await self.tables.load(each, [])).applied + 1 for each in range(self.partitions)])

    async def outcome(self, partition: int) -> int:
        """Return where the last outcome stands that the tables have, -1 for none."""
        _, outcome, _ = read_head((await self.tables.load(partition, [], [HEAD])).buckets[0])
        return outcome


@asynccontextmanager
async def namespace(
    bench: Bench, name: str, *, partitions: int = PARTITIONS, **settings: str
) -> AsyncIterator[Namespace]:
    """Make the topics, and have the router's log and tables."""
    running = bench.running(name, TOPICS__PARTITIONS=str(partitions), **settings)
    await running.apply_topics()
    log = running.log()
    try:
        async with redis_tables(running.settings) as tables:
            yield Namespace(running, log, tables, partitions)
    finally:
        await log.stop()


@asynccontextmanager
async def workers(running: Running, *roles: str, wait: bool = True) -> AsyncIterator[Sequence[Worker]]:
    """Have a worker process a role; they are stopped in order, and killed where that fails."""
    started = [running.worker("--role", role) for role in roles]
    try:
        if wait:
            await asyncio.gather(*(worker.ready() for worker in started))
        yield started
        for worker in started:
            await asyncio.to_thread(worker.stop)
    finally:
        for worker in started:
            worker.kill()


async def stages(bench: Bench, router: Namespace) -> Stages:
    """Measure intake and assignment on one half of the contacts, and both together on the other."""
    records, contacts = bench.sizes.records, bench.sizes.contacts
    first, second = range(contacts), range(contacts, 2 * contacts)
    with bench.step("save contacts", 4 * contacts) as step:
        await fill(router.log, CONTACTS, saves(range(2 * contacts), channel="sms"), tell=step.more)
        async with workers(router.running, "intake", "assignment"):
            await _rest(router, at_least=2 * contacts)
    with bench.step("fill the raw topic", records) as step:
        await fill(router.log, SMS, interactions(records, first, channel="sms", prefix="A"), tell=step.more)
    intake = await _intake(bench, router)
    assignment = await _decisions(bench, router, "assignment", ("assignment",))
    with bench.step("fill the raw topic again", records) as step:
        await fill(router.log, SMS, interactions(records, second, channel="sms", prefix="B"), tell=step.more)
    end_to_end = await _decisions(bench, router, "end to end", ("intake", "assignment"))
    return Stages(intake, assignment, end_to_end)


async def _intake(bench: Bench, router: Namespace) -> Cost:
    begin = await ends(router.log, LOG)

    async def progress() -> int:
        return await ends(router.log, LOG) - begin

    return await _measure(bench, router, "intake", ("intake",), progress)


async def _decisions(bench: Bench, router: Namespace, what: str, roles: Sequence[str]) -> Cost:
    """Measure what ends with decisions, and see to it that the work was done.

    There has to be an update a record, and one for each conversation that was opened.
    """
    begin, told = await router.decided(), await ends(router.log, UPDATES)

    async def progress() -> int:
        return await router.decided() - begin

    cost = await _measure(bench, router, what, roles, progress)
    found = await ends(router.log, UPDATES) - told
    records, contacts = bench.sizes.records, bench.sizes.contacts
    if not records <= found <= records + contacts:
        raise StalledError(f"{found} updates of {records} records of {contacts} contacts")
    return cost


async def _measure(
    bench: Bench, router: Namespace, what: str, roles: Sequence[str], progress: Callable[[], Awaitable[int]]
) -> Cost:
    """Start a process a role, and measure until what is there is done."""
    settings = router.running.settings
    streams = {"intake": SMS, "assignment": LOG}
    groups = [Group(f"{settings.namespace}-{role}", f"{settings.namespace}.{streams[role]}") for role in roles]

    async def committed() -> bool:
        return all([await group.committed(settings.kafka) for group in groups])

    async with workers(router.running, *roles, wait=False) as started:
        subjects = bench.subjects([worker.process.pid for worker in started])
        with bench.step(what, bench.sizes.records) as step:
            cost = await drained(subjects, progress, committed, bench.sizes.records, tell=step.done)
    bench.note(f"{what}: {cost}")
    return cost


async def takeover(bench: Bench) -> Takeover:
    """Measure how a partition is taken over whose rows are gone: one with many contacts, a conversation each."""
    contacts = range(bench.sizes.takeover_contacts)
    async with namespace(bench, "takeover", partitions=1) as router:
        await fill_one_each(bench, router, contacts, "one partition")
        outcomes = await ends(router.log, OUTCOMES)
        started_s = time.monotonic()
        async with workers(router.running, "assignment"):
            ready_s = time.monotonic() - started_s
        client = aioredis.Redis.from_url(bench.redis.url)
        await client.flushall()
        await client.aclose()
        with bench.step("take over"):
            started_s = time.monotonic()
            async with workers(router.running, "assignment", wait=False) as (worker,):
                while (await router.tables.load(0, [])).applied + 1 < outcomes:
                    _check_alive(worker, started_s)
                    await asyncio.sleep(0.05)
                folded_s = time.monotonic() - started_s - ready_s
    found = Takeover(outcomes, ready_s, folded_s)
    bench.note(str(found))
    return found


async def memory(bench: Bench) -> float:
    """Return the peak of an assignment worker that has seen many more contacts than its cache holds rows."""
    contacts = range(bench.sizes.memory_contacts)
    async with namespace(bench, "memory", WORKER__CACHE_ROWS=str(CACHE_ROWS)) as router:
        return await fill_one_each(bench, router, contacts, "many contacts")


async def fill_one_each(bench: Bench, router: Namespace, contacts: range, what: str) -> float:
    """Save contacts and open a conversation for each; return the peak of the assignment worker in MiB."""
    with bench.step(f"{what}: fill", 2 * len(contacts)) as step:
        saved = saves(contacts, channel="email")
        await fill(router.log, CONTACTS, saved, partitions=router.partitions, tell=step.more)
        async with workers(router.running, "intake", "assignment") as (_, assignment):
            await _rest(router, at_least=len(contacts))
            each = one_each(contacts, channel="email")
            await fill(router.log, EMAIL, each, partitions=router.partitions, tell=step.more)
            await _rest(router, at_least=2 * len(contacts))
            return peak_rss_mib(assignment.process.pid)


async def _rest(router: Namespace, *, at_least: int) -> None:
    """Wait until so many records and what followed from them are decided, and nothing moves for a while."""
    started_s = since_s = time.monotonic()
    before = -1
    while time.monotonic() - since_s < _REST_S:
        end, decided = await ends(router.log, LOG), await router.decided()
        if decided < max(at_least, end) or end != before:
            since_s, before = time.monotonic(), end
        if time.monotonic() - started_s > _LIMIT_S:
            raise StalledError(f"{decided} of {end} log records decided after {_LIMIT_S:.0f} s")
        await asyncio.sleep(0.2)


def _check_alive(worker: Worker, started_s: float) -> None:
    if worker.process.poll() is not None or time.monotonic() - started_s > _LIMIT_S:
        raise StalledError(f"the worker did not take over: {worker.errors.read_text()[-2000:]}")
