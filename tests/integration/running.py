"""A router on real servers: its topics, its workers as processes, and what goes in and comes out."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.groups import committed
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.adapters.kafka.topics import TopicAdmin, plan
from interaction_router.application.intake import COMMANDS, CONTACTS
from interaction_router.application.views import LOG
from interaction_router.ports import Outgoing, Tables
from interaction_router.settings import Settings, load_settings

READY_S = 30.0


class Running:
    """A namespace on a broker and a Redis."""

    def __init__(self, *, bootstrap: str, redis_url: str, namespace: str, folder: Path, **settings: str) -> None:
        """`settings` are variables without their prefix."""
        self.env = {
            "INTERACTION_ROUTER_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
            "INTERACTION_ROUTER_REDIS__URL": redis_url,
            "INTERACTION_ROUTER_NAMESPACE": namespace,
            "INTERACTION_ROUTER_DEFAULT_REGION": "ZA",
            "INTERACTION_ROUTER_WORKER__WEB_PORT": "0",
            **{f"INTERACTION_ROUTER_{name}": value for name, value in settings.items()},
        }
        self.settings: Settings = load_settings(self.env, None, {})
        self._folder = folder
        self._started = 0

    async def apply_topics(self) -> None:
        """Make the topics."""
        admin = TopicAdmin(client_options(self.settings.kafka), self.settings.namespace)
        await admin.start()
        try:
            await admin.apply(plan(self.settings.topics, self.settings.channels))
        finally:
            await admin.stop()

    def log(self) -> KafkaLog:
        """Return a log of this namespace."""
        return KafkaLog(client_options(self.settings.kafka), self.settings.namespace)

    def worker(self, *arguments: str) -> "Worker":
        """Start a worker."""
        return self.run("worker", *arguments)

    def run(self, *arguments: str) -> "Worker":
        """Start a command."""
        self._started += 1
        return Worker(list(arguments), self.env, self._folder / f"{arguments[0]}-{self._started}.log")


class Worker:
    """A worker process, its standard error in a file."""

    def __init__(self, arguments: list[str], env: Mapping[str, str], errors: Path, *, code: str = "") -> None:
        """Start it; `code` is Python to run in place of the program."""
        self.errors = errors
        program = ["-c", code] if code else ["-m", "interaction_router"]
        with errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, *program, *arguments], env={**os.environ, **env}, stderr=stderr
            )

    async def ready(self) -> None:
        """Wait until it has its partitions."""
        deadline = time.monotonic() + READY_S
        while b"ready partitions=" not in self.errors.read_bytes():
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline, self.errors.read_text()
            await asyncio.sleep(0.05)

    def kill(self) -> None:
        """Kill it at whatever it is doing."""
        self.process.kill()
        self.process.wait()

    def stop(self, *, within_s: float = 10.0) -> int:
        """Ask it to stop, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=within_s)


def sms(interaction_id: str, sender: str = "082 123 4567", **fields: Any) -> Outgoing:  # Any: JSON
    """Return a raw SMS."""
    raw = {
        "tenant": "acme",
        "channel": "sms",
        "direction": "inbound",
        "interaction_id": interaction_id,
        "occurred_at": "2026-11-22T10:15:30+02:00",
        "from": sender,
        "to": "+27110000000",
        "text": "hello",
        **fields,
    }
    return Outgoing(None, orjson.dumps(raw))


def saved(contact_id: str, *addresses: str) -> Outgoing:
    """Return the save of a contact."""
    event = {
        "tenant": "acme",
        "type": "contact.saved",
        "contact_id": contact_id,
        "name": "Ann",
        "addresses": addresses,
        "at": "2026-11-22T10:15:30+02:00",
    }
    return Outgoing(None, orjson.dumps(event))


async def updates(log: KafkaLog, stream: str = "conversations.v1") -> list[dict[str, Any]]:
    """Return all updates, partition by partition."""
    found = []
    for partition in range(await log.partitions(stream)):
        start, end = await log.bounds(stream, partition)
        while start < end and (records := await log.read(stream, partition, start)):
            found += [orjson.loads(record.value or b"null") for record in records]
            start = records[-1].offset + 1
    return found


async def until(condition: Callable[[], Awaitable[bool]], *, within_s: float = 30.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.05)


async def at_rest(
    settings: Settings, log: KafkaLog, tables: Tables, *, within_s: float = 60.0, rest_s: float = 2.0
) -> None:
    """Wait until all that gateways have written is taken in, decided and applied.

    Then nothing may move for `rest_s`, since the state topic is written behind the tables.
    """
    inputs = [*(f"interactions.{channel}.v1" for channel in settings.channels), CONTACTS, COMMANDS]
    partitions = range(await log.partitions(LOG))
    since, before = 0.0, -1

    async def taken_in() -> bool:
        done = await committed(client_options(settings.kafka), f"{settings.namespace}-intake")
        for stream in inputs:
            for partition in range(await log.partitions(stream)):
                end = (await log.bounds(stream, partition)).end
                if done.get((f"{settings.namespace}.{stream}", partition), 0) < end:
                    return False
        return True

    async def still() -> bool:
        nonlocal since, before
        ends = [(await log.bounds(LOG, partition)).end for partition in partitions]
        applied = [(await tables.load(partition, [])).applied for partition in partitions]
        if sum(ends) != before or applied != [end - 1 for end in ends]:
            since, before = time.monotonic(), sum(ends)
        return time.monotonic() - since > rest_s

    await until(taken_in, within_s=within_s)
    await until(still, within_s=within_s)
