"""A takeover that finds no rows, or rows that no outcome leads on from, begins with the latest snapshot."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from interaction_router.adapters.clock import SystemClock
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.application import snapshots as snapshots_module
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.snapshots import SNAPSHOTS, Snapshot, Snapshots
from interaction_router.application.snapshotting import Taken, take_snapshot
from interaction_router.application.takeover import Takeover
from interaction_router.application.unobserved import UNOBSERVED, Unobserved
from interaction_router.application.views import LOG
from interaction_router.bootstrap.state import scratch
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Gap, Loaded, Observer, Outgoing, Received, Restoring, Writes
from tests.e2e.embedded import saved, sms
from tests.unit.test_rebuilding import ANN, PARTITIONS, Bench, bench

NUMBER = "+27821234567"


class CountingLog:
    """A log that notes which offsets of the outcomes are read."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log
        self.read_from: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)

    async def read(self, stream: str, partition: int, start: int, *, limit: int = 1000) -> Sequence[Received]:
        if stream == OUTCOMES:
            self.read_from.append(start)
        return await self._log.read(stream, partition, start, limit=limit)


class Scene:
    """A router that has been through something, whose contact's partition is lost and found again."""

    def __init__(self, at: Bench) -> None:
        self.at = at
        self.snapshots = Snapshots(at.log, lineage=at.views.lineage)

    async def feed(self, first: int, last: int) -> None:
        await self.at.feed(*(sms(f"i{number}", NUMBER) for number in range(first, last)))

    async def snapshot(self, log: EmbeddedLog | None = None, observer: Observer = UNOBSERVED) -> Taken:
        at = self.at
        snapshots = self.snapshots if log is None else Snapshots(log, lineage=at.views.lineage, observer=observer)
        with scratch() as fold:
            return await take_snapshot(log or at.log, snapshots, at.home, live=(at.tables, at.upkeep), scratch=fold)

    async def trim(self) -> None:
        """Remove outcomes as retention by time would, whatever there is of a snapshot, but for the last."""
        await self.at.log.trim(OUTCOMES, self.at.home, (await self.at.log.bounds(OUTCOMES, self.at.home)).end)

    def forget(self) -> None:
        for partition in range(PARTITIONS):
            self.at.assignment.forget(LOG, partition)

    def takeover(self, log: object = None) -> Takeover:
        at = self.at
        return Takeover(at.log if log is None else log, at.tables, at.views, at.home)  # type: ignore[arg-type]  # a log or none

    async def begun(self, *, chunks: int = 1) -> Restoring:
        """Put a part of the latest snapshot into the empty tables, as somebody does who dies then."""
        snapshot = await self.snapshots.latest(self.at.home)
        assert snapshot is not None
        mark = Restoring(self.at.views.lineage, snapshot.key, chunks)
        writes = Writes(puts={ANN: b"part"}, scores={("open:acme", "left"): 1.0})
        assert await self.at.tables.restore(self.at.home, after=-1, then=mark, writes=writes) == mark
        return mark


@pytest.fixture(autouse=True)
def many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots_module, "CHUNK_BYTES", 500)


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async with bench() as at:
        found = Scene(at)
        await at.feed(saved("c1", NUMBER))
        await found.feed(0, 20)
        yield found


async def test_what_a_snapshot_has_is_not_folded() -> None:
    async with scene() as lost:
        at = lost.at
        taken = await lost.snapshot()
        await lost.feed(20, 22)
        lost.forget()
        await at.tables.clear(at.home)
        log = CountingLog(at.log)
        takeover = lost.takeover(log)
        standpoint = await takeover.run()
        end = (await at.log.bounds(LOG, at.home)).end
        assert (standpoint.applied, standpoint.expected) == (end - 1, (await at.log.bounds(OUTCOMES, at.home)).end)
        assert taken.chunks > 3
        assert takeover.folded == taken.chunks + end - 1 - taken.applied
        assert min(log.read_from[1:]) > 0, "but for `done`, which is read at the end"
        assert await at.differences() == []


