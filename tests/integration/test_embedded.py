"""The embedded file and its shell: what the contract suites do not ask of every log."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.shell import EmbeddedShell
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.bootstrap.embedded import embedded_router
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Bounds, Outgoing, Received, Stage, Writes
from interaction_router.settings import load_settings

LIMIT_S = 5.0


class FixedClock:
    def now_ms(self) -> int:
        return 1_795_000_000_000


@pytest.fixture
def log() -> Iterator[EmbeddedLog]:
    with EmbeddedDatabase() as database:
        yield EmbeddedLog(database, FixedClock())


@pytest.fixture(autouse=True)
async def limit() -> AsyncIterator[None]:
    """End a test that waits for what never comes."""
    task = asyncio.current_task()
    handle = asyncio.get_running_loop().call_later(LIMIT_S, lambda: task and task.cancel())
    yield
    handle.cancel()


def values(*numbers: int) -> list[Outgoing]:
    return [Outgoing(None, b"%d" % number) for number in numbers]


class Recorder:
    """A stage that keeps what it is handed, and fails as told."""

    def __init__(self, *streams: str, starts: int | None = None) -> None:
        self.streams: Sequence[str] = streams
        self.starts = starts
        self.taken: list[tuple[str, int, int]] = []
        self.failures: list[Exception] = []
        self.forgotten: list[tuple[str, int]] = []
        self.busy: set[tuple[str, int]] = set()
        self.overlapped = False
        self.go_on_from: list[int] = []

    async def handle(self, stream: str, partition: int, records: Sequence[Received]) -> int:
        assert (stream, partition) not in self.busy
        self.overlapped = self.overlapped or bool(self.busy)
        self.busy.add((stream, partition))
        await asyncio.sleep(0)
        self.busy.discard((stream, partition))
        if self.failures:
            raise self.failures.pop()
        self.taken.extend((stream, partition, record.offset) for record in records)
        return self.go_on_from.pop() if self.go_on_from else records[-1].offset + 1

    async def committed(self, stream: str, partition: int) -> int | None:
        del stream, partition
        return self.starts

    def progress(self, stream: str, partition: int) -> int:
        del stream, partition
        return 0

    def forget(self, stream: str, partition: int) -> None:
        self.forgotten.append((stream, partition))


@asynccontextmanager
async def running(log: EmbeddedLog, stage: Stage, **options: float) -> AsyncIterator[EmbeddedShell]:
    shell = EmbeddedShell(log, {"group": stage}, batch=int(options.pop("batch", 1000)), retry_s=0.01)
    task = asyncio.create_task(shell.run())
    try:
        yield shell
    finally:
        shell.stop()
        await task


async def test_the_shell_hands_over_everything_once_and_in_order(log: EmbeddedLog) -> None:
    await log.create("a", 2)
    await log.create("b", 1)
    stage = Recorder("a", "b")
    await log.append("a", 0, values(*range(5)))
    await log.append("a", 1, values(0))
    async with running(log, stage, batch=2) as shell:
        await shell.settled()
        await log.append("b", 0, values(0, 1))
        await shell.settled()
        await log.append("a", 0, values(5))
        await shell.settled()
    assert sorted(stage.taken) == [
        *(("a", 0, offset) for offset in range(6)),
        ("a", 1, 0),
        ("b", 0, 0),
        ("b", 0, 1),
    ]
    assert [offset for stream, partition, offset in stage.taken if (stream, partition) == ("a", 0)] == list(range(6))
    assert stage.overlapped
    assert sorted(stage.forgotten) == [("a", 0), ("a", 1), ("b", 0)]


async def test_the_shell_goes_on_where_its_group_ended(log: EmbeddedLog) -> None:
    await log.create("a", 1)
    for numbers in ((0, 1), (2,)):
        stage = Recorder("a")
        await log.append("a", 0, values(*numbers))
        async with running(log, stage) as shell:
            await shell.settled()
        assert [offset for _, _, offset in stage.taken] == list(numbers)
    assert await log.committed("group", "a", 0) == 3
    assert await log.committed("other", "a", 0) is None


async def test_a_stage_that_knows_where_to_start_is_believed(log: EmbeddedLog) -> None:
    await log.create("a", 1)
    await log.append("a", 0, values(*range(4)))
    await log.commit("group", "a", 0, 1)
    stage = Recorder("a", starts=3)
    async with running(log, stage) as shell:
        await shell.settled()
    assert stage.taken == [("a", 0, 3)]


async def test_the_shell_goes_where_the_stage_says(log: EmbeddedLog) -> None:
    await log.create("a", 1)
    await log.append("a", 0, values(*range(4)))
    stage = Recorder("a")
    stage.go_on_from = [1]
    async with running(log, stage) as shell:
        await shell.settled()
    assert [offset for _, _, offset in stage.taken] == [0, 1, 2, 3, 1, 2, 3]


async def test_a_retryable_error_is_tried_again(log: EmbeddedLog, caplog: pytest.LogCaptureFixture) -> None:
    await log.create("a", 1)
    await log.append("a", 0, values(0, 1))
    stage = Recorder("a")
    stage.failures = [RetryableError("redis_full", "It is full."), RetryableError("redis_full", "It is full.")]
    async with running(log, stage) as shell:
        await shell.settled()
    assert [offset for _, _, offset in stage.taken] == [0, 1]
    assert [record.message for record in caplog.records] == ["partition_retried"] * 2


async def test_any_other_error_ends_the_shell(log: EmbeddedLog) -> None:
    await log.create("a", 2)
    await log.append("a", 0, values(0))
    stage = Recorder("a")
    stage.failures = [FatalError("tables_damaged", "They are.")]
    shell = EmbeddedShell(log, {"group": stage})
    waiting = asyncio.create_task(shell.settled())
    with pytest.raises(FatalError, match="tables_damaged"):
        await shell.run()
    with pytest.raises(RuntimeError, match="ended"):
        await waiting
    assert sorted(stage.forgotten) == [("a", 0), ("a", 1)]
    assert await log.committed("group", "a", 0) is None


async def test_stopping_finishes_the_batch_under_way(log: EmbeddedLog) -> None:
    await log.create("a", 1)
    await log.append("a", 0, values(0, 1))
    begun, finish = asyncio.Event(), asyncio.Event()

    class Slow(Recorder):
        async def handle(self, stream: str, partition: int, records: Sequence[Received]) -> int:
            begun.set()
            await finish.wait()
            return await super().handle(stream, partition, records)

    stage = Slow("a")
    shell = EmbeddedShell(log, {"group": stage}, batch=1)
    task = asyncio.create_task(shell.run())
    await begun.wait()
    shell.stop()
    finish.set()
    await task
    assert stage.taken == [("a", 0, 0)]
    assert await log.committed("group", "a", 0) == 1


async def test_an_idle_shell_does_nothing(log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    await log.create("a", 1)
    reads = 0
    read = log.read

    async def counted(stream: str, partition: int, start: int, *, limit: int = 1000) -> Sequence[Received]:
        nonlocal reads
        reads += 1
        return await read(stream, partition, start, limit=limit)

    monkeypatch.setattr(log, "read", counted)
    async with running(log, Recorder("a")) as shell:
        await shell.settled()
        await asyncio.sleep(0.05)
    assert reads == 1


async def test_a_file_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "router.db"
    with EmbeddedDatabase(path) as database:
        log = EmbeddedLog(database, FixedClock())
        await log.create("a", 2)
        await log.append("a", 1, values(0, 1))
        await log.commit("group", "a", 1, 1)
        lineage = await log.lineage("a")
        await EmbeddedTables(database).apply(1, after=-1, applied=1, writes=Writes(puts={RowKey("r"): b"1"}))
    with EmbeddedDatabase(path) as database:
        log = EmbeddedLog(database, FixedClock())
        assert await log.partitions("a") == 2
        assert await log.lineage("a") == lineage
        assert await log.committed("group", "a", 1) == 1
        assert await log.append("a", 1, values(2)) == [2]
        loaded = await EmbeddedTables(database).load(1, [RowKey("r")])
        assert (loaded.applied, list(loaded.rows)) == (1, [b"1"])


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "router.db"
    program = """
