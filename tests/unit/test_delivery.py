"""Receivers' records reach the log, or the spool, in order, and nobody is told otherwise."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.spool import DiskSpool
from interaction_router.application.delivery import LETTER_BYTES, Delivery
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.ports import Outgoing, RawRecord

STREAM = "interactions.sms.v1"
PARTITIONS = 3


class Clock:
    def now_ms(self) -> int:
        return 0


class BrokenLog(EmbeddedLog):
    """An embedded log that can be away, and that counts appends."""

    away = False
    appends = 0

    async def partitions(self, stream: str) -> int:
        self._look()
        return await super().partitions(stream)

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        self._look()
        self.appends += 1
        await asyncio.sleep(0)
        return await super().append(stream, partition, records)

    def _look(self) -> None:
        if self.away:
            raise RetryableError("kafka_unavailable", "away")


@asynccontextmanager
async def a_log() -> AsyncIterator[BrokenLog]:
    with EmbeddedDatabase() as database:
        log = BrokenLog(database, Clock())
        for stream in (STREAM, "dlq.v1"):
            await log.create(stream, PARTITIONS)
        yield log


@asynccontextmanager
async def a_spool(folder: Path, max_bytes: int = 1 << 20) -> AsyncIterator[DiskSpool]:
    spool = DiskSpool(folder / "spool.sqlite", max_bytes=max_bytes)
    try:
        yield spool
    finally:
        await spool.close()


def record(key: str, number: int) -> RawRecord:
    return RawRecord(STREAM, key.encode(), f"{key}{number}".encode(), [("traceparent", b"00-\xff")])


async def values(log: EmbeddedLog, stream: str = STREAM) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for partition in range(PARTITIONS):
        for each in await log.read(stream, partition, 0):
            text = (each.value or b"").decode()
            assert each.key == text[:1].encode()
            assert tuple(each.headers) == (("traceparent", b"00-\xff"),)
            found.setdefault(text[:1], []).append(int(text[1:]))
    return found


async def test_many_callers_share_an_append() -> None:
    async with a_log() as log:
        delivery = Delivery(log, None)
        await asyncio.gather(*(delivery.deliver([record(key, n)]) for n in range(100) for key in "abc"))
        assert await values(log) == {key: list(range(100)) for key in "abc"}
        assert log.appends <= 2 * PARTITIONS


async def test_without_a_spool_the_caller_is_told() -> None:
    async with a_log() as log:
        log.away = True
        delivery = Delivery(log, None)
        with pytest.raises(RetryableError):
            await delivery.deliver([record("a", 1)])
        log.away = False
        await delivery.deliver([record("a", 2)])
        log.away = True
        with pytest.raises(RetryableError):
            await delivery.deliver([record("a", 3)])
        log.away = False
        assert await values(log) == {"a": [2]}


@pytest.mark.parametrize("known", [True, False])
async def test_what_the_broker_does_not_take_is_spooled_and_drained_in_order(tmp_path: Path, *, known: bool) -> None:
    """Also where the broker was away from the start, and newer records wait behind those in the spool."""
    async with a_log() as log, a_spool(tmp_path) as spool:
        delivery = Delivery(log, spool)
        if known:
            await delivery.deliver([record(key, 0) for key in "abc"])
        log.away = True
        for number in range(1, 5):
            await delivery.deliver([record(key, number) for key in "abc"])
        assert delivery.spooled == 12
        await delivery.drain()
        log.away = False
        await delivery.deliver([record("a", 5)])
        assert delivery.spooled == 13
        await delivery.drain()
        assert delivery.spooled == 0
        await delivery.deliver([record("a", 6)])
        first = 0 if known else 1
        numbers = list(range(first, 5))
        assert await values(log) == {"a": [*numbers, 5, 6], "b": numbers, "c": numbers}


async def test_a_spool_outlives_its_process(tmp_path: Path) -> None:
    async with a_log() as log:
        log.away = True
        async with a_spool(tmp_path) as spool:
            await Delivery(log, spool).deliver([record("a", 1), record("b", 1)])
        log.away = False
        async with a_spool(tmp_path) as spool:
            delivery = Delivery(log, spool)
            await delivery.start()
            await delivery.deliver([record("a", 2)])
            await delivery.drain()
        assert await values(log) == {"a": [1, 2], "b": [1]}
    assert (tmp_path / "spool.sqlite").stat().st_mode & 0o777 == 0o600


async def test_records_of_unknown_partitions_come_behind_those_of_known_ones(tmp_path: Path) -> None:
    """A receiver that starts while the broker is away has older records of the same key, by their partition."""
    async with a_log() as log, a_spool(tmp_path) as spool:
        first = Delivery(log, spool)
        await first.deliver([record("a", 0)])
        log.away = True
        for number in range(1, 4):
            await first.deliver([record("a", number)])
        second = Delivery(log, spool)
        await second.start()
        await second.deliver([record("a", 4)])
        log.away = False
        await second.deliver([record("a", 5)])
        while second.spooled:
            await second.drain()
        assert await values(log) == {"a": [0, 1, 2, 3, 4, 5]}


async def test_a_full_spool_takes_nothing_more(tmp_path: Path) -> None:
    async with a_log() as log, a_spool(tmp_path, max_bytes=300) as spool:
        delivery = Delivery(log, spool)
        log.away = True
        await delivery.deliver([record("a", 1)])
        await delivery.deliver([record("a", 2)])
        with pytest.raises(RetryableError, match="spool_full"):
            await delivery.deliver([record("a", 3)])
        assert delivery.spooled == 2
        log.away = False
        await delivery.drain()
        await delivery.deliver([record("a", 4)])
        assert await values(log) == {"a": [1, 2, 4]}


async def test_a_spool_is_one_process_alone(tmp_path: Path) -> None:
    async with a_spool(tmp_path):
        with pytest.raises(FatalError, match="spool_locked"):
            DiskSpool(tmp_path / "spool.sqlite", max_bytes=1)


async def test_a_broker_that_hangs_is_waited_for_only_so_long(tmp_path: Path) -> None:
    class Hanging(BrokenLog):
        async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
            await asyncio.Event().wait()
            raise AssertionError((stream, partition, records))

    with EmbeddedDatabase() as database:
        log = Hanging(database, Clock())
        await log.create(STREAM, PARTITIONS)
        async with a_spool(tmp_path) as spool:
            delivery = Delivery(log, spool, patience_s=0.01)
            await delivery.deliver([record("a", 1)])
            assert delivery.spooled == 1


async def test_a_payload_that_nobody_can_read_becomes_a_letter() -> None:
    async with a_log() as log:
        body = b"x" * (LETTER_BYTES + 1)
        await Delivery(log, None).deliver_letter(
            "gateways/twilio/acme", body, content_type="text/plain", cause="no CallSid"
        )
        (letter,) = [each for partition in range(PARTITIONS) for each in await log.read("dlq.v1", partition, 0)]
        assert letter.key is None
        assert letter.value == body[:LETTER_BYTES]
        assert dict(letter.headers) == {
            "content-type": b"text/plain",
            "dlq_truncated": str(len(body)).encode(),
            "dlq_code": b"payload_unknown",
            "dlq_message": b"no CallSid",
            "dlq_stage": b"receive",
            "dlq_topic": b"gateways/twilio/acme",
        }
