"""The streams of the embedded log, compared with their plans and made."""

from collections.abc import Mapping, Sequence

from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.kafka.topics import Applied, Difference, TopicPlan
from interaction_router.domain.errors import FatalError

COMPACT = "compact"


class EmbeddedTopics:
    """Does what `TopicAdmin` does on Kafka; of the configurations only compaction means anything here."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log

    async def diff(self, plans: Sequence[TopicPlan]) -> list[Difference]:
        """Return how the streams differ from their plans."""
        differences = []
        for topic in plans:
            wanted = str(topic.partitions)
            try:
                found = await self._log.partitions(topic.stream)
            except FatalError:
                differences.append(Difference("missing", topic.stream, "partitions", wanted, None, True))
                continue
            if found < topic.partitions or (topic.fixed and found != topic.partitions):
                mendable = not topic.fixed
                differences.append(Difference("partitions", topic.stream, "partitions", wanted, str(found), mendable))
        return differences

    async def apply(self, plans: Sequence[TopicPlan]) -> Applied:
        """Make streams that are missing and add partitions to inputs."""
        differences = await self.diff(plans)
        done = [difference for difference in differences if difference.mendable]
        by_stream = {topic.stream: topic for topic in plans}
        for difference in done:
            topic = by_stream[difference.stream]
            compacted = topic.configs.get("cleanup.policy") == COMPACT
            await self._log.create(topic.stream, topic.partitions, compacted=compacted)
        return Applied(done, [difference for difference in differences if not difference.mendable])

    async def trim(self, stream: str, ends: Mapping[int, int]) -> None:
        """Remove the records of each partition that are before an offset, for good."""
        for partition, end in ends.items():
            await self._log.trim(stream, partition, end)
