"""`state verify` and `state rebuild` on a real broker and a real Valkey, with workers at work."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import orjson
import pytest
import redis.asyncio as aioredis
from aiokafka.admin import AIOKafkaAdminClient

from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.bootstrap.state import opened_state
from interaction_router.bootstrap.storage import redis_tables
from interaction_router.bootstrap.terms import intake_settings
from interaction_router.cli.app import run
from interaction_router.cli.invocation import Invocation
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Writes, shadow_of
from tests.checker import check
from tests.e2e.embedded import Ran
from tests.integration.running import Running, Worker, at_rest, saved, sms, until, updates
from tests.servers import Broker, RedisServer

PARTITIONS = 3
SAVED = 40
BEFORE = 300


class Stage:
    """A namespace with contacts and conversations, and the program on it."""

    def __init__(self, running: Running, capsys: pytest.CaptureFixture[str], redis_url: str) -> None:
        self.running = running
        self.log: KafkaLog = running.log()
        self.redis = aioredis.Redis.from_url(redis_url)
        self._capsys = capsys
        self._next: dict[int, int] = {}
        self._added: set[str] = set()

    async def __call__(self, *args: str) -> Ran:
        code = await asyncio.to_thread(run, ["state", *args], Invocation(env=self.running.env))
        return Ran(code, *self._capsys.readouterr())

    async def kinds(self) -> set[tuple[str, int]]:
        ran = await self("verify", "--json")
        assert ran.code in {0, 1}, ran.err
        return {(each["what"], each["partition"]) for each in ran.json["differences"]}

    async def keys(self, partition: int, kind: str) -> list[bytes]:
        pattern = f"{self.running.settings.namespace}:{{{partition}}}:{kind}*"
        return sorted([key async for key in self.redis.scan_iter(pattern, count=10_000)])

    async def at_rest(self) -> None:
        """Wait until everything is decided and in the tables, and nothing more comes of it."""
        async with redis_tables(self.running.settings) as tables:
            await at_rest(self.running.settings, self.log, tables)

    async def wait_for(self, count: int) -> None:
        """Wait until so many interactions have been told."""

        async def told() -> bool:
            for partition in range(PARTITIONS):
                while records := await self.log.read("conversations.v1", partition, self._next.get(partition, 0)):
                    self._next[partition] = records[-1].offset + 1
                    told = [orjson.loads(record.value or b"") for record in records]
                    self._added.update(each["id"] for each in told if each["type"].endswith("_added"))
            return len(self._added) >= count

        await until(told, within_s=120)

    async def everything(self) -> dict[bytes, bytes]:
        """Return what Redis has, as it would dump it."""
        found = {}
        async for key in self.redis.scan_iter(f"{self.running.settings.namespace}:*", count=10_000):
            found[key] = await self.redis.dump(key) or b""
        return found


@pytest.fixture
async def stage(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Stage]:
    running = Running(
        bootstrap=broker.bootstrap,
        redis_url=redis_server.url,
        namespace=namespace,
        folder=tmp_path,
        TOPICS__PARTITIONS=str(PARTITIONS),
    )
    await running.apply_topics()
    stage = Stage(running, capsys, redis_server.url)
    yield stage
    await stage.log.stop()
    await stage.redis.aclose()


@contextmanager
def working(stage: Stage) -> Iterator[Worker]:
    worker = stage.running.worker()
    try:
        yield worker
    finally:
        worker.kill()


@asynccontextmanager
async def load(stage: Stage) -> AsyncIterator[list[str]]:
    """Have parties of its own write all the time; what they wrote is listed."""
    written: list[str] = []
    ended = asyncio.Event()

    async def write() -> None:
        while not ended.is_set():
            names = [f"L{len(written) + number}" for number in range(5)]
            records = [sms(name, f"+2783{1_000_000 + number * 7}") for number, name in enumerate(names)]
            await stage.log.append("interactions.sms.v1", len(written) // 5 % PARTITIONS, records)
            written.extend(names)
            await asyncio.sleep(0.05)

    writing = asyncio.create_task(write())
    try:
        yield written
    finally:
        ended.set()
        await writing


async def fill(stage: Stage) -> None:
    contacts = [saved(f"c{number}", f"+2782{1_000_000 + number}") for number in range(SAVED)]
    await stage.log.append("contacts.v1", 0, contacts)
    records = [sms(f"S{number}", f"+2782{1_000_000 + number % (2 * SAVED)}") for number in range(BEFORE)]
    await stage.log.append("interactions.sms.v1", 0, records)
    await stage.wait_for(BEFORE)


async def test_tables_are_checked_and_made_anew_while_the_worker_works(stage: Stage) -> None:
    """Its own partition's and those of others; a reader sees the old rows, then the new, and never some of each."""
    with working(stage) as worker:
        await worker.ready()
        await fill(stage)
        async with load(stage) as written:
            await until(lambda: _is(len(written) > 20))
            assert await stage.kinds() == set()

            keys = await stage.keys(0, "conversation:")
            right = [row for row in await stage.redis.mget(keys) if isinstance(row, bytes)]
            damaged = [json.dumps({**json.loads(row), "endpoint": "tel:+1"}).encode() for row in right]
            await stage.redis.mset(dict(zip(keys, damaged, strict=True)))
            await stage.redis.delete((await stage.keys(1, "endpoint:"))[0])
            await stage.redis.set(f"{stage.running.settings.namespace}:{{2}}:contact:acme/nobody", b"{}")
            assert await stage.kinds() == {("row_changed", 0), ("row_missing", 1), ("row_extra", 2)}

            seen: set[tuple[int, int]] = set()
            async with _polling(stage, keys, right, damaged, seen):
                ran = await stage("rebuild", "--yes", "--json")
            assert ran.code == 0, ran.err
            assert seen == {(0, len(keys)), (len(keys), 0)}
            more = len(written)
            await until(lambda: _is(len(written) > more + 20))
        await stage.wait_for(BEFORE + len(written))
        await stage.at_rest()
        assert await stage.kinds() == set()
        async with redis_tables(stage.running.settings) as tables:
            assert not await check(stage.log, tables, intake_settings(stage.running.settings))
        assert worker.stop() == 0


