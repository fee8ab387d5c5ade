"""The faults, each with its end: when one returns, everything runs again."""

import asyncio
import shutil
import signal
from collections.abc import Awaitable, Callable
from random import Random

from tests.faults.real.world import SESSION_S, WORKERS, World
from tests.servers.proxy import Mood

Inflict = Callable[[World, Random], Awaitable[None]]
_WHILE_S = 3.0


async def worker_killed(world: World, random: Random) -> None:
    """It is started again at once, under its name."""
    number = _take_away(world, random)
    world.workers[number].kill()
    world.start_worker(number)


async def worker_lost(world: World, random: Random) -> None:
    """It stays away for longer than its session."""
    number = _take_away(world, random)
    world.workers[number].kill()
    await asyncio.sleep(SESSION_S + 3)
    world.start_worker(number)


async def worker_paused(world: World, random: Random) -> None:
    """It is woken when its partitions are others', in the middle of what it was doing."""
    number = random.randrange(WORKERS)
    process = world.workers[number].process
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(SESSION_S + 2)
    process.send_signal(signal.SIGCONT)


async def worker_stopped(world: World, random: Random) -> None:
    """SIGTERM, and a start behind it."""
    number = _take_away(world, random)
    await _stop(world, number)
    world.start_worker(number)


async def workers_come_and_go(world: World, random: Random) -> None:
    """Two more join; one of them, and one of before, leave again."""
    del random
    for number in (WORKERS, WORKERS + 1):
        world.start_worker(number)
        await asyncio.sleep(2)
    for number in (WORKERS, 0, WORKERS + 1):
        world.away.add(number)
        await _stop(world, number)
        await asyncio.sleep(1)
    world.start_worker(0)


async def broker_killed(world: World, random: Random) -> None:
    """Two are left, and one of them leads what it led."""
    broker = random.choice(world.cluster.brokers)
    await asyncio.to_thread(broker.kill)
    await asyncio.sleep(2)
    await asyncio.to_thread(broker.start)


async def leaders_moved(world: World, random: Random) -> None:
    """A broker gives its partitions away in order; they come back by themselves after its start."""
    broker = random.choice(world.cluster.brokers)
    await asyncio.to_thread(broker.stop)
    await asyncio.to_thread(broker.start)


async def redis_killed(world: World, random: Random) -> None:
    """It comes back with nothing, as it keeps nothing."""
    del random
    world.redis_server.dump.unlink(missing_ok=True)
    await asyncio.to_thread(world.redis_server.kill)
    await asyncio.sleep(1)
    await asyncio.to_thread(world.redis_server.start)


async def redis_wiped(world: World, random: Random) -> None:
    """FLUSHALL."""
    del random
    client = world.redis()
    await client.flushall()
    await client.aclose()


async def redis_rolled_back(world: World, random: Random) -> None:
    """It comes back with what it had some seconds ago."""
    del random
    client = world.redis()
    await client.save()
    await client.aclose()
    dump = world.redis_server.dump
    kept = dump.with_suffix(".kept")
    shutil.copy(dump, kept)
    await asyncio.sleep(_WHILE_S)
    await asyncio.to_thread(world.redis_server.kill)
    shutil.copy(kept, dump)
    await asyncio.to_thread(world.redis_server.start)
    dump.unlink()


async def redis_full(world: World, random: Random) -> None:
    """It takes nothing more for a while: OOM."""
    del random
    client = world.redis()
    await client.config_set("maxmemory", "1mb")
    await asyncio.sleep(_WHILE_S)
    await client.config_set("maxmemory", "0")
    await client.aclose()


async def broker_disk_full(world: World, random: Random) -> None:
    """The broker gives up by itself; it is started again when there is space."""
    del random
    broker = world.cluster.brokers[0]
    world.broker_disk.fill()
    await asyncio.sleep(_WHILE_S)
    await asyncio.to_thread(broker.kill_if_running)
    world.broker_disk.free()
    await asyncio.to_thread(broker.start)


async def redis_disk_full(world: World, random: Random) -> None:
    """It writes its log, cannot, and takes nothing more until it can."""
    del random
    client = world.redis()
    await client.config_set("appendfsync", "everysec")  # else it ends, and that is `redis_killed`
    await client.config_set("appendonly", "yes")
    await asyncio.sleep(1)
    world.redis_disk.fill()
    await asyncio.sleep(_WHILE_S)
    world.redis_disk.free()
    await client.config_set("appendonly", "no")
    await client.aclose()


NEED_DISKS = (broker_disk_full, redis_disk_full)
"""Those that are left out where no disk of one's own can be made."""


def _network(of: str, mood: Mood) -> Inflict:
    async def inflict(world: World, random: Random) -> None:
        del random
        proxies = [world.to_redis] if of == "redis" else world.to_brokers
        for proxy in proxies:
            proxy.be(mood)
        await asyncio.sleep(_WHILE_S)
        for proxy in proxies:
            proxy.be("well")

    inflict.__name__ = f"{of}_{mood}"
    return inflict


def _take_away(world: World, random: Random) -> int:
    number = random.randrange(WORKERS)
    world.away.add(number)
    return number


async def _stop(world: World, number: int) -> None:
    try:
        await asyncio.to_thread(world.workers[number].stop)
    except Exception:  # noqa: BLE001 - it does not end in time: then it is ended
        world.workers[number].kill()


KINDS: tuple[Inflict, ...] = (
    worker_killed,
    redis_wiped,
    broker_killed,
    worker_paused,
    redis_rolled_back,
    worker_stopped,
    leaders_moved,
    _network("redis", "cut"),
    worker_lost,
    redis_full,
    broker_disk_full,
    _network("brokers", "cut"),
    redis_killed,
    workers_come_and_go,
    redis_disk_full,
    _network("redis", "slow"),
    _network("brokers", "slow"),
    _network("redis", "silent"),
    _network("brokers", "silent"),
)
