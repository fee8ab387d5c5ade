"""Reading several partitions of a stream as one."""

import heapq
from collections.abc import AsyncIterator, Mapping

from interaction_router.application.outcomes import read_range
from interaction_router.ports import Log, Received

Lane = tuple[str, int]
"""A stream and a partition of it."""


async def by_stamp(log: Log, stream: str, ranges: Mapping[int, tuple[int, int]]) -> AsyncIterator[tuple[int, Received]]:
    """Yield the records of the ranges of offsets by partition: the next is always that with the lowest stamp.

    Records of one partition stay in their order, whatever their stamps are.
    """
    lanes = {(stream, partition): bounds for partition, bounds in ranges.items()}
    async for (_, partition), record in all_by_stamp(log, lanes):
        yield partition, record


async def all_by_stamp(log: Log, ranges: Mapping[Lane, tuple[int, int]]) -> AsyncIterator[tuple[Lane, Received]]:
    """Yield the records of several streams likewise."""
    sources = {lane: _records(log, *lane, *bounds) for lane, bounds in ranges.items()}
    heads: list[tuple[int, Lane, Received]] = []
    for lane, source in sources.items():
        first = await anext(source, None)
        if first is not None:
            heads.append((first.timestamp, lane, first))
    heapq.heapify(heads)
    while heads:
        _, lane, record = heads[0]
        yield lane, record
        following = await anext(sources[lane], None)
        if following is None:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (following.timestamp, lane, following))


async def _records(log: Log, stream: str, partition: int, start: int, end: int) -> AsyncIterator[Received]:
    async for records in read_range(log, stream, partition, start, end):
        for record in records:
            yield record