class LosingLog(EmbeddedLog):
    """Acknowledges a chunk of a snapshot, the second, that does not stand there afterwards, or not as it was."""

    instead: bytes | None = None

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        if stream == SNAPSHOTS and (records[0].key or b"").endswith(b"/1"):
            records = [records[0]._replace(value=self.instead)]
        return await super().append(stream, partition, records)


@pytest.mark.parametrize("instead", [None, b'{"row": 1}', b"{"])
async def test_a_snapshot_that_cannot_be_read_back_is_told(instead: bytes | None) -> None:
    async with scene() as found:
        at = found.at
        log = LosingLog(at.tables._database, SystemClock())
        log.instead = instead
        with pytest.raises(FatalError, match="snapshot_unreadable"):
            await found.snapshot(log)


class RivalLog(EmbeddedLog):
    """Lets something happen before the first chunk of a snapshot, and before its manifest."""

    def __init__(self, like: Bench, **before: Callable[[], Awaitable[object]]) -> None:
        super().__init__(like.tables._database, SystemClock())
        self._before = before

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        if stream == SNAPSHOTS:
            happens = self._before.pop(
                "manifest" if (records[0].key or b"").startswith(b"manifest/") else "chunk", None
            )
            if happens is not None:
                await happens()
        return await super().append(stream, partition, records)


class Pause:
    """Where somebody waits to be let go on."""

    def __init__(self) -> None:
        self.there, self.on = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> None:
        self.there.set()
        await self.on.wait()

    async def end(self) -> None:
        await self.there.wait()
        self.on.set()


class Written(Unobserved):
    """Lets something happen once a manifest is written."""

    def __init__(self, happens: Callable[[], Awaitable[object]]) -> None:
        self._happens = happens

    async def reached(self, gap: Gap, at: int | str) -> None:
        del at
        if gap == "snapshot_written":
            await self._happens()


async def test_of_two_who_take_a_snapshot_at_once_one_leaves_a_whole_one() -> None:
    """Both have the same rows, and begin at the same end of the topic."""
    async with scene() as found:
        at = found.at
        with pytest.raises(RetryableError, match="snapshot_elsewhere"):
            await found.snapshot(RivalLog(at, chunk=found.snapshot))
        found.forget()
        await found.trim()
        await at.tables.clear(at.home)
        await found.takeover().run()
        assert await at.differences() == []


async def test_a_manifest_that_was_on_its_way_behind_that_of_another_does_not_count() -> None:
    """Each had looked for the other's; the later one then removes what stands of the one that began before it."""
    async with scene() as found:
        at, chunks, manifest = found.at, Pause(), Pause()
        older = asyncio.create_task(found.snapshot(RivalLog(at, chunk=chunks, manifest=manifest)))
        await chunks.there.wait()
        await found.feed(20, 22)

        async def let_it_write() -> None:
            await chunks.end()
            await manifest.there.wait()

        async def let_it_end() -> None:
            await manifest.end()
            await asyncio.wait([older])

        newer = await found.snapshot(RivalLog(at, chunk=let_it_write), Written(let_it_end))
        with pytest.raises(RetryableError, match="snapshot_elsewhere"):
            await older
        latest = await found.snapshots.latest(at.home)
        assert latest is not None
        assert latest.applied == newer.applied
        await found.snapshots.read_back(at.home, latest.key)


async def test_a_manifest_is_written_again_where_one_that_does_not_count_came_before_it() -> None:
    """And it counts behind a chunk of another, and where the broker has it twice."""
    async with scene() as found:
        at = found.at
        await found.snapshot()
        dead = orjson.dumps(Snapshot(0, at.views.lineage, "dead", 0, start=0, manifest=0))

        async def others() -> None:
            await at.log.append(SNAPSHOTS, at.home, [Outgoing(b"dead/0", b"{}"), Outgoing(b"manifest/dead", dead)])

        class Twice(RivalLog):
            async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
                offsets = await super().append(stream, partition, records)
                if stream == SNAPSHOTS:
                    await EmbeddedLog.append(self, stream, partition, records)
                return offsets

        taken = await found.snapshot(Twice(at, manifest=others))
        latest = await found.snapshots.latest(at.home)
        assert latest is not None
        assert latest.applied == taken.applied


