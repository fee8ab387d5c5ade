"""What every log promises, embedded or real."""

import asyncio
from typing import Any

import pytest

from interaction_router.domain.errors import FatalError
from interaction_router.ports import Bounds, Outgoing, Received
from tests.contract.conftest import LARGEST_RECORD, NOW_MS, LogUnderTest

STREAM = "internal.log"


async def read_all(log: LogUnderTest, partition: int, start: int = 0, *, limit: int = 1000) -> list[Received]:
    records: list[Received] = []
    while found := await log.log.read(STREAM, partition, start, limit=limit):
        records.extend(found)
        start = found[-1].offset + 1
    return records


def numbered(*numbers: int, timestamp_ms: int | None = NOW_MS) -> list[Outgoing]:
    return [Outgoing(b"key", b"%d" % number, (), timestamp_ms) for number in numbers]


async def test_offsets_count_from_zero_without_gaps(log: LogUnderTest) -> None:
    await log.create(STREAM, 2)
    assert await log.log.append(STREAM, 0, numbered(0, 1, 2)) == [0, 1, 2]
    assert await log.log.append(STREAM, 0, numbered(3)) == [3]
    assert await log.log.append(STREAM, 1, numbered(9)) == [0]
    assert [(record.offset, record.value) for record in await read_all(log, 0)] == [
        (0, b"0"),
        (1, b"1"),
        (2, b"2"),
        (3, b"3"),
    ]
    assert [record.value for record in await read_all(log, 1)] == [b"9"]


async def test_a_record_comes_back_as_it_was_written(log: LogUnderTest) -> None:
    await log.create(STREAM, 1)
    headers: Any = (("a", b"\xff\x00"), ("a", b""), ("ü", b"2"), ("null", None))  # Any: null, as Kafka allows
    written = [
        Outgoing(b"\x00\xff", b"\x80 value", headers, NOW_MS - 5),
        Outgoing(None, b"", (), NOW_MS + 5),
        Outgoing(b"", None, (("only", b"header"),), NOW_MS),
    ]
    await log.log.append(STREAM, 0, written)
    records = await read_all(log, 0)
    assert [
        Outgoing(record.key, record.value, tuple((name, value) for name, value in record.headers), record.timestamp)
        for record in records
    ] == written


async def test_a_record_without_a_time_is_stamped_with_the_present(log: LogUnderTest) -> None:
    await log.create(STREAM, 1)
    await log.log.append(STREAM, 0, [Outgoing(b"k", b"v")])
    [record] = await read_all(log, 0)
    assert record.timestamp > 1_700_000_000_000


async def test_appending_nothing_is_nothing(log: LogUnderTest) -> None:
    await log.create(STREAM, 1)
    assert await log.log.append(STREAM, 0, []) == []
    assert await log.log.bounds(STREAM, 0) == Bounds(0, 0)


async def test_an_empty_partition(log: LogUnderTest) -> None:
    await log.create(STREAM, 1)
    assert list(await log.log.read(STREAM, 0, 0)) == []
    assert await log.log.bounds(STREAM, 0) == Bounds(0, 0)
    assert await log.log.offset_at(STREAM, 0, 0) == 0


async def test_reading_starts_anywhere_and_ends_at_the_end(log: LogUnderTest) -> None:
    await log.create(STREAM, 1)
    await log.log.append(STREAM, 0, numbered(*range(10)))
    found = await log.log.read(STREAM, 0, 7)
    assert [record.offset for record in found] == [7, 8, 9]
    assert list(await log.log.read(STREAM, 0, 10)) == []
    assert (await log.log.read(STREAM, 0, 9))[0].value == b"9"


async def test_a_limit_bounds_a_read_and_loses_nothing(log: LogUnderTest) -> None:
    await log.create(STREAM, 1)
    for start in range(0, 300, 100):
        await log.log.append(STREAM, 0, numbered(*range(start, start + 100)))
    found = await log.log.read(STREAM, 0, 0, limit=10)
    assert 1 <= len(found) < 300
    assert [record.offset for record in await read_all(log, 0, limit=10)] == list(range(300))


async def test_the_largest_records_pass(log: LogUnderTest) -> None:
    await log.create(STREAM, 1)
    value = bytes(range(256)) * (LARGEST_RECORD // 256 - 2)
    assert await log.log.append(STREAM, 0, [Outgoing(b"k", value)]) == [0]
    assert await log.log.append(STREAM, 0, numbered(1)) == [1]
    assert [record.value for record in await read_all(log, 0)] == [value, b"1"]


async def test_bounds_follow_every_append(log: LogUnderTest) -> None:
    await log.create(STREAM, 1)
    for end in range(1, 4):
        await log.log.append(STREAM, 0, numbered(end))
        assert await log.log.bounds(STREAM, 0) == Bounds(0, end)


async def test_the_first_offset_of_a_time(log: LogUnderTest) -> None:
    await log.create(STREAM, 1)
    # One batch each, and the third goes back in time: the first that is late enough counts, whatever follows it.
    for stamp in (100, 300, 200, 400):
        await log.log.append(STREAM, 0, numbered(stamp, timestamp_ms=NOW_MS + stamp))
    found = [await log.log.offset_at(STREAM, 0, NOW_MS + stamp) for stamp in (0, 100, 101, 300, 301, 400, 401)]
    assert found == [0, 0, 1, 1, 3, 3, 4]


async def test_a_stream_has_its_partitions_and_one_lineage(log: LogUnderTest) -> None:
    await log.create(STREAM, 3)
    await log.create("internal.outcomes", 3)
    assert await log.log.partitions(STREAM) == 3
    lineage = await log.log.lineage(STREAM)
    await log.log.append(STREAM, 0, numbered(1))
    assert lineage
    assert await log.log.lineage(STREAM) == lineage
    assert await log.log.lineage("internal.outcomes") != lineage


async def test_many_writers_of_a_partition_lose_nothing(log: LogUnderTest) -> None:
    await log.create(STREAM, 1)
    batches = [numbered(*range(start, start + 20)) for start in range(0, 200, 20)]
    offsets = await asyncio.gather(*(log.log.append(STREAM, 0, batch) for batch in batches))
    assert sorted(offset for batch in offsets for offset in batch) == list(range(200))
    by_offset = {record.offset: record.value for record in await read_all(log, 0)}
    for batch, placed in zip(batches, offsets, strict=True):
        assert placed == sorted(placed)
        assert [by_offset[offset] for offset in placed] == [record.value for record in batch]


async def test_a_missing_stream_is_fatal(log: LogUnderTest) -> None:
    for call in (
        log.log.partitions("nowhere"),
        log.log.append("nowhere", 0, numbered(1)),
        log.log.read("nowhere", 0, 0),
        log.log.bounds("nowhere", 0),
    ):
        with pytest.raises(FatalError) as caught:
            await call
        assert "nowhere" in caught.value.cause


async def test_a_missing_partition_is_fatal(log: LogUnderTest) -> None:
    await log.create(STREAM, 2)
    for call in (
        log.log.append(STREAM, 2, numbered(1)),
        log.log.read(STREAM, 2, 0),
        log.log.bounds(STREAM, 2),
        log.log.offset_at(STREAM, 2, 0),
    ):
        with pytest.raises(FatalError):
            await call
