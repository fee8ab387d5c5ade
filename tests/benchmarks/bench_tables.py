"""What a row costs: CPU of the client and of the server, by size of batch. Run: `python -m tests.benchmarks.bench_tables`."""

import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop
from redis.asyncio import Redis

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.adapters.redis.client import open_client
from interaction_router.adapters.redis.tables import RedisTables
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Tables, Writes
from interaction_router.settings import RedisSettings
from interaction_router.settings.kinds import ServerUrl
from tests.servers import RedisServer

OPERATIONS = 60_000
ROW_BYTES = 300
BATCHES = (50, 500, 3000)

ServerCpu = Callable[[], Awaitable[float]]


def rows(size: int) -> dict[RowKey, bytes]:
    """Return a batch as assignment writes it: of three rows, one is a field of an index."""
    value = b"x" * ROW_BYTES
    keys = (
        RowKey(f"interactions:endpoint:{number:032x}", f"{number:064x}")
        if number % 3 == 0
        else RowKey(f"conversation:{number:032x}")
        for number in range(size)
    )
    return dict.fromkeys(keys, value)


async def measure(name: str, size: int, server_cpu: ServerCpu, call: Callable[[int], Awaitable[object]]) -> None:
    """Print microseconds an operation of `call`, which does `size` of them."""
    rounds = OPERATIONS // size
    await call(-1)
    server, client, wall = await server_cpu(), time.process_time(), time.perf_counter()
    for step in range(rounds):
        await call(step)
    client, wall = time.process_time() - client, time.perf_counter() - wall
    server = await server_cpu() - server
    client_us, server_us, wall_us = (seconds * 1e6 / (rounds * size) for seconds in (client, server, wall))
    print(f"{name:20} {size:5}  client {client_us:5.2f}  server {server_us:5.2f}  wall {wall_us:5.2f}  us/op")


async def bench(name: str, tables: Tables, server_cpu: ServerCpu) -> None:
    for partition, size in enumerate(BATCHES):
        batch = rows(size)
        keys = list(batch)

        async def apply(step: int, partition: int = partition, batch: dict[RowKey, bytes] = batch) -> None:
            applied = await tables.apply(partition, after=step, applied=step + 1, writes=Writes(puts=batch))
            assert applied == step + 1

        async def load(_: int, partition: int = partition, keys: list[RowKey] = keys) -> None:
            assert None not in (await tables.load(partition, keys)).rows

        async def peek(_: int, partition: int = partition, keys: list[RowKey] = keys) -> None:
            hints = [(partition, key) for key in keys if not key.field]
            assert None not in await tables.peek(hints)

        await tables.apply(partition, after=-1, applied=-1, writes=Writes())
        await measure(f"{name} apply", size, server_cpu, apply)
        await measure(f"{name} load", size, server_cpu, load)
        await measure(f"{name} peek", size * 2 // 3, server_cpu, peek)


@asynccontextmanager
async def cpu_of(port: int) -> AsyncIterator[ServerCpu]:
    """Yield what tells the CPU seconds that the server has used."""
    redis = Redis(port=port)

    async def cpu() -> float:
        about = await redis.info("cpu")
        return float(about["used_cpu_sys"] + about["used_cpu_user"])

    yield cpu
    await redis.aclose()


async def none() -> float:
    return 0.0


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with RedisServer(Path(folder) / "redis") as server:
            async with cpu_of(server.port) as server_cpu:
                client = open_client(RedisSettings(url=ServerUrl(server.url)))
                await bench("redis", RedisTables(client, "bench"), server_cpu)
                await client.close()
        with EmbeddedDatabase(Path(folder) / "tables.db") as database:
            await bench("embedded", EmbeddedTables(database), none)


if __name__ == "__main__":
    uvloop.run(main())
