"""The assignment stage: which partitions are held, their takeovers, ticks and the mending of the state topic."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress

from interaction_router.application.appending import append_batches
from interaction_router.application.assignment import Ownership
from interaction_router.application.outcomes import OUTCOMES, known_done
from interaction_router.application.takeover import Takeover
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.application.views import DUE, LOG, STATE, TENANTS, Views
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.ids import Entity, home
from interaction_router.domain.messages import LogRecord, Message, PolicySet, Retire, Tick
from interaction_router.domain.rows import POLICY, Conversation, Moved, Policy, RowKey
from interaction_router.ports import Clock, Log, Observer, Received, Tables
from interaction_router.wire.codec import decode_row, encode_log_record

_LOGGER = logging.getLogger("interaction_router.assignment")
_TICK_CONVERSATIONS = 500
_MOVES = 20
"""So many homes a conversation has at most on the way from one that wrote it to where it is."""
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
        self._doubts: dict[int, set[RowKey]] = {}
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
                self._doubt(partition, takeover.wrote)
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
                doubted=takeover.wrote,
            )
            self._held[partition] = held
            self._doubt(partition, takeover.overtaken)
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
        await self._append("", partition, PolicySet(self._policy))
        for tenant, _ in await self._tables.scored(partition, TENANTS, low=0, high=0, limit=_TENANTS):
            shelf = f"open:{tenant}"
            members = await self._tables.scored(partition, shelf, low=0, high=_EVER_MS, limit=_OPEN_CONVERSATIONS)
            conversations = [conversation for conversation, _ in members]
            for at in range(0, len(conversations), _TICK_CONVERSATIONS):
                await self._append(tenant, partition, Tick(tuple(conversations[at : at + _TICK_CONVERSATIONS])))

    async def _append(self, tenant: str, partition: int, message: Message) -> None:
        record = LogRecord(Entity(tenant, "partition", str(partition)), message, None, None)
        await self._log.append(LOG, partition, [encode_log_record(record)])

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
                self._doubt(partition, held.doubted)
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
            self._doubt(partition, held.doubted)

    def _doubt(self, partition: int, written: AbstractSet[RowKey]) -> None:
        """Remember what a dead takeover has written to the state topic: somebody else may have written before it."""
        if written:
            self._doubts.setdefault(partition, set()).update(written)

    @property
    def held(self) -> Sequence[int]:
        """The partitions that are held now."""
        return sorted(self._held)

    async def tick(self) -> None:
        """Append a tick where conversations have become idle, and what has been closed for long; every second or so."""
        now_ms = self._clock.now_ms()
        for partition in self.held:
            await self._retire(partition, now_ms)
            due = await self._tables.scored(partition, DUE, low=0, high=now_ms, limit=_TICK_CONVERSATIONS)
            if due and now_ms - self._ticked.get(partition, 0) >= _TICK_AGAIN_MS:
                self._ticked[partition] = now_ms
                by_tenant: dict[str, list[str]] = defaultdict(list)
                for member, _ in due:
                    tenant, _, conversation = member.partition("/")
                    by_tenant[tenant].append(conversation)
                for tenant, conversations in by_tenant.items():
                    await self._append(tenant, partition, Tick(tuple(conversations)))
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
            over = await self._tables.scored(
                partition, f"closed:{tenant}", low=0, high=until, limit=_TICK_CONVERSATIONS
            )
            if over:
                await self._append(tenant, partition, Retire(tuple(conversation for conversation, _ in over)))
            if len(over) == _TICK_CONVERSATIONS:
                self._retired[partition] = 0

    async def mend_state(self) -> None:
        """Write conversations in doubt to the state topic again, until what was written is what stands.

        Of a partition that is held, they are no longer in doubt once the tables show that nobody came between.
        """
        for held in list(self._held.values()):
            with suppress(RetryableError):
                await held.confirm()
        for partition in list(self._doubts):
            keys = self._doubts.pop(partition)
            try:
                while changed := await self._write_again(partition, keys):
                    keys = changed
            except BaseException as error:
                self._doubt(partition, keys)
                if not isinstance(error, RetryableError):
                    raise

    async def _write_again(self, partition: int, keys: AbstractSet[RowKey]) -> set[RowKey]:
        """Return those of the keys whose rows have changed while they were written."""
        values = await self._as_they_stand(partition, keys)
        rows = [row for row in map(decode_row, values.values()) if isinstance(row, Conversation)]
        await append_batches(self._log, (STATE, self._views.state(rows, self._clock.now_ms())))
        after = await self._as_they_stand(partition, keys)
        return {key for key in keys if values.get(key) != after.get(key)}

    async def _as_they_stand(self, partition: int, keys: AbstractSet[RowKey]) -> dict[RowKey, bytes]:
        """Return the conversations' rows wherever they are by now: a stub says where one has gone.

        One that is on its way has no row; who takes it writes it.

        Raises: RetryableError where tables were lost or rolled back, and nobody has brought them on since.
        """
        places = dict.fromkeys(sorted(keys), partition)
        found: dict[RowKey, bytes] = {}
        for _ in range(_MOVES):
            ahead: dict[RowKey, int] = {}
            for at in sorted(set(places.values())):
                for key, value in (await self._rows_of(at, [key for key in places if places[key] == at])).items():
                    row = decode_row(value)
                    if isinstance(row, Moved):
                        ahead[key] = home(row.to, self._views.partitions)
                    else:
                        found[key] = value
            if not ahead:
                break
            places = ahead
        return found

    async def _rows_of(self, partition: int, keys: Sequence[RowKey]) -> dict[RowKey, bytes]:
        """Return the rows that are there, none of them older than what was ever left written to the state topic."""
        done = await known_done(self._log, partition, await self._log.bounds(OUTCOMES, partition))
        loaded = await self._tables.load(partition, keys)
        if loaded.applied < done:
            raise RetryableError(
                "tables_behind",
                f"The tables of partition {partition} are at {loaded.applied}, and were at {done} before.",
                "Waiting until its owner has brought them on.",
            )
        return {key: value for key, value in zip(keys, loaded.rows, strict=True) if value is not None}