import asyncio, os, signal, sys
from pathlib import Path
from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.ports import Outgoing

class Clock:
    def now_ms(self): return 1

async def main():
    log = EmbeddedLog(EmbeddedDatabase(Path(sys.argv[1])), Clock())
    await log.create("a", 1)
    await log.append("a", 0, [Outgoing(None, b"1"), Outgoing(None, b"2")])
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False)  # noqa: ASYNC221 - nothing else runs
    assert ended.returncode < 0
    with EmbeddedDatabase(path) as database:
        assert await EmbeddedLog(database, FixedClock()).bounds("a", 0) == Bounds(0, 2)


def test_a_second_process_is_told_why_not(tmp_path: Path) -> None:
    path = tmp_path / "router.db"
    program = f"""
from pathlib import Path
from interaction_router.adapters.embedded.database import EmbeddedDatabase
EmbeddedDatabase(Path({str(path)!r}))
"""
    with EmbeddedDatabase(path):
        ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert "embedded_locked" in ended.stderr
    assert "another process" in ended.stderr
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_file_that_is_no_database_is_fatal(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no database" * 200)
    with pytest.raises(FatalError, match="embedded_unusable"):
        EmbeddedDatabase(path)
    with pytest.raises(FatalError, match="embedded_unusable"):
        EmbeddedDatabase(tmp_path / "missing" / "router.db")


def test_a_file_is_its_owners_alone_to_read(tmp_path: Path) -> None:
    """What customers have written is in it."""
    with EmbeddedDatabase(tmp_path / "router.db"):
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("router.db", "router.db-wal"), 0o600)


