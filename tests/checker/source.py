"""All that stands in a router's topics, read once, and how a difference is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from interaction_router.application.intake import COMMANDS, CONTACTS
from interaction_router.application.outcomes import OUTCOMES, read_range
from interaction_router.application.views import DEAD_LETTERS, LOG, STATE, UPDATES
from interaction_router.domain.ids import Place
from interaction_router.ports import Log, Received


class Difference(NamedTuple):
    """What is not as it has to be: its name, where it was seen, and what was seen there."""

    name: str
    where: str
    what: str

    def __str__(self) -> str:
        """Tell it in one line."""
        return f"{self.name}: {self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Source:
    """The topics of a router at rest: by stream, by partition, in order. `ends` are the partitions' next offsets."""

    namespace: str
    records: Mapping[str, Sequence[Sequence[Received]]]
    ends: Mapping[str, Sequence[int]]

    def raw(self) -> dict[Place, Received]:
        """Return what came from outside, by its place."""
        return {
            Place(stream, partition, record.offset): record
            for stream, partitions in self.records.items()
            if stream.startswith("interactions.") or stream in {CONTACTS, COMMANDS}
            for partition, records in enumerate(partitions)
            for record in records
        }

    def stream_of(self, topic: str) -> str:
        """Return a topic's name without the namespace."""
        return topic.removeprefix(f"{self.namespace}.")


async def read_source(log: Log, *, namespace: str, channels: Sequence[str]) -> Source:
    """Read every topic from its beginning to where it ends now."""
    streams = [f"interactions.{channel}.v1" for channel in channels]
    streams += [CONTACTS, COMMANDS, LOG, OUTCOMES, UPDATES, STATE, DEAD_LETTERS]
    records: dict[str, list[list[Received]]] = {}
    ends: dict[str, list[int]] = {}
    for stream in streams:
        records[stream], ends[stream] = [], []
        for partition in range(await log.partitions(stream)):
            bounds = await log.bounds(stream, partition)
            ends[stream].append(bounds.end)
            read: list[Received] = []
            async for batch in read_range(log, stream, partition, bounds.first, bounds.end):
                read += batch
            records[stream].append(read)
    return Source(namespace, records, ends)