async def test_rows_stay_where_the_snapshot_that_is_further_cannot_be_read() -> None:
    """Nobody could make them again: the outcomes behind them are gone as well."""
    async with scene() as lost:
        at = lost.at
        with pytest.raises(FatalError, match="snapshot_unreadable"):
            await lost.snapshot(LosingLog(at.tables._database, SystemClock()))
        lost.forget()
        with at.tables._database.writing() as connection:
            connection.execute("UPDATE entry SET value = CAST('3' AS BLOB) WHERE bucket = 'head' AND field = 'outcome'")
            connection.execute("UPDATE applied SET offset = 3 WHERE partition = ?", (at.home,))
        before = await at.tables.load(at.home, [ANN])
        await lost.trim()
        with pytest.raises(FatalError, match="outcomes_trimmed"):
            await lost.takeover().run()
        assert before.rows[0] is not None
        assert await at.tables.load(at.home, [ANN]) == before


async def test_nothing_is_left_of_a_scratch_whoever_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the rows of customers: not even while it is there has it a name."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    with scratch() as (tables, _):
        writes = Writes(puts={RowKey(f"b{number}", ""): bytes(1 << 20) for number in range(100)})
        await tables.apply(0, after=-1, applied=0, writes=writes)
        assert os.listdir(tmp_path) == []  # noqa: PTH208 - of a folder of one's own


@pytest.mark.parametrize("emptied", [True, False])
async def test_tables_that_no_outcome_leads_on_from_go_on_from_a_snapshot(*, emptied: bool) -> None:
    """Redis was lost, or set back to an older copy, and the outcomes from there on are removed."""
    async with scene() as lost:
        at = lost.at
        with at.tables._database.reading() as connection:
            copy = {
                name: connection.execute(f"SELECT * FROM {name}").fetchall()  # noqa: S608 - the names below
                for name in ("applied", "entry", "score")
            }
        await lost.feed(20, 30)
        await lost.snapshot()
        lost.forget()
        await lost.trim()
        await at.tables.clear(at.home)
        if not emptied:
            with at.tables._database.writing() as connection:
                for name, rows in copy.items():
                    of = [row for row in rows if row[0] == at.home]
                    assert of
                    connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(of[0]))})", of)  # noqa: S608 - those above
                connection.execute("INSERT INTO score VALUES (?, 'open:acme', 'stays', 1)", (at.home,))
        await lost.takeover().run()
        assert await at.differences() == []
        await lost.feed(30, 31)
        assert (await at.updates())[-1]["seq"] == 32


@pytest.mark.parametrize("snapshot", [True, False])
async def test_tables_that_nothing_leads_on_from_stay_as_they_are(*, snapshot: bool) -> None:
    """There is no snapshot, or none that is further."""
    async with scene() as lost:
        at = lost.at
        if snapshot:
            await lost.snapshot()
        before = await at.tables.load(at.home, [ANN])
        lost.forget()
        with at.tables._database.writing() as connection:
            connection.execute("UPDATE entry SET value = CAST('3' AS BLOB) WHERE bucket = 'head' AND field = 'outcome'")
        await lost.trim()
        with pytest.raises(FatalError, match="outcomes_trimmed"):
            await lost.takeover().run()
        assert await at.tables.load(at.home, [ANN]) == before


async def test_a_restore_that_was_broken_off_is_gone_on_with() -> None:
    """What it has put in is not put in again, as the row tells that is in its place here."""
    async with scene() as lost:
        at = lost.at
        taken = await lost.snapshot()
        lost.forget()
        await at.tables.clear(at.home)
        await lost.begun(chunks=taken.chunks - 1)
        with pytest.raises(RetryableError, match="tables_restoring"):
            await at.tables.load(at.home, [ANN])
        steps: list[None] = []
        await lost.snapshots.restore(at.home, at.tables, into=at.home, told=lambda: steps.append(None))
        assert len(steps) == 1
        assert await at.tables.load(at.home, [ANN]) == Loaded(taken.applied, [b"part"], [])


