"""A receiver of the program as a process, and what it wrote."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import orjson

from tests.integration.running import READY_S, Running, Worker

_PROGRAM = "from interaction_router.cli import main; main()"


class Receiver(Worker):
    """`receive NAME` in a process of its own."""

    def __init__(self, running: Running, name: str, folder: Path, *, before: str = "", **settings: str) -> None:
        """`settings` are variables without their prefix; `before` is Python that is run before the program."""
        env = {**running.env, **{f"INTERACTION_ROUTER_{each}": value for each, value in settings.items()}}
        arguments = ["receive", *name.split()]
        errors = folder / f"{arguments[1]}-{time.monotonic_ns()}.log"
        super().__init__(arguments, env, errors, code=f"{before}\n{_PROGRAM}" if before else "")

    async def at(self) -> str:
        """Return what it says to be ready for."""
        return await asyncio.to_thread(ready_at, self)


def ready_at(receiver: Receiver) -> str:
    """Wait until a receiver is ready, and return what it says to be ready for."""
    deadline = time.monotonic() + READY_S
    while (found := re.search(rb"^ready \w+ (.*)$", receiver.errors.read_bytes(), re.MULTILINE)) is None:
        assert receiver.process.poll() is None, receiver.errors.read_text()
        assert time.monotonic() < deadline, receiver.errors.read_text()
        time.sleep(0.05)
    return found[1].decode()


async def raw_records(running: Running, channel: str) -> list[dict[str, Any]]:
    """Return what is in a channel's raw topic, partition by partition."""
    log = running.log()
    try:
        stream, found = f"interactions.{channel}.v1", []
        for partition in range(await log.partitions(stream)):
            found += [orjson.loads(record.value or b"") for record in await log.read(stream, partition, 0)]
        return found
    finally:
        await log.stop()
