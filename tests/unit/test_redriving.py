"""Redriving that dies between two steps, and two that redrive at once."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import pytest

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.application import redriving
from interaction_router.application.handled import HANDLED, HandledLetters, Handling
from interaction_router.application.letters import Letter, LetterFilter, Letters, read_place
from interaction_router.application.redriving import UNDER_WAY_MS, Redriven, Redriving, unhandled
from interaction_router.application.views import DEAD_LETTERS
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.domain.events import Refusal
from interaction_router.domain.ids import Place
from interaction_router.domain.messages import Raw
from interaction_router.ports import Outgoing
from interaction_router.wire.updates import dead_letter

SMS = "interactions.sms.v1"
LETTERS = 3


class FakeClock:
    def __init__(self) -> None:
        self.at_ms = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.at_ms


class DyingLog(EmbeddedLog):
    """Dies once, before or after an append to a stream."""

    dies_at: tuple[str, str] | None = None

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        before, after = (stream, "before") == self.dies_at, (stream, "after") == self.dies_at
        if before:
            self.dies_at = None
            raise RetryableError("died", "before it was written")
        offsets = await super().append(stream, partition, records)
        if after:
            self.dies_at = None
            raise RetryableError("died", "after it was written")
        return offsets


class Desk:
    """Letters of one SMS partition, and people who redrive them."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        self.clock = FakeClock()
        self.log = DyingLog(database, self.clock)

    async def lay(self, letters: int) -> None:
        for stream in (SMS, DEAD_LETTERS):
            await self.log.create(stream, 2)
        await self.log.create(HANDLED, 2, compacted=True)
        for number in range(letters):
            raw = Raw(b"key", f"{number}".encode(), (("own", b"\xff"),))
            place = Place(SMS, 1, number)
            refusal = Refusal("schema_invalid", "must be known", "status")
            letter = dead_letter(raw, refusal, stage="intake", place=place, topic=f"router.{SMS}")
            await self.log.append(DEAD_LETTERS, 1, [letter])

    async def person(self) -> "Person":
        return await Person(self).looked()

    async def sent(self) -> list[bytes | None]:
        return [record.value for record in await self.log.read(SMS, 1, 0)]


class Person:
    """One who looks at the letters, and redrives what is unhandled."""

    def __init__(self, desk: Desk) -> None:
        self.handled = HandledLetters(desk.log)
        self._letters = Letters(desk.log, namespace="router")
        self.work = Redriving(self._letters, desk.log, self.handled, desk.clock, inputs={SMS: f"router.{SMS}"})
        self.seen: list[Letter] = []

    async def looked(self) -> "Person":
        await self.handled.follow()
        self.seen = unhandled([each async for each in self._letters.scan(LetterFilter())], self.handled)
        return self

    async def redrive(self) -> list[Redriven]:
        return [each async for batch in self.work.redrive(self.seen, actor="ann") for each in batch]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    with EmbeddedDatabase() as database:
        desk = Desk(database)
        await desk.lay(LETTERS)
        yield desk


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("stream", [HANDLED, SMS])
async def test_each_is_sent_once_whatever_dies(desk: Desk, stream: str, moment: str) -> None:
    desk.log.dies_at = (stream, moment)
    with pytest.raises(RetryableError, match="died"):
        await (await desk.person()).redrive()
    desk.clock.at_ms += UNDER_WAY_MS
    again = await (await desk.person()).redrive()
    assert len(again) == LETTERS
    assert await desk.sent() == [b"0", b"1", b"2"]
    assert all(each.found for each in again) is ((stream, moment) == (SMS, "after"))
    assert (await desk.person()).seen == []


