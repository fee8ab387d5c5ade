"""Whether a router that was made by a replay can take over, and what is to be done for it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from interaction_router.application.outcomes import OUTCOMES, is_whole, read_range
from interaction_router.application.views import LOG, STATE, UPDATES
from interaction_router.ports import Log
from interaction_router.wire.codec import decode_outcome

_TAIL = 4_000
_NEAR = 1_000
"""So many records the other router may be behind: both are at work while subscribers move."""

_NAMED = 3

Verdict = Literal["ok", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that has to be so before subscribers move."""

    what: str
    verdict: Verdict
    detail: str


async def undecided(log: Log) -> int:
    """Return how many records of the internal log have no outcome yet."""
    count = 0
    for partition in range(await log.partitions(LOG)):
        end = (await log.bounds(LOG, partition)).end
        count += end - 1 - await _last_decided(log, partition)
    return max(count, 0)


async def _last_decided(log: Log, partition: int) -> int:
    first, end = await log.bounds(OUTCOMES, partition)
    last = -1
    async for records in read_range(log, OUTCOMES, partition, max(first, end - _TAIL), end):
        for record in filter(is_whole, records):
            outcome = decode_outcome(record.value or b"", record.headers)
            if outcome.expected == record.offset:
                last = max(last, outcome.offset)
    return last


def of_workers(members: dict[str, int]) -> Finding:
    """Judge the groups of the other router."""
    idle = sorted(group for group, count in members.items() if not count)
    if idle:
        return Finding("workers", "fail", f"nobody is in {', '.join(idle)}")
    return Finding("workers", "ok", ", ".join(f"{group} {count}" for group, count in sorted(members.items())))


def of_lag(live: dict[tuple[str, int], int], other: dict[tuple[str, int], int]) -> Finding:
    """Judge how far the other router is behind with the inputs that both read."""
    behind = sum(max(0, offset - other.get(place, 0)) for place, offset in live.items())
    return Finding("inputs", "ok" if behind <= _NEAR else "fail", f"{behind} records behind this router")


def of_undecided(count: int) -> Finding:
    """Judge what the other router has not decided yet."""
    return Finding("decisions", "ok" if count <= _NEAR else "fail", f"{count} records undecided")


def of_conversations(count: int, behind: Sequence[str]) -> Finding:
    """Judge whether every conversation goes on in the other router where it is in this one."""
    if behind:
        named = ", ".join([*behind[:_NAMED], *(["…"] if len(behind) > _NAMED else [])])
        return Finding("conversations", "fail", f"{len(behind)} of {count} are behind or otherwise: {named}")
    return Finding("conversations", "ok", f"{count}, none behind")


def of_rows(namespace: str, differences: int) -> Finding:
    """Judge what comparing a router's rows with its outcomes has found."""
    return Finding(f"rows of {namespace}", "fail" if differences else "ok", f"{differences} differences")


async def conversations_behind(live: Log, other: Log) -> tuple[int, list[str]]:
    """Return how many conversations there are, and which of them the other router does not have as far.

    A subscriber keeps the highest `seq` that it knows: it would drop what the other tells until that has come as far.
    This one is read first, so that the other may only be further.
    """
    stands = {key: each async for key, each in _latest(live)}
    others = {key: each async for key, each in _latest(other)}
    behind = [key for key, each in stands.items() if not _goes_on(each, others.get(key))]
    return len(stands), sorted(behind)


def _goes_on(live: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:  # Any: the public JSON
    """Tell whether a conversation of one is a later state, or the same, of the other's; None is an erased one."""
    if live is None or other is None:
        return other is None and live is None
    if other["seq"] != live["seq"]:
        return bool(other["seq"] > live["seq"])
    return all(other[name] == live[name] for name in ("status", "contact_id", "endpoint", "interaction_count"))


async def _latest(log: Log) -> AsyncIterator[tuple[str, Mapping[str, Any] | None]]:
    """Yield what stands of each conversation, in the order written: the last of each is what is so."""
    for partition in range(await log.partitions(STATE)):
        first, end = await log.bounds(STATE, partition)
        async for records in read_range(log, STATE, partition, first, end):
            for record in records:
                key = (record.key or b"").decode()
                yield key, None if record.value is None else orjson.loads(record.value)


@dataclass(frozen=True, slots=True)
class GoingOn:
    """Where a subscriber goes on with the other router's updates, by partition.

    `unread` are those from there on that it does not know, `again` those that it does, and drops by their `seq`.
    """

    offsets: Mapping[int, int]
    unread: int
    again: int


class _Known:
    """Which updates a subscriber knows that has read these: by `seq`, and of contacts by their ids."""

    def __init__(self) -> None:
        self.seqs: dict[str, int] = {}
        self.unread: dict[str, int] = {}
        self.unread_ids: set[str] = set()
        self.ids: set[str] = set()
        self.latest_at = ""

    def take(self, update: Mapping[str, Any], *, read: bool) -> None:  # Any: the public JSON
        conversation = update.get("conversation_id")
        if read:
            self.latest_at = max(self.latest_at, update["at"])
        if conversation is None:
            (self.ids if read else self.unread_ids).add(update["id"])
        elif read:
            self.seqs[conversation] = max(update["seq"], self.seqs.get(conversation, 0))
        else:
            self.unread[conversation] = min(update["seq"], self.unread.get(conversation, update["seq"]))

    def knows(self, update: Mapping[str, Any]) -> bool:  # Any: the public JSON
        conversation = update.get("conversation_id")
        if conversation is None:
            if update["id"] in self.ids:
                return True
            return update["id"] not in self.unread_ids and bool(update["at"] <= self.latest_at)
        known = self.seqs.get(conversation, 0)
        return bool(update["seq"] <= min(known, self.unread.get(conversation, known + 1) - 1))


async def where_to_go_on(live: Log, other: Log, reached: Mapping[int, int]) -> GoingOn:
    """Return where a subscriber that has read these partitions so far goes on with the other router, missing nothing.

    What retention has removed it has read, or never will: how far a conversation is says the state topic.
    """
    known = _Known()
    async for conversation, row in _latest(live):
        if row is not None:
            known.seqs[conversation] = row["seq"]
    async for partition, offset, update in _updates(live):
        known.take(update, read=offset < reached.get(partition, 0))
    offsets = {each: (await other.bounds(UPDATES, each)).end for each in range(await other.partitions(UPDATES))}
    begun: set[int] = set()
    unread = again = 0
    async for partition, offset, update in _updates(other):
        new = not known.knows(update)
        if new and partition not in begun:
            begun.add(partition)
            offsets[partition] = offset
        unread += new
        again += partition in begun and not new
    return GoingOn(offsets, unread, again)


async def _updates(log: Log) -> AsyncIterator[tuple[int, int, Mapping[str, Any]]]:  # Any: the public JSON
    for partition in range(await log.partitions(UPDATES)):
        first, end = await log.bounds(UPDATES, partition)
        async for records in read_range(log, UPDATES, partition, first, end):
            for record in records:
                yield partition, record.offset, orjson.loads(record.value or b"")
