"""What the owner of a partition appends to it by itself: the settings that decide, and what becomes due as time passes."""

import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Final

from interaction_router.application.views import DUE, LOG, TENANTS
from interaction_router.domain.ids import Entity
from interaction_router.domain.messages import LogRecord, Message, PolicyIndexed, PolicySet, Retire, Tick
from interaction_router.domain.rows import POLICY, Policy
from interaction_router.ports import Clock, Log, Observer, Tables
from interaction_router.wire.codec import decode_row, encode_log_record

_IN_A_RECORD: Final = 500
_AT_ONCE: Final = 20 * _IN_A_RECORD
"""So many conversations of a partition are looked for at once: they close as fast as interactions can open them."""

_TICK_AGAIN_MS: Final = 2_500
_RETIRE_AGAIN_MS: Final = 10_000
_TENANTS: Final = 100_000
_EVER_MS: Final = 1e15


class Timekeeping:
    """The time of the partitions that are held."""

    def __init__(self, log: Log, tables: Tables, clock: Clock, *, policy: Policy, observer: Observer) -> None:
        """`policy` is what the settings say."""
        self._log = log
        self._tables = tables
        self._clock = clock
        self._policy = policy
        self._observer = observer
        self._ticked: dict[int, int] = {}
        self._retired: dict[int, int] = {}
        self._indexed: dict[int, str] = {}

    async def begin(self, partition: int) -> None:
        """Write the settings that decide to the log where they differ: at a takeover, and only there."""
        now = await self._policy_in(partition)
        if replace(now, pending="") != self._policy:
            await self._append(partition, [("", PolicySet(replace(self._policy, pending=secrets.token_hex(8))))])

    async def tick(self, partition: int) -> None:
        """Append what is due: ticks for conversations that have become idle, the names of what was closed long ago.

        Raises: RetryableError; the next call does what this one has left.
        """
        await self._index(partition)
        now_ms = self._clock.now_ms()
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

    async def _index(self, partition: int) -> None:
        """Append a tick for every open conversation once new settings are in force: that indexes it by them.

        What was opened before them is in the tables by then. They are pending until all ticks are in the log, so that
        whoever takes over in between begins again.
        """
        pending = (await self._policy_in(partition)).pending
        if pending in ("", self._indexed.get(partition)):
            return
        for tenant, _ in await self._tables.scored(partition, TENANTS, low=0, high=0, limit=_TENANTS):
            async for members in self._open(partition, tenant):
                await self._append(partition, [(tenant, Tick(each)) for each in _in_records(members)])
        await self._append(partition, [("", PolicyIndexed(pending))])
        self._indexed[partition] = pending

    async def _open(self, partition: int, tenant: str) -> AsyncIterator[Sequence[tuple[str, float]]]:
        """Yield a tenant's open conversations, many at a time; those of one moment twice, perhaps.

        One that hears of something meanwhile moves on to where it is found later.
        """
        low, limit = 0.0, _AT_ONCE
        while members := await self._tables.scored(partition, f"open:{tenant}", low=low, high=_EVER_MS, limit=limit):
            yield members
            last = members[-1][1]
            if len(members) < limit:
                return
            low, limit = (last, _AT_ONCE) if last > low else (low, 2 * limit)

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

    async def _policy_in(self, partition: int) -> Policy:
        (value,) = (await self._tables.load(partition, [POLICY])).rows
        policy = None if value is None else decode_row(value)
        return policy if isinstance(policy, Policy) else Policy()

    async def _append(self, partition: int, messages: Sequence[tuple[str, Message]]) -> None:
        """Append what is for the partition itself, each for one tenant."""
        records = [
            encode_log_record(LogRecord(Entity(tenant, "partition", str(partition)), message, None, None))
            for tenant, message in messages
        ]
        await self._log.append(LOG, partition, records)


def _in_records(members: Sequence[tuple[str, float]]) -> Iterator[tuple[str, ...]]:
    """Yield members of a sorted set, so many at a time as one record names."""
    for at in range(0, len(members), _IN_A_RECORD):
        yield tuple(member for member, _ in members[at : at + _IN_A_RECORD])
