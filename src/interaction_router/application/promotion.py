"""Whether a router that was made by a replay can take over, and what is to be done for it."""

from dataclasses import dataclass
from typing import Literal

from interaction_router.application.outcomes import OUTCOMES, is_whole, read_range
from interaction_router.application.views import LOG
from interaction_router.ports import Log
from interaction_router.wire.codec import decode_outcome

_TAIL = 4_000
_NEAR = 1_000
"""So many records the other router may be behind: both are at work while subscribers move."""

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
