"""`make soak`: very many interactions through one worker that is killed again and again, then everything is compared."""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.application.simulation import Load, Simulated, first_records, load_records
from interaction_router.bootstrap.storage import redis_tables
from interaction_router.bootstrap.terms import intake_settings
from interaction_router.ports import Outgoing
from tests.checker import check
from tests.integration.running import Running, Worker, at_rest
from tests.servers import Broker, RedisServer

PARTITIONS = 8
_CHUNK = 2_000
_RATE = 2_000.0
"""Interactions a second of the load's own clock: how many of them share a conversation."""
_LOOK_S = 0.2
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(slots=True)
class Life:
    """What one worker process has come to between its start and its kill."""

    started_s: float
    ended_s: float = 0.0
    peak_rss_mib: float = 0.0


@dataclass(slots=True)
class Report:
    """What was done and found. Each life's peak of memory is told, since a leak would show in the longest ones."""

    records: int
    fed_s: float = 0.0
    took_s: float = 0.0
    lives: list[Life] = field(default_factory=list)
    differences: Sequence[str] = ()


class Soak:
    """One broker, one Redis, one worker under one name."""

    def __init__(self, running: Running, log: KafkaLog, *, records: int, kill_every_s: float) -> None:
        self._running = running
        self._log = log
        self._kill_every_s = kill_every_s
        self._began = time.monotonic()
        self._done = asyncio.Event()
        self.report = Report(records)

    async def feed(self) -> None:
        """Write the load as fast as it is taken."""
        load = Load(seed=11, start_ms=int(time.time() * 1000) - 3_600_000, rate=_RATE, contacts=20_000)
        await self._append(list(first_records(load)))
        records = load_records(load)
        for sent in range(0, self.report.records, _CHUNK):
            await self._append(list(islice(records, min(_CHUNK, self.report.records - sent))))
            if sent % (_CHUNK * 25) == 0:
                print(f"{sent:>9,} written after {self._now():.0f} s", file=sys.stderr, flush=True)
        self.report.fed_s = self._now()

    async def lives(self) -> None:
        """Start a worker, kill it when its time is up, and so on until told to stop; the last one is left running."""
        while True:
            worker, life = self._running.worker(), Life(self._now())
            self.report.lives.append(life)
            try:
                while not self._done.is_set() and self._now() < life.started_s + self._kill_every_s:
                    assert worker.process.poll() is None, worker.errors.read_text()[-2000:]
                    life.peak_rss_mib = max(life.peak_rss_mib, _rss_mib(worker))
                    await asyncio.sleep(_LOOK_S)
            finally:
                worker.kill()
                life.ended_s = self._now()
            if self._done.is_set():
                return

    def stop(self) -> None:
        """Let the lives end."""
        self.report.took_s = self._now()
        self._done.set()

    def _now(self) -> float:
        return time.monotonic() - self._began

    async def _append(self, records: Sequence[Simulated]) -> None:
        batches: dict[tuple[str, int], list[Outgoing]] = defaultdict(list)
        for record in records:
            batches[record.stream, sum(record.key) % PARTITIONS].append(Outgoing(record.key, record.value))
        await asyncio.gather(*(self._log.append(*place, batch) for place, batch in batches.items()))


async def run(folder: Path, *, records: int, kill_every_s: float, rest_s: float) -> Report:
    """Feed, kill and compare."""
    with Broker(folder / "kafka", enduring=True) as broker, RedisServer(folder / "redis") as redis_server:
        running = Running(
            bootstrap=broker.bootstrap,
            redis_url=redis_server.url,
            namespace="soak",
            folder=folder,
            KAFKA__GROUP_INSTANCE_ID="soak-0",
        )
        await running.apply_topics()
        log = running.log()
        soak = Soak(running, log, records=records, kill_every_s=kill_every_s)
        try:
            async with redis_tables(running.settings) as tables:
                async with asyncio.TaskGroup() as group:
                    group.create_task(soak.lives())
                    await soak.feed()
                    await at_rest(running.settings, log, tables, within_s=rest_s)
                    soak.stop()
                print(f"at rest after {soak.report.took_s:.0f} s; comparing", file=sys.stderr, flush=True)
                found = await check(log, tables, intake_settings(running.settings))
        finally:
            await log.stop()
        soak.report.differences = [str(each) for each in found]
        return soak.report


def _rss_mib(worker: Worker) -> float:
    try:
        fields = Path(f"/proc/{worker.process.pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0.0
    return int(fields[1]) * _PAGE_MIB


def _table(report: Report) -> str:
    lines = [f"{'life':>4} {'from s':>7} {'to s':>7} {'peak RSS MiB':>13}"]
    lines += [
        f"{number:4} {life.started_s:7.0f} {life.ended_s:7.0f} {life.peak_rss_mib:13.0f}"
        for number, life in enumerate(report.lives, 1)
    ]
    lines += [
        (
            f"records {report.records:,}, written after {report.fed_s:.0f} s, at rest after {report.took_s:.0f} s, "
            f"kills {len(report.lives) - 1}"
        ),
        f"differences {len(report.differences)}",
        *(f"  {each}" for each in report.differences[:20]),
    ]
    return "\n".join(lines)


def main() -> int:
    """Print each life and what was found; return 1 where something is lost, twice or not equal."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.real.soak", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--kill-every", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument(
        "--rest", type=float, default=1_200.0, metavar="SECONDS", help="how long it may take to come to rest"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(
            run(Path(folder), records=options.records, kill_every_s=options.kill_every, rest_s=options.rest)
        )
    print(json.dumps(asdict(report)) if options.json else _table(report))
    return 1 if report.differences else 0


if __name__ == "__main__":
    sys.exit(main())
