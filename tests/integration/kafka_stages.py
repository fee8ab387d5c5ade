"""Stages for tests of the shell, and the program that runs one of them in a process of its own."""

import asyncio
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.shell import FaustShell, ShellOptions
from interaction_router.domain.errors import RouterError
from interaction_router.ports import Received
from interaction_router.settings.model import KafkaSettings

STREAM = "internal.log"


class Batch(NamedTuple):
    partition: int
    first: int
    last: int


class Recorder:
    """Keeps what it was handed, and does with each batch what a test wants."""

    def __init__(self, act: Callable[[int, Sequence[Received]], Awaitable[int | None]] | None = None) -> None:
        self.batches: list[Batch] = []
        self.forgotten: list[int] = []
        self.starts: dict[int, int] = {}
        self.steps: dict[int, int] = {}
        self.running: set[int] = set()
        self._act = act

    @property
    def streams(self) -> Sequence[str]:
        return (STREAM,)

    async def handle(self, stream: str, partition: int, records: Sequence[Received]) -> int:
        assert stream == STREAM
        assert partition not in self.running, "one call at a time for a partition"
        self.running.add(partition)
        try:
            following = await self._act(partition, records) if self._act is not None else None
        finally:
            self.running.discard(partition)
        offsets = [record.offset for record in records]
        assert offsets == list(range(offsets[0], offsets[-1] + 1)), "a batch has no gaps"
        self.batches.append(Batch(partition, offsets[0], offsets[-1]))
        return offsets[-1] + 1 if following is None else following

    async def committed(self, stream: str, partition: int) -> int | None:
        assert stream == STREAM
        return self.starts.get(partition)

    def progress(self, stream: str, partition: int) -> int:
        assert stream == STREAM
        return self.steps.get(partition, 0)

    def forget(self, stream: str, partition: int) -> None:
        assert stream == STREAM
        self.forgotten.append(partition)

    def handled(self) -> int:
        return sum(batch.last - batch.first + 1 for batch in self.batches)


def repeats(batches: Sequence[Batch]) -> int:
    """Return how many records came more than once; fail where one was skipped."""
    position: defaultdict[int, int] = defaultdict(int)
    repeated = 0
    for partition, first, last in batches:
        assert first <= position[partition], f"partition {partition} went from {position[partition]} on to {first}"
        repeated += min(position[partition], last + 1) - first
        position[partition] = max(position[partition], last + 1)
    return repeated


def options(bootstrap: str, namespace: str, **changes: float | str) -> ShellOptions:
    client = client_options(KafkaSettings(bootstrap_servers=bootstrap))
    defaults: dict[str, float] = {"session_timeout_ms": 3000, "heartbeat_interval_ms": 300}
    return ShellOptions(client, namespace, **{**defaults, **changes})  # type: ignore[arg-type]  # by name


async def _write_down(bootstrap: str, namespace: str, notes: Path) -> None:
    """Write a line for each batch, which outlives the process, and `ready` lines."""
    with notes.open("ab", buffering=0) as file:

        async def note(partition: int, records: Sequence[Received]) -> None:
            await asyncio.sleep(0.02)
            file.write(b"%d %d %d\n" % (partition, records[0].offset, records[-1].offset))

        shell = FaustShell(
            options(bootstrap, namespace, batch_records=50),
            {"test": Recorder(note)},
            on_ready=lambda role, partitions: print(f"ready {role} {partitions}", flush=True),
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, shell.stop)
        await shell.run()


def read_notes(notes: Path) -> list[Batch]:
    lines = notes.read_bytes().splitlines() if notes.exists() else []
    return [Batch(*map(int, line.split())) for line in lines]


if __name__ == "__main__":
    try:
        asyncio.run(_write_down(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
    except RouterError as error:
        print(error, file=sys.stderr)
        os._exit(70)