async def _is(true: bool) -> bool:  # noqa: FBT001 - what it says
    return true


@asynccontextmanager
async def _polling(
    stage: Stage, keys: list[bytes], right: list[bytes], damaged: list[bytes], seen: set[tuple[int, int]]
) -> AsyncIterator[None]:
    """Read the rows over and over, all at one moment; `seen` has how many were right and how many damaged."""
    ended = asyncio.Event()

    async def poll() -> None:
        while not ended.is_set():
            rows = await stage.redis.mget(keys)
            as_right = [json.loads(row or b"null") == json.loads(good) for row, good in zip(rows, right, strict=True)]
            as_damaged = [row == bad for row, bad in zip(rows, damaged, strict=True)]
            seen.add((sum(as_right), sum(as_damaged)))
            await asyncio.sleep(0.002)

    polling = asyncio.create_task(poll())
    try:
        yield
        await asyncio.sleep(0.05)
    finally:
        ended.set()
        await polling


async def test_an_emptied_redis_comes_back_without_a_worker(stage: Stage) -> None:
    """A dry run changes nothing, also where a rebuild was broken off half way; then a worker damages a partition."""
    with working(stage) as worker:
        await worker.ready()
        await fill(stage)
        await stage.at_rest()
        assert worker.stop() == 0
    before = await stage.everything()
    told = await updates(stage.log)
    for key in before:
        await stage.redis.delete(key)
    assert {kind for kind, _ in await stage.kinds()} == {"tables_behind", "state_extra"}
    dry = await stage("rebuild", "--json")
    assert [each["applied"] for each in dry.json["partitions"]] == [-1] * PARTITIONS
    assert await stage.everything() == {}

    async with opened_state(stage.running.settings) as state:
        await state.tables.apply(shadow_of(1), after=-1, applied=5, writes=Writes(puts={RowKey("half"): b"{}"}))
        await state.upkeep.suspend(1, shadow_applied=5)
    half = await stage.everything()
    (plan,) = (await stage("rebuild", "--partition", "1", "--json")).json["partitions"]
    assert (plan["state"], plan["base"]) == ("tables_clearing", "a rebuild broken off at 5")
    assert await stage.everything() == half

    assert (await stage("rebuild", "--yes")).code == 0
    assert await stage.kinds() == set()
    assert {key for key in await stage.everything() if b":shadow:" in key} == set()
    after = await stage.everything()
    assert set(after) == set(before)
    assert {key for key in before if before[key] != after[key] and b":conversation:" in key} == set()
    assert {each["id"] for each in await updates(stage.log)} == {each["id"] for each in told}
    assert (await stage("snapshot")).code == 0
    with working(stage) as worker:
        await worker.ready()
        await stage.log.append("interactions.sms.v1", 1, [sms("later", "+27821000000")])
        await stage.wait_for(BEFORE + 1)
        await stage.at_rest()
        (key,) = [key for key in await stage.keys(0, "") if key.endswith(b":applied")]
        await stage.redis.set(key, b"damaged")
        strangers = [sms(f"D{number}", f"+2784{1_000_000 + number}") for number in range(30)]
        await stage.log.append("interactions.sms.v1", 0, strangers)
        assert await asyncio.to_thread(worker.process.wait, 60) == 1
        assert "state rebuild" in worker.errors.read_text()
    (last,) = [each for each in await updates(stage.log) if _interaction(each) == "later"]
    assert last["cause"]["rule"] == "joined_open_conversation"
    assert ("tables_unusable", 0) in await stage.kinds()
    (plan,) = (await stage("rebuild", "--partition", "0", "--yes", "--json")).json["partitions"]
    assert plan["base"].startswith("the snapshot of ")
    with working(stage) as worker:
        await worker.ready()
        await stage.wait_for(BEFORE + 31)
        await stage.at_rest()
        assert await stage.kinds() == set()
        assert worker.stop() == 0


def _interaction(update: dict[str, object]) -> object:
    interaction = update.get("interaction")
    return interaction["interaction_id"] if isinstance(interaction, dict) else None


async def test_bad_input_is_told(
    stage: Stage, capsys: pytest.CaptureFixture[str], broker: Broker, namespace: str
) -> None:
    for command in ("verify", "rebuild"):
        ran = await stage(command, "--partition", "9")
        assert (ran.code, ran.err.split()[1]) == (1, "partition_unknown:")
        other = Invocation(env={**stage.running.env, "INTERACTION_ROUTER_NAMESPACE": "nobody"})
        assert await asyncio.to_thread(run, ["state", command], other) == 1
        assert "topic_missing" in capsys.readouterr().err
    assert orjson.loads((await stage("verify", "--json")).out)["differences"] == []
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    await admin.delete_topics([f"{namespace}.internal.snapshots"])  # as in a namespace that is older than it
    await admin.close()
    assert (await stage("rebuild", "--yes")).code == 0
    ran = await stage("snapshot")
    assert (ran.code, ran.err.split()[1], "topics apply" in ran.err) == (1, "topic_missing:", True)
