"""What an append promises when the broker stops, dies or refuses."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from interaction_router.adapters.kafka.client import ClientOptions, client_options
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.adapters.kafka.topics import TopicAdmin, TopicPlan
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.ports import Outgoing, Received
from interaction_router.settings.model import KafkaSettings
from tests.integration.running import until
from tests.servers import Broker

STREAM = "internal.log"
Opener = Callable[..., KafkaLog]


@pytest.fixture
def broker(mortal_broker: Broker) -> Broker:
    return mortal_broker


@pytest.fixture
async def options(broker: Broker, namespace: str) -> ClientOptions:
    options = client_options(KafkaSettings(bootstrap_servers=broker.bootstrap))
    admin = TopicAdmin(options, namespace)
    await admin.start()
    await admin.apply([TopicPlan(STREAM, 4, fixed=True, replication_factor=None, configs={})])
    await admin.stop()
    return options


@pytest.fixture
async def opened() -> AsyncIterator[Opener]:
    """Open logs, which are stopped when the test ends, however it does."""
    logs: list[KafkaLog] = []

    def open_log(options: ClientOptions, namespace: str, *, delivery_s: float = 20.0) -> KafkaLog:
        logs.append(KafkaLog(options, namespace, delivery_s=delivery_s))
        return logs[-1]

    yield open_log
    for log in logs:
        await log.stop()


def records(name: str, count: int = 1) -> list[Outgoing]:
    return [Outgoing(b"%s" % name.encode(), b"%d" % number) for number in range(count)]


async def read_all(log: KafkaLog, partition: int) -> list[Received]:
    found: list[Received] = []
    while more := await log.read(STREAM, partition, found[-1].offset + 1 if found else 0):
        found.extend(more)
    return found


async def test_nothing_of_a_failed_append_is_sent_later(
    broker: Broker, options: ClientOptions, namespace: str, opened: Opener
) -> None:
    log = opened(options, namespace, delivery_s=1.5)
    await log.append(STREAM, 0, records("before"))
    broker.kill()
    began = time.monotonic()
    failures = await asyncio.gather(
        log.append(STREAM, 0, records("given up", 9)), log.append(STREAM, 0, records("behind")), return_exceptions=True
    )
    assert [type(failure) for failure in failures] == [RetryableError, RetryableError]
    assert time.monotonic() - began < 8
    await asyncio.to_thread(broker.start)
    await asyncio.sleep(2)
    await _persistently(log, 0, records("after"))
    assert [record.key for record in await read_all(log, 0)] == [b"before", b"after"]


async def test_nothing_of_a_cancelled_append_is_sent_later(
    broker: Broker, options: ClientOptions, namespace: str, opened: Opener
) -> None:
    log = opened(options, namespace)
    await log.append(STREAM, 0, records("before"))
    broker.kill()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await log.append(STREAM, 0, records("given up", 9))
    await asyncio.to_thread(broker.start)
    await asyncio.sleep(2)
    await _persistently(log, 0, records("after"))
    assert [record.key for record in await read_all(log, 0)] == [b"before", b"after"]


async def test_an_append_that_is_cancelled_on_its_way_ends_without_a_complaint(
    options: ClientOptions, namespace: str, opened: Opener
) -> None:
    """As by somebody who interrupts a command twice."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    log = opened(options, namespace)
    for _ in range(40):
        append = asyncio.create_task(log.append(STREAM, 0, [Outgoing(b"given up", bytes(300_000))] * 3))
        while (producer := log._producer._producer) is None or not producer._sender._in_flight:  # noqa: ASYNC110 - aiokafka tells nobody
            await asyncio.sleep(0)
        append.cancel()
        with suppress(asyncio.CancelledError):
            await append
    await log.stop()
    assert complaints == []


async def test_only_what_was_on_its_way_may_land_late(
    broker: Broker, options: ClientOptions, namespace: str, opened: Opener
) -> None:
    log = opened(options, namespace, delivery_s=1.5)
    await log.append(STREAM, 0, records("before"))
    broker.pause()
    # Several batches, of which one can be on its way; another partition may have to fail along with it.
    large = [Outgoing(b"given up", bytes(700_000))] * 4
    failures = await asyncio.gather(
        log.append(STREAM, 0, large), log.append(STREAM, 1, records("given up")), return_exceptions=True
    )
    assert [type(failure) for failure in failures] == [RetryableError, RetryableError]
    broker.resume()
    [after] = await _persistently(log, 0, records("after"))
    await asyncio.sleep(2)
    keys = [record.key for record in await read_all(log, 0)]
    assert keys.count(b"given up") <= 1
    assert keys[after] == b"after"


async def test_what_is_acknowledged_stands_where_it_was_said(
    broker: Broker, options: ClientOptions, namespace: str, opened: Opener
) -> None:
    log = opened(options, namespace, delivery_s=3.0)
    said: dict[tuple[int, int], bytes] = {}
    stop = asyncio.Event()

    async def write(partition: int) -> None:
        number = 0
        while not stop.is_set():
            batch = [Outgoing(None, b"%d" % (number + index)) for index in range(50)]
            try:
                offsets = await log.append(STREAM, partition, batch)
            except RetryableError:
                await asyncio.sleep(0.1)
                continue
            said.update({(partition, at): record.value or b"" for at, record in zip(offsets, batch, strict=True)})
            number += 50
            await asyncio.sleep(0)

    writers = [asyncio.create_task(write(partition)) for partition in range(4)]

    def counted() -> Counter[int]:
        return Counter(partition for partition, _ in said)

    async def goes_on(since: Counter[int]) -> bool:
        return all(counted()[partition] > since[partition] + 50 for partition in range(4))

    await until(partial(goes_on, Counter()))
    broker.kill()
    await asyncio.sleep(1)
    await asyncio.to_thread(broker.start)
    await until(partial(goes_on, counted()))
    stop.set()
    await asyncio.gather(*writers)
    stands = {(partition, r.offset): r.value for partition in range(4) for r in await read_all(log, partition)}
    assert {place: stands.get(place) for place in said} == said


async def test_a_record_that_is_too_large_is_fatal_and_holds_up_nothing(
    options: ClientOptions, namespace: str, opened: Opener
) -> None:
    log = opened(options, namespace)
    with pytest.raises(FatalError) as caught:
        await log.append(STREAM, 0, [Outgoing(b"k", bytes(5_000_000))])
    assert caught.value.code == "record_too_large"
    assert await log.append(STREAM, 0, records("next")) == [0]


async def test_a_topic_made_anew_has_another_lineage(options: ClientOptions, namespace: str, opened: Opener) -> None:
    log = opened(options, namespace)
    admin = TopicAdmin(options, namespace)
    await admin.start()
    before = await log.lineage(STREAM)
    await admin._admin.delete_topics([f"{namespace}.{STREAM}"])
    await asyncio.sleep(1)
    await admin.apply([TopicPlan(STREAM, 4, fixed=True, replication_factor=None, configs={})])
    assert await log.lineage(STREAM) not in ("", before)
    await admin.stop()


async def _persistently(log: KafkaLog, partition: int, batch: list[Outgoing]) -> list[int]:
    async with asyncio.timeout(30):
        while True:
            with suppress(RetryableError):
                return await log.append(STREAM, partition, batch)
            await asyncio.sleep(0.2)
