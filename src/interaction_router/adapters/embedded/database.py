"""The SQLite file, held by one process from opening to closing."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from interaction_router.domain.errors import FatalError, RetryableError, RouterError

SCHEMA = """
CREATE TABLE IF NOT EXISTS stream (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL, compacted INTEGER NOT NULL,
    lineage TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS record (
    stream INTEGER NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL,
    headers TEXT, key BLOB, value BLOB, PRIMARY KEY (stream, partition, offset));
CREATE TABLE IF NOT EXISTS latest (
    stream INTEGER NOT NULL, partition INTEGER NOT NULL, key BLOB NOT NULL, offset INTEGER NOT NULL,
    PRIMARY KEY (stream, partition, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS group_offset (
    name TEXT NOT NULL, stream TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    PRIMARY KEY (name, stream, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS applied (partition INTEGER PRIMARY KEY, offset INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS entry (
    partition INTEGER NOT NULL, bucket TEXT NOT NULL, field TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (partition, bucket, field)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS score (
    partition INTEGER NOT NULL, name TEXT NOT NULL, member BLOB NOT NULL, score REAL NOT NULL,
    PRIMARY KEY (partition, name, member)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value BLOB NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS score_order ON score (partition, name, score, member);
"""

_OWNER_ONLY: Final = 0o600
_SPILLS_AFTER_KIB: Final = 64 * 1024


class EmbeddedDatabase:
    """One SQLite connection, shared by the embedded log and the embedded tables; the file is its owner's alone to read.

    Statements run in the event loop itself and block it while they run: this is for a demo, a simulation and tests.
    What was acknowledged survives the death of the process; a power cut may take the last transactions.
    """

    def __init__(self, path: Path | None = None, *, spills: bool = False) -> None:
        """Open the file, or memory that is gone when it is closed.

        What is too much for memory that `spills` is in a file that has no name, so that nothing is left of it whatever
        becomes of the process.

        Raises:
            FatalError: another process has the file, or it cannot be opened or is no database.
        """
        self._path = path
        try:
            if path is not None:
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, _OWNER_ONLY))
            memory = "" if spills else ":memory:"
            self._connection = sqlite3.connect(
                memory if path is None else path, isolation_level=None, timeout=0, cached_statements=256
            )
            if spills:
                self._connection.execute(f"PRAGMA cache_size = -{_SPILLS_AFTER_KIB}")
            self._open()
        except (sqlite3.Error, OSError) as error:
            raise unopened(error, path) from error

    def _open(self) -> None:
        """Take the file's lock for good, then see that the schema is there."""
        run = self._connection.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run("BEGIN EXCLUSIVE")
        run("COMMIT")
        self._connection.executescript(SCHEMA)

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    def __enter__(self) -> Self:
        """Return the open database."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Run statements that change nothing; SQLite's errors become ours."""
        try:
            yield self._connection
        except sqlite3.ProgrammingError:
            # A defect of this program, such as a use after `close`, and nothing about the file.
            raise
        except sqlite3.Error as error:
            raise _running(error) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Run statements in one transaction: all of them or, after any exception, none."""
        with self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A full disk makes SQLite roll back by itself; a second ROLLBACK would hide the first error.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


def unopened(error: Exception, path: Path | None) -> FatalError:
    """Say why the file does not open, or cannot be made."""
    if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return FatalError(
            "embedded_locked",
            f"{path} is in use by another process; the embedded log and tables serve one process alone.",
            "Stop that process, give this one another file, or use Kafka and Redis, which any number can share.",
        )
    return FatalError("embedded_unusable", f"{path} does not open: {error}.", "Name a writable path or another file.")


def _running(error: sqlite3.Error) -> RouterError:
    """Say whether waiting helps: a full disk does get emptied, a damaged file does not mend."""
    if isinstance(error, sqlite3.OperationalError):
        return RetryableError("embedded_unavailable", f"The embedded database does not answer: {error}.")
    return FatalError("embedded_damaged", f"The embedded database is damaged: {error}.", "Restore or remove the file.")
