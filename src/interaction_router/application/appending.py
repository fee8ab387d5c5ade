"""Appending to several partitions at once."""

import asyncio
from collections.abc import Mapping, Sequence

from interaction_router.application.views import Batches
from interaction_router.ports import Log, Outgoing


async def append_batches(log: Log, *batches: tuple[str, Batches]) -> None:
    """Append each partition's records, all partitions at once, and wait for the last of them.

    Raises: the first error, once nothing is under way any more.
    """
    appends = [
        log.append(stream, partition, records)
        for stream, by_partition in batches
        for partition, records in by_partition.items()
    ]
    if len(appends) == 1:
        await appends[0]
        return
    for result in await asyncio.gather(*appends, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def append_each(
    log: Log, batches: Mapping[tuple[str, int], Sequence[Outgoing]]
) -> dict[tuple[str, int], list[int]]:
    """Append likewise; return the offsets of each partition's records.

    Raises: the first error, once nothing is under way any more.
    """
    appends = (log.append(stream, partition, records) for (stream, partition), records in batches.items())
    offsets: dict[tuple[str, int], list[int]] = {}
    for place, result in zip(batches, await asyncio.gather(*appends, return_exceptions=True), strict=True):
        if isinstance(result, BaseException):
            raise result
        offsets[place] = result
    return offsets
