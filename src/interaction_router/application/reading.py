"""Reading several partitions of a stream as one."""

import heapq
from collections.abc import AsyncIterator, Mapping

from interaction_router.application.outcomes import read_range
from interaction_router.ports import Log, Received


async def by_stamp(log: Log, stream: str, ranges: Mapping[int, tuple[int, int]]) -> AsyncIterator[tuple[int, Received]]:
    """Yield the records of the ranges of offsets by partition: the next is always that with the lowest stamp.

    Records of one partition stay in their order, whatever their stamps are.
    """
    sources = {partition: _records(log, stream, partition, *bounds) for partition, bounds in ranges.items()}
    heads: list[tuple[int, int, Received]] = []
    for partition, source in sources.items():
        first = await anext(source, None)
        if first is not None:
            heads.append((first.timestamp, partition, first))
    heapq.heapify(heads)
    while heads:
        _, partition, record = heads[0]
        yield partition, record
        following = await anext(sources[partition], None)
        if following is None:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (following.timestamp, partition, following))


async def _records(log: Log, stream: str, partition: int, start: int, end: int) -> AsyncIterator[Received]:
    async for records in read_range(log, stream, partition, start, end):
        for record in records:
            yield record
