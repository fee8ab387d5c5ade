"""A partition's rows as one takeover object has them: those of the batch, a bounded cache, and the tables behind it."""

from collections.abc import Iterable, Sequence

from interaction_router.domain.decide import next_rows
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.rows import Row, RowKey
from interaction_router.domain.turn import NotLoaded
from interaction_router.ports import Loaded, Observer, Tables
from interaction_router.wire.codec import decode_row


class RowStore:
    """Loads rows together with `applied`, and keeps the latest used ones.

    The cache has two generations; a row that is used moves to the young one, and when that is full the old one goes.
    Only rows whose apply was acknowledged are in it. Fields of buckets are not: an index's entry is mostly asked for
    once, and with its text would take the place, and the memory, of rows that are asked for all the time.
    """

    def __init__(self, tables: Tables, partition: int, observer: Observer, *, applied: int, cache_rows: int) -> None:
        """`applied` is how far this owner has brought the tables."""
        self._observer = observer
        self.applied = applied
        self.rows: dict[RowKey, Row | None] = {}
        self.buckets: dict[str, tuple[str, ...]] = {}
        self._tables = tables
        self._partition = partition
        self._young: dict[RowKey, Row | None] = {}
        self._old: dict[RowKey, Row | None] = {}
        self._generation = max(1, cache_rows // 2)

    def row(self, key: RowKey) -> Row | None:
        """Return a row as it is now. Raises: NotLoaded."""
        try:
            return self.rows[key]
        except KeyError:
            raise NotLoaded((key,)) from None

    async def prepare(self, keys: Sequence[RowKey]) -> None:
        """Have these rows, and those that they lead to, in `rows`: two round trips at most."""
        await self._fetch(keys)
        rows = self.rows
        found = [row for key in keys if (row := rows[key]) is not None]
        await self._fetch([further for row in found for further in next_rows(row)])

    async def _fetch(self, keys: Iterable[RowKey]) -> None:
        rows, young, old = self.rows, self._young, self._old
        missing: dict[RowKey, None] = {}
        known = len(rows)
        for key in keys:
            if key in rows:
                continue
            if key in young:
                rows[key] = young[key]
            elif key in old:
                rows[key] = old[key]
            else:
                missing[key] = None
        self._observer.looked_up(hits=len(rows) - known, misses=len(missing))
        if missing:
            loaded = await self._load(list(missing), ())
            for key, value in zip(missing, loaded.rows, strict=True):
                rows[key] = None if value is None else decode_row(value)

    async def _load(self, keys: list[RowKey], buckets: tuple[str, ...]) -> Loaded:
        """Load together with `applied`: rows that somebody else has moved on must never get into a decision."""
        loaded = await self._tables.load(self._partition, keys, buckets)
        if loaded.applied != self.applied:
            raise RetryableError(
                "taken_over",
                f"The tables of partition {self._partition} are at {loaded.applied}, not at {self.applied}.",
                "Somebody else has moved them, or they were lost; taking over anew.",
            )
        return loaded

    async def load_bucket(self, bucket: str) -> None:
        """Have a whole bucket; only right while nothing is decided that the tables do not have yet."""
        loaded = await self._load([], (bucket,))
        fields = loaded.buckets[0]
        self.buckets[bucket] = tuple(fields)
        for field, value in fields.items():
            key = RowKey(bucket, field)
            if key not in self.rows:
                self.rows[key] = decode_row(value)

    def applied_up_to(self, applied: int) -> None:
        """The tables have all that was decided: keep what was used, start the next batch with nothing."""
        self.applied = applied
        young = self._young
        young.update((key, row) for key, row in self.rows.items() if not key.field)
        self.rows, self.buckets = {}, {}
        if len(young) > self._generation:
            self._old, self._young = young, {}
        self._observer.cached(self._partition, len(self._young) + len(self._old))
