"""How long a record takes from its gateway to a subscriber, at a rate far below the full load."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from statistics import quantiles

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from interaction_router.adapters.kafka.client import client_options
from interaction_router.application.views import UPDATES
from interaction_router.ports import Outgoing
from tests.benchmarks.bench import Bench
from tests.benchmarks.load import PARTITIONS, SMS, interaction
from tests.benchmarks.measuring import StalledError
from tests.benchmarks.router import Namespace, workers

_TICK_S = 0.01
_WARM_S = 3
_LATE_S = 20.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from when the raw record is due to be appended until a subscriber has its update."""

    records: int
    p50_ms: float
    p99_ms: float


class _Subscriber:
    """Notes when the update of each interaction comes."""

    def __init__(self) -> None:
        self.came_s: dict[str, float] = {}

    async def follow(self, consumer: AIOKafkaConsumer) -> None:
        """Read on until cancelled."""
        async for record in consumer:
            update = orjson.loads(record.value)
            if update["type"] == "conversation.interaction_added":
                self.came_s[update["interaction"]["interaction_id"]] = time.monotonic()


async def latency(bench: Bench, router: Namespace) -> Latency:
    """Feed known contacts at a steady rate; measured is what is fed once the first records are through."""
    consumer = AIOKafkaConsumer(**client_options(router.running.settings.kafka), fetch_max_wait_ms=50)
    await consumer.start()
    subscriber = _Subscriber()
    try:
        places = [TopicPartition(f"{router.running.settings.namespace}.{UPDATES}", each) for each in range(PARTITIONS)]
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        async with workers(router.running, "intake", "assignment"):
            following = asyncio.create_task(subscriber.follow(consumer))
            with bench.step("latency", bench.sizes.latency_rate * (_WARM_S + bench.sizes.latency_s)) as step:
                warm_s = await _feed(bench, router, _WARM_S, prefix="W", tell=step.more)
                await _all_came(subscriber, warm_s)
                sent_s = await _feed(bench, router, bench.sizes.latency_s, prefix="L", tell=step.more)
                await _all_came(subscriber, warm_s | sent_s)
            following.cancel()
    finally:
        await consumer.stop()
    took_ms = [(subscriber.came_s[each] - at_s) * 1000 for each, at_s in sent_s.items()]
    cuts = quantiles(took_ms, n=100)
    found = Latency(len(took_ms), cuts[49], cuts[98])
    bench.note(str(found))
    return found


async def _feed(
    bench: Bench, router: Namespace, seconds: int, *, prefix: str, tell: Callable[[int], None]
) -> dict[str, float]:
    """Append records on time, whether those before are through or not; return when each was due to be appended."""
    random, rate = Random(1), bench.sizes.latency_rate
    sent_s: dict[str, float] = {}
    appending: set[asyncio.Task[list[int]]] = set()
    a_tick = max(1, round(rate * _TICK_S))
    started_s = time.monotonic()
    for tick in range(rate * seconds // a_tick):
        due_s = started_s + tick * a_tick / rate
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        batches: dict[int, list[Outgoing]] = defaultdict(list)
        for number in range(a_tick):
            interaction_id = f"{prefix}{tick}.{number}"
            nth, record = interaction(random.randrange(bench.sizes.contacts), interaction_id, channel="sms")
            batches[nth % PARTITIONS].append(record)
            sent_s[interaction_id] = due_s
        for partition, batch in batches.items():
            task = asyncio.create_task(router.log.append(SMS, partition, batch))
            appending.add(task)
            task.add_done_callback(appending.discard)
        tell(a_tick)
    await asyncio.gather(*appending)
    return sent_s


async def _all_came(subscriber: _Subscriber, sent_s: dict[str, float]) -> None:
    deadline_s = time.monotonic() + _LATE_S
    while len(subscriber.came_s) < len(sent_s):
        if time.monotonic() > deadline_s:
            raise StalledError(f"{len(subscriber.came_s)} updates of {len(sent_s)} records")
        await asyncio.sleep(0.05)
