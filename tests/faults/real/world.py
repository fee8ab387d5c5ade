"""A router on real servers that anything may befall: three brokers, a Valkey, proxies before them, three workers."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Self

import redis.asyncio as aioredis

from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.application.simulation import Load, Simulated, first_records, load_records
from interaction_router.domain.errors import RetryableError
from interaction_router.ports import Outgoing
from interaction_router.settings import load_settings
from tests.integration.running import Running, Worker, until
from tests.servers import RedisServer
from tests.servers.addresses import LOOPBACK, free_port
from tests.servers.cluster import Cluster
from tests.servers.disk import SmallDisk
from tests.servers.proxy import Mood, Proxy

PARTITIONS = 8
WORKERS = 3
SESSION_S = 4
RATE = 150.0
UPDATES = "conversations.v1"
_CHUNK = 15
_LOOK_S = 0.1


@dataclass(slots=True)
class Mark:
    """A moment: after how many seconds each partition of the updates grew first, and how long it rested at most since."""

    at_s: float
    firsts: dict[int, float] = field(default_factory=dict)
    rests: dict[int, float] = field(default_factory=dict)
    _lasts: dict[int, float] = field(default_factory=dict)

    def grew(self, partition: int, now_s: float) -> None:
        """Take note that a partition has grown."""
        self.firsts.setdefault(partition, now_s - self.at_s)
        rest = now_s - self._lasts.get(partition, self.at_s)
        self.rests[partition] = max(rest, self.rests.get(partition, 0.0))
        self._lasts[partition] = now_s


class World:
    """What faults are inflicted on. Gateways and the onlooker reach the servers past the proxies."""

    def __init__(self, cluster: Cluster, redis_server: RedisServer, folder: Path) -> None:
        """Nothing runs before `opened`."""
        self.cluster = cluster
        self.redis_server = redis_server
        redis_port = free_port()
        self.to_redis = Proxy(redis_port, redis_server.port)
        self.to_brokers = [Proxy(proxy, listens) for proxy, listens in cluster.ways]
        self.running = Running(
            bootstrap=cluster.proxied,
            redis_url=f"redis://{LOOPBACK}:{redis_port}/0",
            namespace="faults",
            folder=folder,
            KAFKA__SESSION_TIMEOUT=str(SESSION_S),
            KAFKA__REQUEST_TIMEOUT="6",
        )
        past = {
            **self.running.env,
            "INTERACTION_ROUTER_KAFKA__BOOTSTRAP_SERVERS": cluster.bootstrap,
            "INTERACTION_ROUTER_REDIS__URL": redis_server.url,
        }
        self.past_the_proxies = load_settings(past, None, {})
        self.workers: dict[int, Worker] = {}
        self.away: set[int] = set()
        self.exits: list[str] = []
        self.load = Load(seed=7, start_ms=int(time.time() * 1000) - 60_000, rate=RATE, contacts=300)
        self.written = 0
        self.broker_disk = SmallDisk(folder / "broker-1", mib=512)
        self.redis_disk = SmallDisk(folder / "redis", mib=128)
        self._log: KafkaLog | None = None
        self._ends = [0] * PARTITIONS
        self._marks: list[Mark] = []

    @classmethod
    @asynccontextmanager
    async def opened(cls, folder: Path) -> AsyncIterator[Self]:
        """Start everything, and end it whatever happens."""
        cluster, redis_server = Cluster(folder), RedisServer(folder / "redis")
        world = cls(cluster, redis_server, folder)
        with world._disks(), cluster, redis_server:
            try:
                for proxy in (world.to_redis, *world.to_brokers):
                    await proxy.start()
                await world.running.apply_topics()
                # Before the workers, which know at their start all agents that there are, and newer ones after a while.
                await world._append(world.log(), list(first_records(world.load)))
                for number in range(WORKERS):
                    world.start_worker(number)
                await asyncio.gather(*(worker.ready() for worker in world.workers.values()))
                yield world
            finally:
                for worker in world.workers.values():
                    worker.kill()
                for proxy in (world.to_redis, *world.to_brokers):
                    await proxy.stop()

    @property
    def has_disks(self) -> bool:
        """Whether there are disks that can be filled."""
        return self.broker_disk.mounted and self.redis_disk.mounted

    @contextmanager
    def _disks(self) -> Iterator[None]:
        """Mount the disks that can be filled, and give them up at the end."""
        disks = self.broker_disk, self.redis_disk
        try:
            for disk in disks:
                disk.mount()
            yield
        finally:
            for disk in disks:
                disk.unmount()

    def start_worker(self, number: int) -> None:
        """Start a worker that keeps its name through restarts."""
        env = self.running.env
        env["INTERACTION_ROUTER_KAFKA__GROUP_INSTANCE_ID"] = f"worker-{number}"
        self.workers[number] = self.running.worker()
        self.away.discard(number)

    async def supervise(self) -> None:
        """Start what has ended by itself again, as a supervisor does."""
        while True:
            for number, worker in list(self.workers.items()):
                if number not in self.away and worker.process.poll() is not None:
                    last = worker.errors.read_text(errors="replace").strip().splitlines()[-1:]
                    self.exits.append(f"worker {number}: exit {worker.process.returncode}: {' '.join(last)[:200]}")
                    self.start_worker(number)
            await asyncio.sleep(1)

    async def feed(self, stop: asyncio.Event) -> None:
        """Write as gateways do, each record again until it is acknowledged."""
        log = self.log()
        records, started, sent = load_records(self.load), time.monotonic(), 0
        while not stop.is_set():
            await self._append(log, list(islice(records, _CHUNK)))
            sent += _CHUNK
            await asyncio.sleep(max(0.0, started + sent / RATE - time.monotonic()))

    async def _append(self, log: KafkaLog, records: Sequence[Simulated]) -> None:
        batches: dict[tuple[str, int], list[Outgoing]] = defaultdict(list)
        for record in records:
            batches[record.stream, sum(record.key) % PARTITIONS].append(Outgoing(record.key, record.value))
        self.written += len(records)
        await asyncio.gather(*(_insist(log, *place, batch) for place, batch in batches.items()))

    async def look(self) -> None:
        """Note when each partition of the updates has grown."""
        log = self.log()
        while True:
            for partition in range(PARTITIONS):
                with suppress(RetryableError):
                    end = (await log.bounds(UPDATES, partition)).end
                    if end > self._ends[partition]:
                        self._ends[partition] = end
                        for mark in self._marks:
                            mark.grew(partition, time.monotonic())
            await asyncio.sleep(_LOOK_S)

    def log(self) -> KafkaLog:
        """Return the one log past the proxies."""
        if self._log is None:
            self._log = KafkaLog(client_options(self.past_the_proxies.kafka), self.past_the_proxies.namespace)
        return self._log

    def mark(self) -> Mark:
        """Note from now on when each partition of the updates grows next."""
        mark = Mark(time.monotonic())
        self._marks.append(mark)
        return mark

    async def reached(self, mark: Mark, *, within_s: float) -> list[float]:
        """Return for each partition after how many seconds it grew, `within_s` where it did not."""

        async def all_grew() -> bool:
            return len(mark.firsts) == PARTITIONS or time.monotonic() > mark.at_s + within_s

        await until(all_grew, within_s=within_s + 1)
        return [mark.firsts.get(partition, within_s) for partition in range(PARTITIONS)]

    def rests(self, mark: Mark) -> list[float]:
        """Return for how long each partition rested at most since the mark, and forget all marks."""
        self._marks.clear()
        return [mark.rests.get(partition, time.monotonic() - mark.at_s) for partition in range(PARTITIONS)]

    def brokers_be(self, mood: Mood) -> None:
        """Change the mood of the ways to all brokers."""
        for proxy in self.to_brokers:
            proxy.be(mood)

    def redis(self) -> aioredis.Redis:
        """Return a client past the proxy."""
        return aioredis.Redis.from_url(self.redis_server.url)


async def _insist(log: KafkaLog, stream: str, partition: int, records: Sequence[Outgoing]) -> None:
    while True:
        try:
            await log.append(stream, partition, records)
        except RetryableError:
            await asyncio.sleep(0.2)
        else:
            return
