"""`ports.Log` on Kafka."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from interaction_router.adapters.kafka.client import ClientOptions
from interaction_router.adapters.kafka.failures import APPLY
from interaction_router.adapters.kafka.producer import DELIVERY_S, BatchProducer
from interaction_router.adapters.kafka.reader import PartitionReader
from interaction_router.domain.errors import FatalError, RouterError
from interaction_router.domain.names import topic_name
from interaction_router.ports import Bounds, Outgoing, Received


class KafkaLog:
    """Streams as Kafka topics of one namespace, or by their whole names where it is empty; one object an event loop.

    Connections are made by the first call that needs them, so that a broker that is away is a `RetryableError` there.
    What holds after a failed append: see `BatchProducer`.
    """

    def __init__(
        self, options: ClientOptions, namespace: str, *, inputs: str | None = None, delivery_s: float = DELIVERY_S
    ) -> None:
        """`inputs` is the namespace of the raw records, contacts, agents and commands, where it is another."""
        self._namespace = namespace
        self._inputs = inputs
        self._producer = BatchProducer(options, delivery_s=delivery_s)
        self._reader = PartitionReader(options)
        self._known: dict[str, int] = {}
        self._appending: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def partitions(self, stream: str) -> int:
        """Return how many partitions the topic has; asked anew each time."""
        _, partitions = await self._reader.describe(self._topic(stream))
        return partitions

    async def lineage(self, stream: str) -> str:
        """Return the topic's id, which Kafka makes anew with each topic; asked anew each time."""
        topic_id, _ = await self._reader.describe(self._topic(stream))
        return topic_id

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        """Append in order, one request in flight a partition, also where several callers append at once."""
        if not records:
            return []
        async with self._appending[stream, partition]:
            await self._ensure(stream, partition)
            try:
                return await self._producer.send(self._topic(stream), partition, records)
            except RouterError:
                # Whatever has happened, the topic may be gone or made anew: the next append looks again.
                self._known.pop(stream, None)
                raise

    async def read(self, stream: str, partition: int, start: int, *, limit: int = 1000) -> Sequence[Received]:
        """Return records from `start` on, uncommitted ones of transactions too; none only at the end."""
        return await self._reader.read(self._topic(stream), partition, start, limit)

    async def bounds(self, stream: str, partition: int) -> Bounds:
        """Return where the partition begins and ends; the end is what all replicas in sync have."""
        return await self._reader.bounds(self._topic(stream), partition)

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        """Return the first offset whose record is stamped `timestamp_ms` or later; the end where there is none."""
        return await self._reader.offset_at(self._topic(stream), partition, timestamp_ms)

    async def stop(self) -> None:
        """Close all connections; appends under way fail."""
        await self._producer.stop()
        await self._reader.stop()

    async def _ensure(self, stream: str, partition: int) -> None:
        """Raise at once where the partition is missing: the producer would look for it until its time is up."""
        if partition >= self._known.get(stream, 0):
            self._known[stream] = await self.partitions(stream)
        if not 0 <= partition < self._known[stream]:
            cause = f"{stream} has {self._known[stream]} partitions, and {partition} is none of them."
            raise FatalError("partition_missing", cause, APPLY)

    def _topic(self, stream: str) -> str:
        """Return the stream's name in Kafka."""
        return topic_name(self._namespace, stream, self._inputs) if self._namespace else stream
