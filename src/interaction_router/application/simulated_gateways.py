"""Simulated records onto a log, as outside systems append them."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from interaction_router.application.appending import append_batches
from interaction_router.application.simulation import Simulated
from interaction_router.application.views import Batches
from interaction_router.domain.ids import Place, partition_of_key
from interaction_router.ports import Log, Outgoing

_BATCH: Final = 2_000


class SimulatedGateways:
    """Appends by the record's key to a partition, so that records of one key stay in their order."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._partitions: dict[str, int] = {}

    async def send(self, stream: str, key: bytes, value: bytes) -> Place:
        """Append one record and return where it stands."""
        partition = await self._partition(stream, key)
        (offset,) = await self._log.append(stream, partition, [Outgoing(key, value)])
        return Place(stream, partition, offset)

    async def send_all(self, records: Iterable[Simulated]) -> None:
        """Append the records, those of different partitions at once."""
        batches: defaultdict[str, Batches] = defaultdict(dict)
        for record in records:
            partition = await self._partition(record.stream, record.key)
            batches[record.stream].setdefault(partition, []).append(Outgoing(record.key, record.value))
        await append_batches(self._log, *batches.items())

    async def send_when_due(self, records: Iterator[Simulated], sent: Callable[[list[Simulated]], None]) -> None:
        """Append each record no sooner than it is due from now, and as soon as the log takes it; tell each batch."""
        begun = time.monotonic()
        following = next(records, None)
        while following is not None:
            await asyncio.sleep(max(0.0, begun + following.due_ms / 1000 - time.monotonic()))
            now_ms = (time.monotonic() - begun) * 1000
            batch = [following]
            while (following := next(records, None)) is not None:
                if following.due_ms > now_ms or len(batch) == _BATCH:
                    break
                batch.append(following)
            await self.send_all(batch)
            sent(batch)

    async def _partition(self, stream: str, key: bytes) -> int:
        if stream not in self._partitions:
            self._partitions[stream] = await self._log.partitions(stream)
        return partition_of_key(key, self._partitions[stream])
