"""A burst of signed webhooks while a server is killed: what was acknowledged is in a topic, and is assigned once."""

import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from interaction_router.channels.kit import Request
from interaction_router.domain.errors import RetryableError
from tests.integration.receiver import GATEWAYS, PUBLIC_URL, Receiver, at
from tests.integration.running import Running, until, updates
from tests.servers import Broker, RedisServer
from tests.servers.addresses import free_port
from tests.unit.channels.asked import form
from tests.unit.channels.payloads import MESSAGE

WEBHOOKS: Final = 5_000
SENDERS: Final = 32
PARTIES: Final = 400


class Burst:
    """Texts of a vendor that sends each again until it is acknowledged."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.acknowledged: set[str] = set()
        self.again = 0

    async def send(self) -> None:
        """Send all of them, many at a time."""
        await asyncio.gather(*(self._some(range(nth, WEBHOOKS, SENDERS)) for nth in range(SENDERS)))

    async def _some(self, numbers: range) -> None:
        for number in numbers:
            sid = f"SM{number}"
            sender = f"+2782{number % PARTIES:07d}"
            request = at("twilio", form({**MESSAGE, "MessageSid": sid, "SmsStatus": "received", "From": sender}))
            while not await self._is_taken(request):
                self.again += 1
                await asyncio.sleep(0.1)
            self.acknowledged.add(sid)

    async def _is_taken(self, request: Request) -> bool:
        with suppress(OSError, IndexError):  # refused, or cut before the answer
            return (await self.receiver.send("twilio", request)).status == 200
        return False

    async def until_acknowledged(self, count: int) -> None:
        async def are() -> bool:
            return len(self.acknowledged) >= count

        await until(are)


@pytest.fixture
def running(mortal_broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path) -> Running:
    return Running(
        bootstrap=mortal_broker.bootstrap,
        redis_url=redis_server.url,
        namespace=namespace,
        folder=tmp_path,
        RECEIVERS__HTTP__PUBLIC_URL=PUBLIC_URL,
        RECEIVERS__SPOOL__DIR=str(tmp_path / "spool"),
        **GATEWAYS,
    )


async def test_of_a_broker(running: Running, mortal_broker: Broker, tmp_path: Path) -> None:
    """The spool has what comes meanwhile."""
    await running.apply_topics()
    burst = Burst(Receiver(running, tmp_path, free_port()))
    try:
        await burst.receiver.listening()
        async with asyncio.TaskGroup() as group:
            group.create_task(burst.send())
            await burst.until_acknowledged(WEBHOOKS // 4)
            mortal_broker.kill()
            await burst.until_acknowledged(WEBHOOKS * 3 // 4)
            await asyncio.to_thread(mortal_broker.restart)
        await each_is_assigned_once(running, burst)
        assert burst.receiver.stop() == 0
    finally:
        burst.receiver.kill()


async def test_of_the_receiver(running: Running, tmp_path: Path) -> None:
    """What was appended and not yet acknowledged comes again."""
    await running.apply_topics()
    port = free_port()
    burst = Burst(Receiver(running, tmp_path, port))
    try:
        await burst.receiver.listening()
        async with asyncio.TaskGroup() as group:
            group.create_task(burst.send())
            for nth in (1, 2, 3):
                await burst.until_acknowledged(WEBHOOKS * nth // 4)
                burst.receiver.kill()
                burst.receiver = Receiver(running, tmp_path, port)
        assert burst.again
        await each_is_assigned_once(running, burst)
        assert burst.receiver.stop() == 0
    finally:
        burst.receiver.kill()


async def each_is_assigned_once(running: Running, burst: Burst) -> None:
    """All that was acknowledged comes to the topic, and from there into one conversation each."""
    assert len(burst.acknowledged) == WEBHOOKS
    log = running.log()
    worker = running.worker()
    try:

        async def all_there() -> bool:
            try:
                return {
                    each["interaction_id"] for each in await updates(log, "interactions.sms.v1")
                } == burst.acknowledged
            except RetryableError:  # the broker is back, and its partitions have no leader yet
                return False

        await until(all_there, within_s=60)

        async def all_assigned() -> bool:
            added = [each["interaction"]["interaction_id"] for each in await updates(log) if "interaction" in each]
            return set(added) == burst.acknowledged

        await until(all_assigned, within_s=60)
        assert worker.stop() == 0
        found = await updates(log)
        assert set(
            Counter(each["interaction"]["interaction_id"] for each in found if "interaction" in each).values()
        ) == {1}
        assert len({each["conversation_id"] for each in found}) == WEBHOOKS
        assert not await updates(log, "dlq.v1")
    finally:
        worker.kill()
        await log.stop()
