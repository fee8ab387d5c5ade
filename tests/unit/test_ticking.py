"""What the owner of a partition appends as time passes: all that is due, and of each partition whatever the others do."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.stages import AssignmentStage
from interaction_router.application.views import DUE, LOG, STATE, TENANTS, UPDATES, Views
from interaction_router.bootstrap.router import begun_every
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.messages import PolicyIndexed, Retire, Tick
from interaction_router.domain.rows import POLICY, Policy
from interaction_router.ports import Outgoing, Writes
from interaction_router.wire.codec import decode_log_record, encode_row
from tests.faults.simulator import ManualClock

MANY = 1_200
DAY_MS = 86_400_000


class HaltingLog(EmbeddedLog):
    """A log with a partition that has no leader."""

    leaderless: int | None = None

    def __init__(self, database: EmbeddedDatabase, clock: ManualClock) -> None:
        super().__init__(database, clock)
        self.given_up = asyncio.Event()
        self.given_up.set()
        self.waiting = 0

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        if partition == self.leaderless:
            self.waiting += 1
            await self.given_up.wait()
            raise RetryableError("kafka_unavailable", "The partition has no leader.")
        return await super().append(stream, partition, records)


class Owner:
    """The owner of two partitions; nothing that it appends is decided."""

    def __init__(self, log: HaltingLog, tables: EmbeddedTables, clock: ManualClock) -> None:
        self.log = log
        self.clock = clock
        self._tables = tables
        views = Views(namespace="router", partitions=2, lineage="a/b")
        self.stage = AssignmentStage(log, tables, clock, views, policy=Policy(), cache_rows=100)

    async def put(self, partition: int, name: str, members: Sequence[str]) -> None:
        """Put members into a sorted set, of a time long ago."""
        scores = {(name, member): 1.0 for member in members} | {(TENANTS, "acme"): 0.0}
        await self.write(partition, Writes(scores=scores))

    async def write(self, partition: int, writes: Writes) -> None:
        await self._tables.apply(partition, after=-1, applied=-1, writes=writes)

    async def named(self, partition: int, kind: type[Tick | Retire]) -> list[str]:
        """Return the conversations of all such records in the log."""
        records = await self.log.read(LOG, partition, 0, limit=10_000)
        told = (decode_log_record(each.value or b"", each.headers, arrived_ms=0).message for each in records)
        return [conversation for each in told if isinstance(each, kind) for conversation in each.conversations]


@pytest.fixture
async def owner() -> AsyncIterator[Owner]:
    with EmbeddedDatabase() as database:
        clock = ManualClock()
        log, tables = HaltingLog(database, clock), EmbeddedTables(database)
        for stream in (LOG, OUTCOMES, UPDATES, STATE):
            await log.create(stream, 2)
        owner = Owner(log, tables, clock)
        for partition in range(2):
            await owner.stage.committed(LOG, partition)
        yield owner


async def test_all_that_is_due_gets_a_tick_at_once(owner: Owner) -> None:
    """A conversation closes within 5 s of its time, also where many of one moment were waiting; no tick names many."""
    names = [f"{nth:04}" for nth in range(MANY)]
    await owner.put(0, DUE, [f"acme/{each}" for each in names])
    await owner.stage.tick()
    assert sorted(await owner.named(0, Tick)) == names
    assert (await owner.log.bounds(LOG, 0)).end > 1
    await owner.stage.tick()
    assert len(await owner.named(0, Tick)) == MANY, "those of a moment ago are on their way"


async def test_all_whose_time_in_the_lists_is_over_are_named_at_once(owner: Owner) -> None:
    names = [f"{nth:04}" for nth in range(MANY)]
    await owner.put(0, "closed:acme", names)
    await owner.stage.tick()
    assert sorted(await owner.named(0, Retire)) == names


async def test_all_that_is_open_gets_a_tick_under_new_settings(owner: Owner) -> None:
    """Page by page: one moment has more than a page of them."""
    names = [f"{nth:05}" for nth in range(25_000)]
    scores = {("open:acme", each): float(max(0, nth - 15_000)) for nth, each in enumerate(names)}
    await owner.put(0, "open:acme", [])
    await owner.write(0, Writes(scores=scores, puts={POLICY: encode_row(Policy(pending="new"))}))
    await owner.stage.tick()
    assert sorted(set(await owner.named(0, Tick))) == names
    last = (await owner.log.read(LOG, 0, (await owner.log.bounds(LOG, 0)).end - 1))[0]
    message = decode_log_record(last.value or b"", last.headers, arrived_ms=0).message
    assert message == PolicyIndexed("new"), "the settings are pending until all ticks are in the log"


async def test_a_partition_without_a_leader_holds_up_no_other(owner: Owner) -> None:
    for partition in range(2):
        await owner.put(partition, DUE, [f"acme/{partition}"])
    owner.log.leaderless = 0
    await owner.stage.tick()
    assert [await owner.named(partition, Tick) for partition in range(2)] == [[], ["1"]]


async def test_a_partition_whose_leader_is_waited_for_holds_up_no_other(owner: Owner) -> None:
    """An append may take its time before it fails."""
    for partition in range(2):
        await owner.put(partition, DUE, [f"acme/{partition}"])
    owner.log.leaderless = 0
    owner.log.given_up.clear()
    beating = asyncio.create_task(begun_every(0, owner.stage.tick))

    async def ticks_of(partition: int, least: int) -> None:
        while len(await owner.named(partition, Tick)) < least:
            owner.clock.ms += 5_000
            await asyncio.sleep(0)

    async with asyncio.timeout(20):
        await ticks_of(1, 2)
        assert owner.log.waiting == 1, "what waits is not begun again"
        owner.log.leaderless = None
        owner.log.given_up.set()
        await ticks_of(0, 1)
    beating.cancel()
