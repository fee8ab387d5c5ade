"""aiokafka's consumer where partitions are read each at its own pace.

aiokafka sends a broker one fetch at a time, for all partitions that have nothing fetched ahead. Its private names are
overridden here and in the shell; a test checks that they still are what they were.
"""

from collections.abc import Sequence
from typing import Any

import aiokafka
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.structs import TopicPartition

REST_WAIT_MS = 100
"""How long a broker may hold a fetch where nothing came last, and nothing waits to be taken; a record ends it."""
PACE_MS = 25
"""How long otherwise: what comes meanwhile comes together, at a fraction of the requests and batches."""
PACE_BYTES = 64 * 1024
"""So much ends it sooner: under load no fetch waits."""
TAKE_S = 0.03
"""How long the next fetch waits for what has come to be taken, so that it can be for all: shorter would be many more."""


def paced_consumer(**options: Any) -> "PacedConsumer":
    """Return a consumer that is not started; Any: the options are aiokafka's, of mixed types."""
    return PacedConsumer(**options)


class PacedFetcher(Fetcher):
    """Lets no partition wait for one whose records are not taken yet, no rest be busy, and no record come alone."""

    _flows = False
    """Whether the last answer had records."""

    def _get_actions_per_node(self, assignment: Any) -> Any:  # Any: aiokafka has no types
        self._prefetch_backoff = TAKE_S
        paced = self._flows or bool(self._records)
        self._fetch_min_bytes, self._fetch_max_wait_ms = (PACE_BYTES, PACE_MS) if paced else (1, REST_WAIT_MS)
        return super()._get_actions_per_node(assignment)

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> bool:
        self._flows = await super()._proc_fetch_request(assignment, node_id, request)
        return self._flows

    async def _update_fetch_positions(self, assignment: Any, node_id: int, tps: Sequence[TopicPartition]) -> Any:
        """Find first offsets, and ask who leads what where that fails.

        aiokafka would ask the broker that led them again and again, for as long as its metadata lasts, and fetch nothing
        else from it meanwhile.
        """
        found = await super()._update_fetch_positions(assignment, node_id, tps)
        if assignment.active and any(not assignment.state_value(place).has_valid_position for place in tps):
            self._client.force_metadata_update()
        return found


class PacedConsumer(aiokafka.AIOKafkaConsumer):
    """aiokafka's consumer with that fetcher."""

    async def start(self) -> None:
        """Connect."""
        await super().start()
        self._fetcher.__class__ = PacedFetcher  # it is made within, and has begun nothing yet

    async def leave(self, *, named: bool) -> None:
        """Be no member of the group any more, and let it know; `named`: also where the member has a name.

        aiokafka says nothing of a member that has a name, so that its partitions wait for a restart.
        """
        coordinator = self._coordinator
        if coordinator is not None:
            if named:
                coordinator._group_instance_id = None  # noqa: SLF001 - see above
            await coordinator.close()
