"""`ports.Spool` in one SQLite file: what a receiver has acknowledged while the broker was away.

SQLite rather than files of our own: a commit is all or nothing and fsynced (`synchronous = FULL`), what was drained is
removed in the same way, and a torn end after a power cut is its business.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import orjson

from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.ports import RawRecord

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS spooled (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, partition INTEGER NOT NULL, key BLOB,
    value BLOB NOT NULL, headers BLOB NOT NULL, size INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS spooled_lane ON spooled (stream, partition, id);
"""
_ROW_BYTES: Final = 100
"""What a record takes besides its bytes, about."""

READ_BYTES: Final = 8 * 1024 * 1024
"""A read stops behind the record that passes this: what a batch may hold in memory."""

_OWNER_ONLY: Final = 0o600

_Result = TypeVar("_Result")


class DiskSpool:
    """A spool in one file, which one process has from opening to closing; the file is its owner's alone to read.

    Statements run in a thread of their own, so that a slow disk does not keep the event loop.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        """Open the file, or make it; `max_bytes` bounds the records, not the file.

        Raises:
            FatalError: another process has it, or it cannot be opened or is no database.
        """
        self._max_bytes = max_bytes
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, _OWNER_ONLY))
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
            self._bytes = self._open()
        except (sqlite3.Error, OSError) as error:
            raise _unopened(error, path) from error
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")

    def _open(self) -> int:
        """Take the file's lock for good; return how many bytes it holds."""
        run = self._connection.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("BEGIN EXCLUSIVE")
        run("COMMIT")
        self._connection.executescript(_SCHEMA)
        (held,) = run("SELECT coalesce(sum(size), 0) FROM spooled").fetchone()
        return int(held)

    async def close(self) -> None:
        """Finish what is under way and give the file back."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()

    async def add(self, partition: int, records: Sequence[RawRecord]) -> None:
        """Keep the records in one transaction, which is on disk once this returns."""
        rows = [_row(partition, record) for record in records]
        size = sum(row[-1] for row in rows)
        if self._bytes + size > self._max_bytes:
            raise RetryableError(
                "spool_full",
                f"The spool holds {self._bytes} bytes of at most {self._max_bytes}.",
                "Look why Kafka does not take them; `receivers.spool.max_bytes` is the bound.",
            )
        self._bytes += size
        try:
            await self._run(lambda: self._insert(rows))
        except BaseException:
            self._bytes -= size
            raise

    async def oldest(self, stream: str, partition: int, *, limit: int) -> Sequence[tuple[int, RawRecord]]:
        """Return up to `limit` records, fewer where they are large."""
        return await self._run(lambda: self._select(stream, partition, limit))

    async def remove(self, identities: Sequence[int]) -> None:
        """Forget the records in one transaction."""
        self._bytes -= await self._run(lambda: self._delete(identities))

    async def lanes(self) -> Mapping[tuple[str, int], int]:
        """Return how many records there are, by stream and partition."""
        counted = "SELECT stream, partition, count(*) FROM spooled GROUP BY stream, partition"
        rows = await self._run(lambda: self._connection.execute(counted).fetchall())
        return {(stream, partition): count for stream, partition, count in rows}

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.Error as error:
            cause = f"The spool's disk does not take or give records ({type(error).__name__}: {error})."
            raise RetryableError("spool_unavailable", cause) from error

    def _insert(self, rows: Sequence[tuple[object, ...]]) -> None:
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "INSERT INTO spooled (stream, partition, key, value, headers, size) VALUES (?, ?, ?, ?, ?, ?)", rows
            )

    def _select(self, stream: str, partition: int, limit: int) -> list[tuple[int, RawRecord]]:
        found: list[tuple[int, RawRecord]] = []
        held = 0
        for identity, key, value, headers in self._connection.execute(
            "SELECT id, key, value, headers FROM spooled WHERE stream = ? AND partition = ? ORDER BY id LIMIT ?",
            (stream, partition, limit),
        ):
            pairs = tuple((name, text.encode("latin-1")) for name, text in orjson.loads(headers))
            found.append((identity, RawRecord(stream, key, value, pairs)))
            held += len(value)
            if held > READ_BYTES:
                break
        return found

    def _delete(self, identities: Sequence[int]) -> int:
        freed = 0
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            for identity in identities:
                for (size,) in self._connection.execute(
                    "DELETE FROM spooled WHERE id = ? RETURNING size", (identity,)
                ).fetchall():
                    freed += size
        return freed


def _row(partition: int, record: RawRecord) -> tuple[str, int, bytes | None, bytes, bytes, int]:
    headers = orjson.dumps([(name, value.decode("latin-1")) for name, value in record.headers])
    size = len(record.value) + len(record.key or b"") + len(headers) + _ROW_BYTES
    return record.stream, partition, record.key, record.value, headers, size


def _unopened(error: Exception, path: Path) -> FatalError:
    if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        cause = f"{path} is in use by another process; a spool is one receiver's."
        return FatalError("spool_locked", cause, "Stop that process, or set another `receivers.spool.dir`.")
    cause = f"{path} does not open: {error}."
    return FatalError("spool_unusable", cause, "Set `receivers.spool.dir` to a folder that can be written.")
