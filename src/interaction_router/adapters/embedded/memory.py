"""`ports.Memory` on an embedded database."""

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.ports import Clock


class EmbeddedMemory:
    """Rows with the time at which they are forgotten; those whose time is up go at the next `keep`."""

    def __init__(self, database: EmbeddedDatabase, clock: Clock) -> None:
        """Tell time by `clock`."""
        self._database = database
        self._clock = clock

    async def keep(self, key: str, value: bytes, *, ttl_s: int) -> bytes:
        """Keep the value where the key has none; return what the key has then."""
        now_ms = self._clock.now_ms()
        with self._database.writing() as connection:
            connection.execute("DELETE FROM kept WHERE until_ms <= ?", (now_ms,))
            connection.execute("INSERT OR IGNORE INTO kept VALUES (?, ?, ?)", (key, value, now_ms + ttl_s * 1000))
            (known,) = connection.execute("SELECT value FROM kept WHERE key = ?", (key,)).fetchone()
        return bytes(known)

    async def recall(self, key: str) -> bytes | None:
        """Return what the key has."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT value FROM kept WHERE key = ? AND until_ms > ?", (key, self._clock.now_ms())
            ).fetchone()
        return None if found is None else bytes(found[0])
