"""The peers' rows: the bare job of assignment, each peer one process on the same servers."""

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from venv import EnvBuilder

import orjson

from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.adapters.kafka.topics import TopicAdmin, TopicPlan
from tests.benchmarks.bench import Bench, Group, ends
from tests.benchmarks.load import PARTITIONS, fill, resolved
from tests.benchmarks.measuring import Cost, StalledError, drained

NAMESPACE = "peers"
STOP_S = 15.0
_HERE = Path(__file__).parent
_ENVIRONMENT = Path(__file__).parents[3] / ".cache" / "peers"


async def stock_faust(bench: Bench) -> Cost:
    """Measure a stock Faust agent with one Redis GET and SET a record."""
    module = [sys.executable, "-m", "tests.benchmarks.peers.stock_faust"]
    arguments = [bench.broker.bootstrap, bench.redis.url, *_topics("stock-faust"), str(bench.folder / "stock-faust")]
    return await _measure(bench, "stock-faust", [*module, *arguments], bench.sizes.faust_records)


async def quix(bench: Bench) -> Cost:
    """Measure Quix Streams with its own state store."""
    program = [str(_quix_python()), str(_HERE / "quix.py")]
    arguments = [bench.broker.bootstrap, *_topics("quix"), str(bench.folder / "quix")]
    return await _measure(bench, "quix", [*program, *arguments], bench.sizes.records)


async def _measure(bench: Bench, peer: str, command: Sequence[str], records: int) -> Cost:
    kafka = bench.running(NAMESPACE).settings.kafka
    options = client_options(kafka)
    group = Group(peer, f"{NAMESPACE}.{peer}.interactions")
    admin = TopicAdmin(options, NAMESPACE)
    await admin.start()
    try:
        plans = [TopicPlan(f"{peer}.{name}", PARTITIONS, True, None, {}) for name in ("interactions", "updates")]
        await admin.apply(plans)
    finally:
        await admin.stop()
    log = KafkaLog(options, NAMESPACE)
    try:
        with bench.step(f"{peer}: fill", records) as step:
            await fill(log, f"{peer}.interactions", resolved(records, range(bench.sizes.contacts)), tell=step.more)

        async def progress() -> int:
            return await ends(log, f"{peer}.updates")

        async def committed() -> bool:
            return await group.committed(kafka)

        errors = bench.folder / f"{peer}.log"
        with _process(command, errors) as pid, bench.step(peer, records) as step:
            try:
                cost = await drained(bench.subjects([pid]), progress, committed, records, tell=step.done)
            except StalledError as error:
                raise StalledError(f"{peer}: {error}\n{errors.read_text()[-2000:]}") from error
        await _check_updates(log, peer, records)
        bench.note(f"{peer}: {cost}")
        return cost
    finally:
        await log.stop()


async def _check_updates(log: KafkaLog, peer: str, records: int) -> None:
    """See to it that the work was done: one conversation a contact, counted up by one a record, each update told."""
    conversations: dict[str, set[str]] = defaultdict(set)
    numbers: dict[str, set[int]] = defaultdict(set)
    for partition in range(PARTITIONS):
        start, end = await log.bounds(f"{peer}.updates", partition)
        while start < end:
            found = await log.read(f"{peer}.updates", partition, start)
            for record in found:
                update = orjson.loads(record.value or b"")
                conversations[update["contact_id"]].add(update["conversation_id"])
                numbers[update["contact_id"]].add(update["seq"])
            start = found[-1].offset + 1
    several = sum(len(ids) > 1 for ids in conversations.values())
    gaps = sum(seqs != set(range(1, len(seqs) + 1)) for seqs in numbers.values())
    told = sum(map(len, numbers.values()))
    if several or gaps or told != records:
        raise StalledError(
            f"{peer}: {told} of {records} told, {several} contacts with several conversations, {gaps} gaps"
        )


def _topics(peer: str) -> tuple[str, str]:
    return f"{NAMESPACE}.{peer}.interactions", f"{NAMESPACE}.{peer}.updates"


@contextmanager
def _process(command: Sequence[str], errors: Path) -> Iterator[int]:
    """Have the process as long as the context lasts."""
    with errors.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _quix_python() -> Path:
    """Return the interpreter of the environment that has Quix Streams; the first time it is made."""
    python = _ENVIRONMENT / "bin" / "python"
    wanted = (_HERE / "requirements.txt").read_text()
    installed = _ENVIRONMENT / "requirements.txt"
    if not installed.exists() or installed.read_text() != wanted:
        EnvBuilder(with_pip=True, clear=True).create(_ENVIRONMENT)
        install = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            str(_HERE / "requirements.txt"),
        ]
        subprocess.run([str(python), *install], check=True)
        installed.write_text(wanted)
    return python
