"""`dlq redrive` beside a running worker, on a real broker and a real Valkey."""

import asyncio
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.cli.app import run
from interaction_router.cli.invocation import Invocation
from interaction_router.ports import Outgoing
from tests.integration.running import Running, sms, until, updates
from tests.servers import Broker, RedisServer

SMS = "interactions.sms.v1"


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Program:
    """Runs command lines in a thread, beside the event loop of the test."""

    def __init__(self, running: Running, capsys: pytest.CaptureFixture[str]) -> None:
        self._env = running.env
        self._capsys = capsys

    async def __call__(self, *arguments: str) -> Ran:
        code = await asyncio.to_thread(run, arguments, Invocation(env=self._env))
        return Ran(code, *self._capsys.readouterr())


async def letters(log: KafkaLog) -> list[dict[str, Any]]:
    """Return the headers of all dead letters."""
    found = []
    for partition in range(await log.partitions("dlq.v1")):
        for record in await log.read("dlq.v1", partition, 0):
            headers = {name: value.decode() for name, value in record.headers}
            found.append({**headers, "place": f"{partition}@{record.offset}"})
    return found


async def test_a_letter_is_redriven_once_and_what_fails_again_is_linked(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = Running(bootstrap=broker.bootstrap, redis_url=redis_server.url, namespace=namespace, folder=tmp_path)
    await running.apply_topics()
    program = Program(running, capsys)
    worker, log = running.worker(), running.log()
    try:
        await worker.ready()
        bad = sms("SM1", status="vanished")
        await log.append(SMS, 3, [Outgoing(b"k", bad.value, [("traceparent", b"00-1-2-01")])])

        async def told(count: int) -> list[dict[str, Any]]:
            async def there() -> bool:
                return len(await letters(log)) == count

            await until(there)
            return await letters(log)

        (first,) = await told(1)
        dry = await program("dlq", "redrive", first["place"])
        assert dry.code == 0
        assert (await log.bounds(SMS, 3)).end == 1
        redriven = await program("dlq", "redrive", first["place"], "--yes", "--json")
        assert json.loads(redriven.out)["to"] == f"{namespace}.{SMS}/3@1"
        (sent,) = await log.read(SMS, 3, 1)
        marker = ("redriven_from", f"{namespace}.dlq.v1/{first['place']}".encode())
        assert (sent.key, sent.value) == (b"k", bad.value)
        assert list(sent.headers) == [("traceparent", b"00-1-2-01"), marker]

        second = await program("dlq", "redrive", first["place"], "--yes")
        assert (second.code, second.err.split()[1]) == (1, "letter_handled:")
        assert (await log.bounds(SMS, 3)).end == 2

        again = next(each for each in await told(2) if each["place"] != first["place"])
        assert (again["redriven_from"], again["dlq_offset"]) == (marker[1].decode(), "1")
        mended = tmp_path / "mended.json"
        mended.write_bytes(sms("SM1").value or b"")
        done = await program("dlq", "redrive", again["place"], "--value", str(mended), "--yes")
        assert done.code == 0, done.err

        async def joined() -> bool:
            return [each["seq"] for each in await updates(log)] == [1, 2]

        await until(joined)
        assert (await program("dlq", "list", "--json")).out.strip() == "[]"
        assert worker.stop() == 0
    finally:
        worker.kill()
        await log.stop()
