"""`receive http`: webhooks with a signature to check, each answered once the broker has it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import quantiles

from tests.benchmarks.bench import Bench, ends
from tests.benchmarks.load import SMS
from tests.benchmarks.measuring import Cost, StalledError, drained
from tests.benchmarks.router import Namespace, namespace
from tests.integration.receiver import GATEWAYS, PUBLIC_URL, Receiver, at
from tests.servers.addresses import free_port
from tests.unit.channels.asked import form
from tests.unit.channels.payloads import MESSAGE

_CLIENTS = 64
_PARTIES = 5_000


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The cost of a webhook under full load, and how long one takes to be answered at a steady rate."""

    cost: Cost
    p50_ms: float
    p99_ms: float


async def webhooks(bench: Bench) -> Webhooks:
    """Measure signed SMS of Twilio."""
    async with namespace(bench, "webhooks") as router, _receiver(bench, router) as receiver:
        count = bench.sizes.webhooks
        with bench.step("webhooks", count) as step:
            load = asyncio.create_task(_all_at_once(receiver.port, [_sms(number) for number in range(count)]))
            cost = await drained(
                bench.subjects([receiver.process.pid]), lambda: ends(router.log, SMS), _at_once, count, tell=step.done
            )
            await load
        rate, seconds = bench.sizes.webhook_rate, bench.sizes.webhook_s
        with bench.step("webhooks at a steady rate", rate * seconds) as step:
            took_ms = await _steadily(receiver.port, [_sms(count + n) for n in range(rate * seconds)], rate, step.more)
    cuts = quantiles(took_ms, n=100)
    found = Webhooks(cost, cuts[49], cuts[98])
    bench.note(f"webhooks: {found}")
    return found


@asynccontextmanager
async def _receiver(bench: Bench, router: Namespace) -> AsyncIterator[Receiver]:
    name = router.running.settings.namespace
    running = bench.running(name, **GATEWAYS, RECEIVERS__HTTP__PUBLIC_URL=PUBLIC_URL)
    receiver = Receiver(running, bench.folder, free_port())
    try:
        await receiver.listening()
        yield receiver
        await asyncio.to_thread(receiver.stop)
    finally:
        receiver.kill()


async def _at_once() -> bool:
    """Tell that nothing is put off: what is answered is written."""
    return True


def _sms(number: int) -> bytes:
    sender = f"+2782{number % _PARTIES:07d}"
    request = at("twilio", form({**MESSAGE, "MessageSid": f"SM{number}", "SmsStatus": "received", "From": sender}))
    lines = ["POST /v1/gateways/twilio/acme HTTP/1.1", "host: hooks.example"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*lines, f"content-length: {len(request.body)}", "", ""]).encode() + request.body


class _Client:
    """One connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connected(cls, port: int) -> "_Client":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, request: bytes) -> None:
        """Send a request and read the answer, which has to be good."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise StalledError(f"a webhook was answered {head.splitlines()[0].decode()}")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await self._reader.readexactly(int(length))

    def close(self) -> None:
        self._writer.close()


async def _all_at_once(port: int, requests: Sequence[bytes]) -> None:
    async def some(share: Sequence[bytes]) -> None:
        client = await _Client.connected(port)
        for request in share:
            await client.send(request)
        client.close()

    await asyncio.gather(*(some(requests[each::_CLIENTS]) for each in range(_CLIENTS)))


async def _steadily(port: int, requests: Sequence[bytes], rate: int, tell: Callable[[int], None]) -> list[float]:
    """Send each request when it is due, on a connection that is free; return from then to its answer, in ms."""
    idle = [await _Client.connected(port) for _ in range(_CLIENTS)]
    took_ms: list[float] = []

    async def one(request: bytes, due_s: float) -> None:
        client = idle.pop() if idle else await _Client.connected(port)
        await client.send(request)
        took_ms.append((time.monotonic() - due_s) * 1000)
        idle.append(client)
        tell(1)

    started_s = time.monotonic()
    async with asyncio.TaskGroup() as sending:
        for number, request in enumerate(requests):
            due_s = started_s + number / rate
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            sending.create_task(one(request, due_s))
    for client in idle:
        client.close()
    return took_ms
