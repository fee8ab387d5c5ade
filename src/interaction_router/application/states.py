"""The state topic beside the rows that it is of: what differs, and the writing of it again."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from interaction_router.application.appending import append_batches
from interaction_router.application.outcomes import read_range
from interaction_router.application.queries import Queries
from interaction_router.application.views import STATE, Batches, Views
from interaction_router.domain.ids import conversation_hash
from interaction_router.domain.rows import Conversation, RowKey, conversation_key
from interaction_router.ports import Log, Outgoing, Tables, Upkeep, Writes
from interaction_router.wire.updates import state_record

CONVERSATIONS: Final = conversation_key("").bucket
"""What the bucket of a conversation's row begins with."""

LOOKS: Final = 4
"""How often a difference is looked at again: workers write the row first and the topic a moment later."""

ROW: Final = "row"
TOPIC: Final = "topic"
_GONE: Final = b""


class StateDifference(NamedTuple):
    """A conversation whose record in the state topic is not as its row: None for none, of both."""

    conversation_id: str
    found: bytes | None
    wanted: bytes | None


class States:
    """Compares the state topic with the rows, by digests that are kept in a scratch of one's own."""

    def __init__(
        self, log: Log, tables: Tables, views: Views, scratch: tuple[Tables, Upkeep], *, settle_s: float
    ) -> None:
        """`settle_s` is the pause before a difference is looked at again, 0 where no worker can be running."""
        self._log = log
        self._queries = Queries(log, tables)
        self._views = views
        self._scratch, self._names = scratch
        self._settle_s = settle_s
        self._written: dict[int, int] = {}

    async def expect(self, rows: Iterable[Conversation]) -> None:
        """Keep what the state topic should have of these."""
        by_partition: dict[int, Writes] = {}
        for row in rows:
            into = by_partition.setdefault(self._home(row.conversation_id), Writes())
            into.puts[RowKey(row.conversation_id, ROW)] = _digest(state_record(row).value)
        for partition, into in by_partition.items():
            await self._keep(partition, into)

    async def compare(self, partition: int, told: Callable[[int, int], None]) -> list[StateDifference]:
        """Return the differences of one partition of the topic; `told` hears how far it is read, and of what."""
        first, end = await self._log.bounds(STATE, partition)
        async for records in read_range(self._log, STATE, partition, first, end):
            digests = {RowKey(each.key.decode(), TOPIC): _digest(each.value) for each in records if each.key}
            await self._keep(partition, Writes(puts=digests))
            told(records[-1].offset + 1 - first if records else end - first, end - first)
        suspects = []
        async for names in self._names.names(self._at(partition)):
            ids = sorted({key.bucket for key in names.rows})
            keys = [RowKey(each, of) for each in ids for of in (ROW, TOPIC)]
            values = (await self._scratch.load(self._at(partition), keys)).rows
            pairs = zip(ids, values[::2], values[1::2], strict=True)
            suspects += [each for each, wanted, found in pairs if (wanted or _GONE) != (found or _GONE)]
        return await self._confirmed(partition, list(dict.fromkeys(suspects)))

    async def _confirmed(self, partition: int, suspects: Sequence[str]) -> list[StateDifference]:
        """Return those that still differ when both sides are looked at again."""
        differences: list[StateDifference] = []
        for look in range(LOOKS):
            if not suspects:
                return []
            if look and self._settle_s:
                await asyncio.sleep(self._settle_s)
            latest = await self._latest(partition, set(suspects))
            differences = []
            for each in suspects:
                row = await self._queries.find_conversation(each)
                wanted = None if row is None else state_record(row).value
                if wanted != latest.get(each):
                    differences.append(StateDifference(each, latest.get(each), wanted))
            suspects = [each.conversation_id for each in differences]
        return differences

    async def _latest(self, partition: int, ids: set[str]) -> dict[str, bytes | None]:
        first, end = await self._log.bounds(STATE, partition)
        latest: dict[str, bytes | None] = {}
        async for records in read_range(self._log, STATE, partition, first, end):
            for record in records:
                name = (record.key or b"").decode()
                if name in ids:
                    latest[name] = record.value
        return latest

    async def _keep(self, partition: int, into: Writes) -> None:
        at = self._written.get(partition, -1)
        self._written[partition] = await self._scratch.apply(self._at(partition), after=at, applied=at + 1, writes=into)

    def _home(self, conversation_id: str) -> int:
        return conversation_hash(conversation_id) % self._views.partitions

    def _at(self, partition: int) -> int:
        """Return where in the scratch: behind the partitions that hold rows."""
        return self._views.partitions + partition


async def write_states(
    log: Log, tables: Tables, views: Views, conversation_ids: Iterable[str], *, tombstones: bool
) -> int:
    """Write conversations to the state topic as they stand, until what was written is what stands; return how many.

    One that has no row is on its way, and who takes it writes it; where it is known to be nowhere, `tombstones` takes
    its record away.
    """
    queries = Queries(log, tables)
    ids = sorted(conversation_ids)
    count = len(ids)
    while ids:
        written: dict[str, Conversation | None] = {each: await queries.find_conversation(each) for each in ids}
        batches: Batches = defaultdict(list)
        for each, row in written.items():
            if row is not None or tombstones:
                record = Outgoing(each.encode(), None) if row is None else state_record(row)
                batches[conversation_hash(each) % views.partitions].append(record)
        await append_batches(log, (STATE, batches))
        ids = [each for each in ids if await queries.find_conversation(each) != written[each]]
    return count


def _digest(value: bytes | None) -> bytes:
    return _GONE if value is None else blake2b(value, digest_size=16).digest()