async def test_what_there_is_of_an_older_snapshot_is_removed() -> None:
    async with scene() as lost:
        at = lost.at
        await lost.snapshot()
        lost.forget()
        await at.tables.clear(at.home)
        await lost.begun()
        await lost.snapshot()
        await lost.takeover().run()
        assert await at.differences() == []


async def test_what_there_is_of_a_snapshot_is_removed_where_there_is_none_any_more() -> None:
    async with scene() as lost:
        at = lost.at
        await lost.snapshot()
        lost.forget()
        await at.tables.clear(at.home)
        await lost.begun()
        with at.tables._database.writing() as connection:
            connection.execute("DELETE FROM record WHERE stream = (SELECT id FROM stream WHERE name = ?)", (SNAPSHOTS,))
        await lost.takeover().run()
        assert await at.differences() == []


@pytest.mark.parametrize("broken", ["chunk missing", "chunk unreadable", "unknown form"])
async def test_a_snapshot_that_cannot_be_read_is_passed_over(broken: str, caplog: pytest.LogCaptureFixture) -> None:
    async with scene() as lost:
        at = lost.at
        await lost.snapshot()
        latest = await lost.snapshots.latest(at.home)
        assert latest is not None
        key, value = (
            (f"{latest.key}/1".encode(), None) if broken == "chunk missing" else (b"manifest/2", b'{"form": 2}')
        )
        if broken == "chunk unreadable":
            with at.tables._database.writing() as connection:
                connection.execute(
                    "UPDATE record SET value = CAST('no JSON' AS BLOB) WHERE key = ?", (f"{latest.key}/1".encode(),)
                )
        else:
            await at.log.append(SNAPSHOTS, at.home, [Outgoing(key, value)])
        lost.forget()
        await at.tables.clear(at.home)
        if broken == "unknown form":
            mark = Restoring(at.views.lineage, latest.key, 1)
            await at.tables.restore(at.home, after=-1, then=mark, writes=Writes(puts={ANN: b"part"}))
        with caplog.at_level(logging.WARNING):
            await lost.takeover().run()
        assert "snapshot_passed_over" in caplog.text
        assert await at.differences() == []


async def test_of_two_snapshots_at_once_the_second_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first removes what stands of the second: its manifest would lead to nothing."""
    async with scene() as lost:
        at, reached, others = lost.at, UNOBSERVED.reached, 0

        async def second(gap: Gap, place: int | str) -> None:
            nonlocal others
            await reached(gap, place)
            if gap == "snapshot_chunk_written" and not others:
                others += 1
                await lost.snapshot()

        monkeypatch.setattr(lost.snapshots, "_observer", SimpleNamespace(reached=second))
        with pytest.raises(RetryableError, match="snapshot_elsewhere"):
            await lost.snapshot()
        lost.forget()
        await at.tables.clear(at.home)
        await lost.snapshots.restore(at.home, at.tables, into=at.home)
        assert (await at.tables.load(at.home, ())).applied >= 0


async def test_tables_that_are_filled_from_another_log_are_left_alone() -> None:
    """Two routers, by mistake, of one namespace: neither may drop what the other has."""
    async with scene() as lost:
        at = lost.at
        await lost.snapshot()
        lost.forget()
        await at.tables.clear(at.home)
        mark = (await lost.begun())._replace(lineage="made/anew")
        await at.tables.clear(at.home)
        await at.tables.restore(at.home, after=-1, then=mark, writes=Writes(puts={ANN: b"theirs"}))
        with pytest.raises(FatalError, match="tables_of_another_log"):
            await lost.takeover().run()
        assert await at.tables.peek([(at.home, ANN)]) == [b"theirs"]
        assert await at.tables.restore(at.home, after=mark, then=mark, writes=Writes()) == mark


async def test_a_snapshot_of_another_log_is_not_put_in() -> None:
    """The topics of the log were made anew, that of the snapshots was not."""
    async with scene() as lost:
        at = lost.at
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lost.snapshots, "lineage", "made/before")
            await lost.snapshot()
        lost.forget()
        await at.tables.clear(at.home)
        log = CountingLog(at.log)
        await lost.takeover(log).run()
        assert 0 in log.read_from[1:], "all is folded"
        assert await at.differences() == []
