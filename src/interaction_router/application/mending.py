"""Writing conversations to the state topic again whose last write there may have come behind somebody else's."""

from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from interaction_router.application.appending import append_batches
from interaction_router.application.outcomes import OUTCOMES, Counting, read_range
from interaction_router.application.views import HEAD, STATE, Views, read_head
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.evolve import touched
from interaction_router.domain.ids import home
from interaction_router.domain.rows import Conversation, Moved, RowKey
from interaction_router.ports import Clock, Log, Tables
from interaction_router.wire.codec import decode_row

_MOVES = 20
"""So many homes a conversation has at most on the way from one that wrote it to where it is."""
_MOST_BEHIND = 1_000
"""Where the tables are so many outcomes behind, their owner brings them on first."""


class Mending:
    """The doubts that dead takeovers have left, by partition, and their end.

    A doubt ends by rows that were read after the write was acknowledged, and that nothing in the outcomes, whose end
    was read after the rows, goes beyond: whoever changes such a row later also writes it later. What the tables alone
    say is no proof, since they may have been rolled back.
    """

    def __init__(self, log: Log, tables: Tables, clock: Clock, views: Views) -> None:
        """Nothing is in doubt."""
        self._log = log
        self._tables = tables
        self._clock = clock
        self._views = views
        self._doubts: dict[int, set[RowKey]] = {}

    def doubt(self, partition: int, written: Iterable[RowKey]) -> None:
        """Remember what a dead takeover has written to the state topic: somebody else may have written before it."""
        keys = set(written)
        if keys:
            self._doubts.setdefault(partition, set()).update(keys)

    async def mend(self) -> None:
        """Write what is in doubt again, until what was written is what stands; what nobody can tell now stays."""
        for partition in list(self._doubts):
            keys = self._doubts.pop(partition)
            try:
                while keys:
                    keys, untold = await self._write_again(partition, keys)
                    self.doubt(partition, untold)
            except BaseException as error:
                self.doubt(partition, keys)
                if not isinstance(error, RetryableError):
                    raise

    async def _write_again(self, partition: int, keys: AbstractSet[RowKey]) -> tuple[set[RowKey], set[RowKey]]:
        """Return those of the keys whose rows have changed while they were written, and those that none can tell."""
        values, untold = await self._as_they_stand(partition, keys)
        rows = [row for row in map(decode_row, values.values()) if isinstance(row, Conversation)]
        await append_batches(self._log, (STATE, self._views.state(rows, self._clock.now_ms())))
        told = keys - untold
        after, untold_after = await self._as_they_stand(partition, told)
        changed = {key for key in told - untold_after if values.get(key) != after.get(key)}
        return changed, untold | untold_after

    async def _as_they_stand(
        self, partition: int, keys: AbstractSet[RowKey]
    ) -> tuple[dict[RowKey, bytes], set[RowKey]]:
        """Return the conversations' rows wherever they are by now, and the keys of which that cannot be told.

        A stub says where one has gone. One that is on its way has no row; who takes it writes it.
        """
        found: dict[RowKey, bytes] = {}
        untold: set[RowKey] = set()
        places: dict[int, set[RowKey]] = {partition: set(keys)}
        for _ in range(_MOVES):
            ahead: dict[int, set[RowKey]] = defaultdict(set)
            for at, asked in places.items():
                values, behind = await self._settled(at, sorted(asked))
                untold |= behind
                for key, value in values.items():
                    row = decode_row(value)
                    if isinstance(row, Moved):
                        ahead[home(row.to, self._views.partitions)].add(key)
                    else:
                        found[key] = value
            places = ahead
            if not places:
                break
        return found, untold.union(*places.values())

    async def _settled(self, partition: int, keys: list[RowKey]) -> tuple[dict[RowKey, bytes], set[RowKey]]:
        """Return the rows that are there, and the keys that outcomes which the tables do not have yet go beyond."""
        if not keys:
            return {}, set()
        loaded = await self._tables.load(partition, keys, [HEAD])
        bounds = await self._log.bounds(OUTCOMES, partition)
        _, outcome, lineage = read_head(loaded.buckets[0])
        start = outcome + 1
        another = lineage is not None and lineage != self._views.lineage
        if another or not max(bounds.first, bounds.end - _MOST_BEHIND) <= start <= bounds.end:
            return {}, set(keys)
        behind: set[RowKey] = set()
        counting = Counting(loaded.applied)
        async for records in read_range(self._log, OUTCOMES, partition, start, bounds.end):
            for counted, _ in counting.count(records):
                behind.update(key for event in counted.decision.events for key in touched(event))
        rows = zip(keys, loaded.rows, strict=True)
        return {key: value for key, value in rows if value is not None and key not in behind}, behind & set(keys)
