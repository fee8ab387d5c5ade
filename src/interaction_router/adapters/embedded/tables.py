"""The tables in SQLite: each partition's rows, sorted sets, and how far the log is folded into them."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence

from interaction_router.adapters import standing
from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Loaded, Restoring, Standing, Writes

SUSPENDED = -2
"""Stands for `applied` while nobody may load or apply."""

SCORED = """
    SELECT member, score FROM score WHERE partition = ? AND name = ? AND score BETWEEN ? AND ?
    ORDER BY score, member LIMIT ?
"""
SCORED_NEWEST_FIRST = """
    SELECT member, score FROM score WHERE partition = ? AND name = ? AND score BETWEEN ? AND ?
    ORDER BY score DESC, member DESC LIMIT ?
"""


class EmbeddedTables:
    """`ports.Tables` on an embedded database. One thread runs all statements, so each call is of one moment."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        """Keep the database."""
        self._database = database

    async def load(self, partition: int, keys: Sequence[RowKey], buckets: Sequence[str] = ()) -> Loaded:
        """Return single rows and whole buckets together with `applied`."""
        with self._database.reading() as connection:
            return Loaded(
                applied_of(connection, partition),
                [_row(connection, partition, key) for key in keys],
                [_bucket(connection, partition, bucket) for bucket in buckets],
            )

    async def apply(self, partition: int, *, after: int, applied: int, writes: Writes) -> int:
        """Write it all in one transaction iff `applied` is still `after`; return what `applied` is then."""
        return standing.folded(await self.restore(partition, after=after, then=applied, writes=writes))

    async def restore(self, partition: int, *, after: Standing, then: Standing, writes: Writes) -> Standing:
        """Do as `apply`, also on the way from nothing to a snapshot."""
        with self._database.writing() as connection:
            found = standing_of(connection, partition)
            if found != after:
                return found
            _delete(connection, partition, writes)
            _put(connection, partition, writes)
            connection.execute("INSERT OR REPLACE INTO applied VALUES (?, ?)", (partition, standing.kept(then)))
        return then

    async def empty(self, partition: int, *, after: Restoring) -> Standing:
        """Forget all of a partition in one transaction iff its tables are still `after`."""
        with self._database.writing() as connection:
            found = standing_of(connection, partition)
            if found != after:
                return found
            _forget(connection, partition)
        return -1

    async def clear(self, partition: int) -> None:
        """Forget all of a partition."""
        with self._database.writing() as connection:
            _forget(connection, partition)

    async def peek(self, keys: Sequence[tuple[int, RowKey]]) -> list[bytes | None]:
        """Return rows of any partitions."""
        with self._database.reading() as connection:
            return [_row(connection, partition, key) for partition, key in keys]

    async def scored(
        self, partition: int, name: str, *, low: float, high: float, limit: int, newest_first: bool = False
    ) -> list[tuple[str, float]]:
        """Return members with scores from `low` to `high`; of equal scores by the bytes of the member."""
        select = SCORED_NEWEST_FIRST if newest_first else SCORED
        with self._database.reading() as connection:
            found = connection.execute(select, (partition, name, low, high, limit))
            return [(member.decode(), score) for member, score in found]


def applied_of(connection: sqlite3.Connection, partition: int) -> int:
    """Return how far the partition's log is folded in, -1 for not at all."""
    return standing.folded(standing_of(connection, partition))


def standing_of(connection: sqlite3.Connection, partition: int) -> Standing:
    """Return how far the partition's tables are."""
    found = connection.execute("SELECT offset FROM applied WHERE partition = ?", (partition,)).fetchone()
    if found and found[0] == SUSPENDED:
        cause = "The partition's tables are being replaced."
        advice = "Where no `state rebuild` is running, one was broken off: run it again."
        raise RetryableError("tables_clearing", cause, advice)
    return standing.read(str(found[0])) if found else -1


def _forget(connection: sqlite3.Connection, partition: int) -> None:
    for table in ("applied", "entry", "score"):
        connection.execute(f"DELETE FROM {table} WHERE partition = ?", (partition,))  # noqa: S608 - the names above


def _row(connection: sqlite3.Connection, partition: int, key: RowKey) -> bytes | None:
    """Return one row."""
    found = connection.execute(
        "SELECT value FROM entry WHERE partition = ? AND bucket = ? AND field = ?", (partition, *key)
    ).fetchone()
    return found[0] if found else None


def _bucket(connection: sqlite3.Connection, partition: int, bucket: str) -> Mapping[str, bytes]:
    """Return a bucket's fields; one that is a single row is asked for by its key, as in Redis."""
    found: dict[str, bytes] = dict(
        connection.execute("SELECT field, value FROM entry WHERE partition = ? AND bucket = ?", (partition, bucket))
    )
    if "" in found:
        cause = "A bucket that is a single row was read as a map of fields."
        raise FatalError("tables_type", cause, "Report it: it is a defect of this program.")
    return found


def _delete(connection: sqlite3.Connection, partition: int, writes: Writes) -> None:
    """Take rows and members away; a key without a field takes its whole bucket."""
    fields: Iterator[RowKey] = (key for key in writes.deletes if key.field)
    connection.executemany(
        "DELETE FROM entry WHERE partition = ? AND bucket = ? AND field = ?", ((partition, *key) for key in fields)
    )
    whole: Iterator[RowKey] = (key for key in writes.deletes if not key.field)
    connection.executemany(
        "DELETE FROM entry WHERE partition = ? AND bucket = ?", ((partition, key.bucket) for key in whole)
    )
    connection.executemany(
        "DELETE FROM score WHERE partition = ? AND name = ? AND member = ?",
        ((partition, name, member.encode()) for name, member in writes.unscores),
    )


def _put(connection: sqlite3.Connection, partition: int, writes: Writes) -> None:
    """Write rows and members."""
    connection.executemany(
        "INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?)",
        ((partition, *key, value) for key, value in writes.puts.items()),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO score VALUES (?, ?, ?, ?)",
        ((partition, name, member.encode(), score) for (name, member), score in writes.scores.items()),
    )