async def test_creating_again_changes_nothing_and_never_shrinks(log: EmbeddedLog) -> None:
    await log.create("a", 2)
    lineage = await log.lineage("a")
    await log.append("a", 1, values(7))
    await log.create("a", 2)
    await log.create("a", 3)
    assert await log.partitions("a") == 3
    assert await log.lineage("a") == lineage
    assert await log.bounds("a", 1) == Bounds(0, 1)
    with pytest.raises(FatalError, match="topic_shrinks"):
        await log.create("a", 2)
    with pytest.raises(FatalError, match="topic_differs"):
        await log.create("a", 3, compacted=True)


async def test_a_compacted_stream_keeps_the_last_of_each_key(log: EmbeddedLog) -> None:
    await log.create("state", 1, compacted=True)
    await log.append("state", 0, [Outgoing(b"x", b"1"), Outgoing(b"y", b"1"), Outgoing(b"x", b"2")])
    await log.append("state", 0, [Outgoing(b"x", None), Outgoing(None, b"1"), Outgoing(None, b"2")])
    records = await log.read("state", 0, 0)
    assert [(record.offset, record.key, record.value) for record in records] == [
        (1, b"y", b"1"),
        (3, b"x", None),
        (4, None, b"1"),
        (5, None, b"2"),
    ]
    assert await log.bounds("state", 0) == Bounds(1, 6)


async def test_a_full_disk_keeps_none_of_a_batch() -> None:
    with EmbeddedDatabase() as database:
        log, tables = EmbeddedLog(database, FixedClock()), EmbeddedTables(database)
        await log.create("a", 1)
        with database.reading() as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages + 4}")
        with pytest.raises(RetryableError, match="full"):
            await log.append("a", 0, [Outgoing(None, b"v" * 1000)] * 100)
        with pytest.raises(RetryableError, match="full"):
            await tables.apply(0, after=-1, applied=0, writes=Writes(puts={RowKey("r"): b"v" * 100_000}))
        assert await log.bounds("a", 0) == Bounds(0, 0)
        assert (await tables.load(0, ())).applied == -1
        assert await log.append("a", 0, values(1)) == [0]


async def test_the_partitions_of_a_storage_stay(tmp_path: Path) -> None:
    """More of them would look for every contact where it is not."""
    for partitions in ("2", "8"):
        flags = {"embedded.data_dir": str(tmp_path), "topics.partitions": partitions}
        async with embedded_router(load_settings({}, None, flags)) as embedded:
            assert await embedded.log.partitions("internal.log") == 2