async def test_what_was_sent_but_not_marked_is_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three one after the other, the second dies between its record and its mark."""
    monkeypatch.setattr(redriving, "BATCH", 1)
    person = await desk.person()
    async with aclosing(person.work.redrive(person.seen, actor="ann")) as batches:
        await anext(batches)
        desk.log.dies_at = (SMS, "after")
        with pytest.raises(RetryableError, match="died"):
            await anext(batches)
    desk.clock.at_ms += UNDER_WAY_MS
    again = await (await desk.person()).redrive()
    assert [(each.to, each.found) for each in again] == [(f"router.{SMS}/1@1", True), (f"router.{SMS}/1@2", False)]
    assert await desk.sent() == [b"0", b"1", b"2"]


async def test_of_two_at_once_one_is_refused(desk: Desk) -> None:
    ann, ben = await desk.person(), await desk.person()
    await ann.redrive()
    with pytest.raises(FatalError, match="letter_taken"):
        await ben.redrive()
    assert len(await desk.sent()) == LETTERS


class RivalLog(EmbeddedLog):
    """Somebody else appends a moment before us."""

    rival: Outgoing | None = None

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        rival, self.rival = self.rival, None
        if rival is not None:
            await super().append(stream, partition, [rival])
        return await super().append(stream, partition, records)


async def test_of_two_in_the_same_moment_the_first_in_the_log_wins() -> None:
    """As on Kafka, which compacts later: both claims stand in the topic, in one order for everybody."""
    with EmbeddedDatabase() as database:
        log = RivalLog(database, FakeClock())
        await log.create(HANDLED, 1)
        handled = HandledLetters(log)
        await handled.write({"a": Handling("discarded", "1@0", "ben", "ben", 0)})
        (theirs,) = await log.read(HANDLED, 0, 0)
        await handled.follow()
        log.rival = Outgoing(theirs.key, theirs.value)
        with pytest.raises(FatalError, match="being handled by ben"):
            await handled.claim({"a": Handling("discarded", "1@0", "ann", "ann", 0)})


async def test_a_run_that_is_still_at_it_is_left_alone(desk: Desk) -> None:
    desk.log.dies_at = (SMS, "before")
    with pytest.raises(RetryableError, match="died"):
        await (await desk.person()).redrive()
    desk.clock.at_ms += UNDER_WAY_MS - 1
    late = await desk.person()
    with pytest.raises(FatalError, match="letter_under_way"):
        await late.redrive()
    with pytest.raises(FatalError, match="letter_under_way"):
        await late.work.discard(late.seen, actor=None)
    assert await desk.sent() == []


async def test_headers_and_key_come_as_they_were(desk: Desk) -> None:
    await (await desk.person()).redrive()
    first = (await desk.log.read(SMS, 1, 0))[0]
    assert first.key == b"key"
    assert list(first.headers) == [("own", b"\xff"), ("redriven_from", b"router.dlq.v1/1@0")]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (("dlq_topic", b"router.conversations.v1"), "no topic that the router reads"),
        (("dlq_topic", b"other.interactions.sms.v1"), "does not say which record of this namespace"),
        (("dlq_partition", b"7"), "has 2 partitions now, and 7 is none of them"),
        (("dlq_offset", b"x"), "does not say which record"),
    ],
)
async def test_what_has_no_way_back_is_told(desk: Desk, changed: tuple[str, bytes], why: str) -> None:
    (record,) = await desk.log.read(DEAD_LETTERS, 1, 0, limit=1)
    headers = [changed if name == changed[0] else (name, value) for name, value in record.headers]
    (offset,) = await desk.log.append(DEAD_LETTERS, 0, [Outgoing(None, b"", headers)])
    (strange,) = await desk.log.read(DEAD_LETTERS, 0, offset)
    person = await desk.person()
    letter = Letters(desk.log, namespace="router").letter(0, strange)
    assert why in str(await person.work.objection(letter))
    assert await person.work.objection(person.seen[-1]) is None


def test_places_are_read() -> None:
    for text in ("3@17", "router.dlq.v1/3@17"):
        assert read_place(text, namespace="router") == (None, 3, 17)
    assert read_place("a.interactions.sms.v1/3@17", namespace="router") == ("a.interactions.sms.v1", 3, 17)
    for text in ("", "3", "3@", "@3", "/3@1", "-3@1", "3@1x"):
        assert read_place(text, namespace="router") is None
