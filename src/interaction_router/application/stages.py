"""The assignment stage: which partitions are held, their takeovers, ticks and the mending of the state topic."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from interaction_router.application.assignment import Ownership
from interaction_router.application.mending import Mending
from interaction_router.application.takeover import Takeover
from interaction_router.application.timekeeping import Timekeeping
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.application.views import LOG, Views
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.rows import Policy
from interaction_router.ports import Clock, Log, Observer, Received, Tables

_LOGGER = logging.getLogger("interaction_router.assignment")


class AssignmentStage:
    """Decides the partitions of the internal log that a shell hands over."""

    @property
    def streams(self) -> Sequence[str]:
        """The internal log."""
        return (LOG,)

    def __init__(  # noqa: PLR0913 - each a thing of its own; a bundle would hide which are used
        self,
        log: Log,
        tables: Tables,
        clock: Clock,
        views: Views,
        *,
        policy: Policy,
        cache_rows: int,
        observer: Observer = UNOBSERVED,
    ) -> None:
        """`policy` is what the settings say, and is written to the log where it differs; `cache_rows` a partition's."""
        self._observer = observer
        self._log = log
        self._tables = tables
        self._views = views
        self._cache_rows = cache_rows
        self._held: dict[int, Ownership] = {}
        self._mending = Mending(log, tables, clock, views)
        self._time = Timekeeping(log, tables, clock, policy=policy, observer=observer)
        self._taking: dict[int, Takeover] = {}
        self._ticking: set[int] = set()

    async def committed(self, stream: str, partition: int) -> int | None:
        """Take the partition over; the outcomes say where to go on, whatever a consumer group has committed."""
        del stream
        return (await self._own(partition)).next

    async def _own(self, partition: int) -> Ownership:
        held = self._held.get(partition)
        if held is None:
            takeover = Takeover(self._log, self._tables, self._views, partition, self._observer)
            self._taking[partition] = takeover
            try:
                with self._observer.taking_over():
                    at = await takeover.run()
                    await self._time.begin(partition)
                    await self._observer.reached("taken_over", partition)
            except BaseException:
                self._mending.doubt(partition, takeover.wrote)
                raise
            finally:
                if self._taking.get(partition) is takeover:
                    del self._taking[partition]
            held = Ownership(
                self._log,
                self._tables,
                self._views,
                at,
                observer=self._observer,
                cache_rows=self._cache_rows,
                doubted=takeover.wrote - takeover.overtaken,
            )
            self._held[partition] = held
            self._mending.doubt(partition, takeover.overtaken)
            _LOGGER.info("takeover", extra={"partition": partition, "next": held.next})
        return held

    async def handle(self, stream: str, partition: int, records: Sequence[Received]) -> int:
        """Decide the records and bring the effects about; return where to go on."""
        del stream
        held = await self._own(partition)
        behind = [record for record in records if record.offset >= held.next]
        if not behind or behind[0].offset != held.next:
            return held.next
        try:
            await held.take(behind)
        except BaseException:
            if self._held.get(partition) is held:
                del self._held[partition]
            raise
        finally:
            if self._held.get(partition) is not held:
                self._mending.doubt(partition, held.doubted)
        return held.next

    def progress(self, stream: str, partition: int) -> int:
        """Count what a takeover under way has folded."""
        del stream
        taking = self._taking.get(partition)
        return 0 if taking is None else taking.folded

    def forget(self, stream: str, partition: int) -> None:
        """End the takeover; a batch that is in flight holds the dead object, and the next one begins anew."""
        del stream
        held = self._held.pop(partition, None)
        self._observer.cached(partition, 0)
        if held is not None:
            self._mending.doubt(partition, held.doubted)

    @property
    def held(self) -> Sequence[int]:
        """The partitions that are held now."""
        return sorted(self._held)

    async def tick(self) -> None:
        """Append what time has made due, to every partition that is held; every second or so.

        A partition that does not answer holds up no other: the next call may come before this one has returned.
        """
        await asyncio.gather(*map(self._tick, self.held))

    async def _tick(self, partition: int) -> None:
        if partition in self._ticking:
            return
        self._ticking.add(partition)
        try:
            with suppress(RetryableError):
                await self._time.tick(partition)
        finally:
            self._ticking.discard(partition)

    async def mend_state(self) -> None:
        """End the doubts about the state topic: what is in doubt no longer stands so, or is written again."""
        for partition, held in list(self._held.items()):
            with suppress(RetryableError):
                if not await held.confirm() and self._held.get(partition) is held:
                    self.forget(LOG, partition)
        await self._mending.mend()
