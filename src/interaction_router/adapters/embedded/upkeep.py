"""Embedded tables as a whole: what is in them, and the one step that replaces a partition by its shadow."""

from collections.abc import AsyncIterator, Sequence

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.tables import SUSPENDED, applied_of
from interaction_router.domain.errors import FatalError
from interaction_router.domain.rows import RowKey
from interaction_router.ports import LoadedScores, Names, shadow_of

NAMED = 1000
"""Names in one part."""

_ROWS = """
    SELECT bucket, field FROM entry WHERE partition = ? AND (bucket, field) > (?, ?) ORDER BY bucket, field LIMIT ?
"""
_MEMBERS = """
    SELECT name, member FROM score WHERE partition = ? AND (name, member) > (?, ?) ORDER BY name, member LIMIT ?
"""
_SCORE = "SELECT score FROM score WHERE partition = ? AND name = ? AND member = ?"
_OFFSET = "SELECT offset FROM applied WHERE partition = ?"
_AGAIN = "Another rebuild has been at it. See `interaction-router state verify`."


class EmbeddedUpkeep:
    """`ports.Upkeep` on an embedded database."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        """Keep the database."""
        self._database = database

    async def names(self, partition: int) -> AsyncIterator[Names]:
        """Yield what a partition holds, in order; each part goes on behind the last name of the one before."""
        place = ("", "")
        while True:
            with self._database.reading() as connection:
                found = connection.execute(_ROWS, (partition, *place, NAMED)).fetchall()
            if not found:
                break
            yield Names([RowKey(*key) for key in found], ())
            place = found[-1]
        after: tuple[str, bytes] = ("", b"")
        while True:
            with self._database.reading() as connection:
                found = connection.execute(_MEMBERS, (partition, *after, NAMED)).fetchall()
            if not found:
                return
            yield Names((), [(name, member.decode()) for name, member in found])
            after = found[-1]

    async def scores(self, partition: int, members: Sequence[tuple[str, str]]) -> LoadedScores:
        """Return the scores of members together with `applied`."""
        with self._database.reading() as connection:
            applied = applied_of(connection, partition)
            rows = [connection.execute(_SCORE, (partition, name, each.encode())).fetchone() for name, each in members]
        return LoadedScores(applied, [None if row is None else float(row[0]) for row in rows])

    async def suspend(self, partition: int, *, shadow_applied: int) -> None:
        """Let nobody load or apply until `flip`."""
        with self._database.writing() as connection:
            if connection.execute(_OFFSET, (shadow_of(partition),)).fetchone() != (shadow_applied,):
                raise _missing(partition)
            connection.execute("INSERT OR REPLACE INTO applied VALUES (?, ?)", (partition, SUSPENDED))

    async def flip(self, partition: int) -> None:
        """Replace a suspended partition by its shadow in one transaction."""
        with self._database.writing() as connection:
            if connection.execute(_OFFSET, (partition,)).fetchone() != (SUSPENDED,):
                raise FatalError("tables_standing", f"The tables of partition {partition} are in use.", _AGAIN)
            shadow = shadow_of(partition)
            if connection.execute(_OFFSET, (shadow,)).fetchone() is None:
                raise _missing(partition)
            for table in ("applied", "entry", "score"):
                connection.execute(f"DELETE FROM {table} WHERE partition = ?", (partition,))  # noqa: S608 - the names above
                connection.execute(f"UPDATE {table} SET partition = ? WHERE partition = ?", (partition, shadow))  # noqa: S608


def _missing(partition: int) -> FatalError:
    return FatalError("shadow_missing", f"There is nothing to put in place of partition {partition}.", _AGAIN)
