"""The tables on a cluster: partitions on several nodes, and a slot that moves while they are used."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from interaction_router.adapters.redis.client import open_client
from interaction_router.adapters.redis.tables import RedisTables
from interaction_router.adapters.redis.upkeep import RedisUpkeep
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Loaded, Writes, shadow_of
from interaction_router.settings import RedisSettings
from interaction_router.settings.kinds import ServerUrl
from tests.servers import RedisServer
from tests.servers.addresses import free_port

SLOTS = 16384
ROW, OTHER, FIELD = RowKey("contact:acme/c1"), RowKey("contact:acme/c2"), RowKey("interactions:x", "first")
READY_LIMIT_S = 10.0


async def send(redis: Redis, *words: str | int) -> Any:
    """Send a command by hand."""
    return await redis.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated


class Cluster:
    """Two primaries, each with half of the slots."""

    def __init__(self, servers: list[RedisServer], bus: int) -> None:
        """`bus` is where the first of them hears the other."""
        self.servers = servers
        self._bus = bus
        self.nodes = [Redis(port=server.port) for server in servers]
        self.ids: list[str] = []

    @property
    def url(self) -> str:
        return self.servers[0].url

    async def form(self) -> None:
        """Bring the nodes together and give out the slots."""
        first, second = self.nodes
        await send(first, "CLUSTER ADDSLOTSRANGE", 0, SLOTS // 2 - 1)
        await send(second, "CLUSTER ADDSLOTSRANGE", SLOTS // 2, SLOTS - 1)
        await send(second, "CLUSTER SET-CONFIG-EPOCH", 2)
        await send(second, "CLUSTER MEET", "127.0.0.1", self.servers[0].port, self._bus)
        async with asyncio.timeout(READY_LIMIT_S):
            for node in self.nodes:
                while not await self._is_ready(node):  # noqa: ASYNC110 - the node is another process
                    await asyncio.sleep(0.05)
        self.ids = [(await send(node, "CLUSTER MYID")).decode() for node in self.nodes]

    async def _is_ready(self, node: Redis) -> bool:
        about = await send(node, "CLUSTER INFO")
        return bool(about["cluster_state"] == "ok" and about["cluster_slots_assigned"] == str(SLOTS))

    def home(self, partition: int) -> int:
        """Return which node has the partition."""
        return key_slot(b"%d" % partition) * 2 // SLOTS

    async def close(self) -> None:
        for node in self.nodes:
            await node.aclose()


@pytest.fixture
async def cluster(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Cluster]:
    assert redis_server.port
    with ExitStack() as stack:
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port"]
        # By itself it takes one 10,000 above its own, which an outgoing connection may have.
        buses = [free_port() for _ in range(2)]
        servers = [
            stack.enter_context(RedisServer(tmp_path / f"node{n}", options=[*options, str(bus)]))
            for n, bus in enumerate(buses)
        ]
        cluster = Cluster(servers, buses[0])
        await cluster.form()
        yield cluster
        await cluster.close()


@pytest.fixture
async def tables(cluster: Cluster) -> AsyncIterator[RedisTables]:
    client = open_client(RedisSettings(url=ServerUrl(cluster.url), cluster=True))
    yield RedisTables(client, "router")
    await client.close()


async def test_partitions_live_on_both_nodes(cluster: Cluster, tables: RedisTables) -> None:
    await tables.check()
    partitions = range(12)
    for partition in partitions:
        writes = Writes(puts={ROW: b"%d" % partition, FIELD: b"f"}, scores={("idle", "m"): float(partition)})
        assert await tables.apply(partition, after=-1, applied=partition, writes=writes) == partition
    assert await tables.peek([(p, key) for p in partitions for key in (ROW, FIELD, OTHER)]) == [
        value for p in partitions for value in (b"%d" % p, b"f", None)
    ]
    for partition in partitions:
        loaded = await tables.load(partition, [FIELD, ROW], ["interactions:x"])
        assert loaded == Loaded(partition, [b"f", b"%d" % partition], [{"first": b"f"}])
        assert await tables.scored(partition, "idle", low=0, high=99, limit=1) == [("m", float(partition))]
    assert all([await node.dbsize() for node in cluster.nodes])
    for partition in partitions:
        await tables.clear(partition)
    assert [await node.dbsize() for node in cluster.nodes] == [0, 0]


async def test_without_the_setting_a_cluster_is_refused(cluster: Cluster) -> None:
    client = open_client(RedisSettings(url=ServerUrl(cluster.url)))
    with pytest.raises(FatalError, match=r"redis_cluster.*`redis\.cluster` to true"):
        await RedisTables(client, "router").check()
    await client.close()


async def test_a_slot_that_moves_is_never_read_by_half(cluster: Cluster, tables: RedisTables) -> None:
    """While keys are on their way, a call either sees all of them or none of its effects happen."""
    puts = {ROW: b"1", OTHER: b"1", FIELD: b"1"}
    await tables.apply(0, after=-1, applied=0, writes=Writes(puts=puts, scores={("idle", "m"): 1.0}))
    source = cluster.home(0)
    target = 1 - source
    slot = key_slot(b"0")
    giver, taker = cluster.nodes[source], cluster.nodes[target]
    await send(taker, "CLUSTER SETSLOT", slot, "IMPORTING", cluster.ids[source])
    await send(giver, "CLUSTER SETSLOT", slot, "MIGRATING", cluster.ids[target])
    applied = await use(tables, 0, [])
    assert applied == 1
    refusals: list[str] = []
    keys: list[str] = await send(giver, "CLUSTER GETKEYSINSLOT", slot, 100)
    # The worst order: `applied` first, so that the taker would take the call for its own.
    for key in sorted(keys, key=lambda key: not key.endswith(":applied")):
        await send(giver, "MIGRATE", "127.0.0.1", cluster.servers[target].port, key, 0, 1000)
        applied = await use(tables, applied, refusals)
    for node in (taker, giver):
        await send(node, "CLUSTER SETSLOT", slot, "NODE", cluster.ids[target])
    assert refusals
    assert set(refusals) <= {"redis_resharding", "redis_cluster_down"}
    loaded = await tables.load(0, [ROW, OTHER], ["interactions:x"])
    assert loaded == Loaded(applied, [b"%d" % (applied + 1), b"1"], [{"first": b"%d" % (applied + 1)}])
    assert await tables.apply(0, after=applied, applied=99, writes=Writes(puts={ROW: b"99"})) == 99


async def use(tables: RedisTables, applied: int, refusals: list[str]) -> int:
    """Load and apply; return how far the tables are then. Nothing may be missing from what is answered."""
    value = b"%d" % (applied + 1)
    for keys in ([ROW, FIELD], [FIELD, ROW]):
        try:
            assert await tables.load(0, keys) == Loaded(applied, [value, value], [])
        except RetryableError as error:
            refusals.append(error.code)
    puts = dict.fromkeys([ROW, FIELD], b"%d" % (applied + 2))
    try:
        return await tables.apply(0, after=applied, applied=applied + 1, writes=Writes(puts=puts))
    except RetryableError as error:
        refusals.append(error.code)
        return applied


async def test_partitions_of_every_node_are_named_and_flipped(cluster: Cluster) -> None:
    client = open_client(RedisSettings(url=ServerUrl(cluster.url), cluster=True))
    try:
        tables, upkeep = RedisTables(client, "router"), RedisUpkeep(client, "router")
        assert {cluster.home(partition) for partition in range(4)} == {0, 1}
        for partition in range(4):
            old = Writes(puts={ROW: b"old", OTHER: b"old", FIELD: b"old"}, scores={("open:acme", "m"): 1.0})
            new = Writes(puts={ROW: b"new", FIELD: b"new"}, scores={("open:acme", "n"): 1.0})
            await tables.apply(partition, after=-1, applied=9, writes=old)
            await tables.apply(shadow_of(partition), after=-1, applied=7, writes=new)
            await upkeep.suspend(partition, shadow_applied=7)
            await upkeep.flip(partition)
            assert await tables.load(partition, [ROW, OTHER, FIELD]) == Loaded(7, [b"new", None, b"new"], [])
            assert (await upkeep.scores(partition, [("open:acme", "n")])).scores == [1.0]
            rows = [key async for names in upkeep.names(partition) for key in names.rows]
            members = [each async for names in upkeep.names(partition) for each in names.members]
            assert (sorted(rows), members) == ([ROW, FIELD], [("open:acme", "n")])
    finally:
        await client.close()
