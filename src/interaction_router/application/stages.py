"""The assignment stage: which partitions are held, their takeovers, ticks and the mending of the state topic."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress

from interaction_router.application.assignment import Ownership
from interaction_router.application.mending import Mending
from interaction_router.application.takeover import Takeover
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.application.views import DUE, LOG, TENANTS, Views
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.ids import Entity
from interaction_router.domain.messages import LogRecord, Message, PolicySet, Retire, Tick
from interaction_router.domain.rows import POLICY, Policy
from interaction_router.ports import Clock, Log, Observer, Received, Tables
from interaction_router.wire.codec import decode_row, encode_log_record

_LOGGER = logging.getLogger("interaction_router.assignment")
_TICK_CONVERSATIONS = 500
_AT_ONCE = 20 * _TICK_CONVERSATIONS
"""So many conversations of a partition are looked for at once: they close as fast as interactions can open them."""

_TICK_AGAIN_MS = 2_500
_RETIRE_AGAIN_MS = 10_000
_TENANTS = 100_000
_OPEN_CONVERSATIONS = 10_000_000
_EVER_MS = 1e15


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
        self._clock = clock
        self._views = views
        self._policy = policy
        self._cache_rows = cache_rows
        self._held: dict[int, Ownership] = {}
        self._mending = Mending(log, tables, clock, views)
        self._ticked: dict[int, int] = {}
        self._retired: dict[int, int] = {}
        self._taking: dict[int, Takeover] = {}

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
                    await self._set_policy(partition)
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

    async def _set_policy(self, partition: int) -> None:
        """Write the settings that decide to the log where they differ: at a takeover, and only there.

        A tick for every open conversation then brings the index of what is due up to date.
        """
        loaded = await self._tables.load(partition, [POLICY])
        value = loaded.rows[0]
        if (Policy() if value is None else decode_row(value)) == self._policy:
            return
        await self._append(partition, [("", PolicySet(self._policy))])
        for tenant, _ in await self._tables.scored(partition, TENANTS, low=0, high=0, limit=_TENANTS):
            shelf = f"open:{tenant}"
            members = await self._tables.scored(partition, shelf, low=0, high=_EVER_MS, limit=_OPEN_CONVERSATIONS)
            await self._append(partition, [(tenant, Tick(each)) for each in _in_records(members)])

    async def _append(self, partition: int, messages: Sequence[tuple[str, Message]]) -> None:
        """Append what is for the partition itself, each for one tenant."""
        records = [
            encode_log_record(LogRecord(Entity(tenant, "partition", str(partition)), message, None, None))
            for tenant, message in messages
        ]
        await self._log.append(LOG, partition, records)

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
        """Append a tick where conversations have become idle, and what has been closed for long; every second or so.

        A partition that does not answer holds up no other.
        """
        await asyncio.gather(*map(self._tick, self.held))

    async def _tick(self, partition: int) -> None:
        now_ms = self._clock.now_ms()
        with suppress(RetryableError):
            await self._retire(partition, now_ms)
            if now_ms - self._ticked.get(partition, 0) < _TICK_AGAIN_MS:
                return
            due = await self._tables.scored(partition, DUE, low=0, high=now_ms, limit=_AT_ONCE)
            if due:
                self._ticked[partition] = now_ms
                by_tenant: dict[str, list[tuple[str, float]]] = defaultdict(list)
                for member, score in due:
                    tenant, _, conversation = member.partition("/")
                    by_tenant[tenant].append((conversation, score))
                ticks = ((tenant, each) for tenant, of in by_tenant.items() for each in _in_records(of))
                await self._append(partition, [(tenant, Tick(each)) for tenant, each in ticks])
                self._observer.ticked(len(due))

    async def _retire(self, partition: int, now_ms: int) -> None:
        """Append the names of conversations whose time in the lists is over.

        The lists have them by last activity, which is never before they were closed.
        """
        retention_ms = self._policy.closed_retention_ms
        if retention_ms is None or now_ms - self._retired.get(partition, 0) < _RETIRE_AGAIN_MS:
            return
        self._retired[partition] = now_ms
        for tenant, _ in await self._tables.scored(partition, TENANTS, low=0, high=0, limit=_TENANTS):
            until = now_ms - retention_ms
            over = await self._tables.scored(partition, f"closed:{tenant}", low=0, high=until, limit=_AT_ONCE)
            if over:
                await self._append(partition, [(tenant, Retire(each)) for each in _in_records(over)])
            if len(over) == _AT_ONCE:
                self._retired[partition] = 0

    async def mend_state(self) -> None:
        """End the doubts about the state topic: what is in doubt no longer stands so, or is written again."""
        for partition, held in list(self._held.items()):
            with suppress(RetryableError):
                if not await held.confirm() and self._held.get(partition) is held:
                    self.forget(LOG, partition)
        await self._mending.mend()


def _in_records(members: Sequence[tuple[str, float]]) -> Iterator[tuple[str, ...]]:
    """Yield members of a sorted set, so many at a time as one record names."""
    for at in range(0, len(members), _TICK_CONVERSATIONS):
        yield tuple(member for member, _ in members[at : at + _TICK_CONVERSATIONS])
