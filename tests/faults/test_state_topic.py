"""Writes to the state topic that come late, and how they are mended: each a hole that stories rarely happen upon."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Self

import pytest

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.application import outcomes
from interaction_router.application.intake import CONTACTS
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.application.views import LOG, STATE
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.ids import Entity, home
from interaction_router.ports import Bounds, Outgoing
from tests.checker import check
from tests.faults.simulator import SETTINGS, ManualClock
from tests.faults.stories import SMS
from tests.faults.test_gaps_embedded import PARTITIONS, Process, World
from tests.integration.running import saved, sms

_LIMIT_S = 10
_TABLES = {"applied": 2, "entry": 4, "score": 4}


_NUMBERS = (f"+2782123{each}" for each in range(4000, 5000))
NUMBER, OTHER = [n for n in _NUMBERS if home(Entity("acme", "endpoint", f"tel:{n}"), PARTITIONS) == 0][:2]
CONTACT, ANOTHER = [n for n in map(str, range(99)) if home(Entity("acme", "contact", n), PARTITIONS) == 1][:2]


@pytest.fixture
def little_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fold one outcome at a time; a takeover writes all of the last batch again, which of 2,000 hides much."""
    monkeypatch.setattr(outcomes, "READ_RECORDS", 1)


class SlowLog(EmbeddedLog):
    """A log whose writes to the state topic are on their way until they are let go, and may then seem lost."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        super().__init__(database, ManualClock())
        self.on_its_way = asyncio.Event()
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.seems_lost = False
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    def hold_answers(self) -> None:
        """Answer where the outcomes end as it was when it was asked, but not before `answer`."""
        self.asked.clear()
        self.answer.clear()

    async def bounds(self, stream: str, partition: int) -> Bounds:
        bounds = await super().bounds(stream, partition)
        if stream == OUTCOMES:
            self.asked.set()
            await self.answer.wait()
        return bounds

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        if stream != STATE:
            return await super().append(stream, partition, records)
        self.on_its_way.set()
        await self.let_go.wait()
        offsets = await super().append(stream, partition, records)
        if self.seems_lost:
            raise RetryableError("lost", "The acknowledgement was lost.")
        return offsets


class Scene:
    """Two workers of the same partitions: a quick one, and one whose writes to the state topic can be held up."""

    quick: Process
    slow: Process
    log: SlowLog
    held_up: asyncio.Task[None]

    def __init__(self, database: EmbeddedDatabase) -> None:
        self._database = database
        self.world = World(database)
        self._interactions = 0
        self._dump: dict[str, list[tuple[object, ...]]] = {}

    @classmethod
    @asynccontextmanager
    async def opened(cls, *, linked: bool = True) -> AsyncIterator[Self]:
        """Begin with an open conversation: a contact's, in partition 1, or one that is not linked, in partition 0."""
        with EmbeddedDatabase() as database:
            scene = cls(database)
            await scene.world.begin()
            scene.quick = await scene.world.process(UNOBSERVED)
            scene.log = SlowLog(database)
            elsewhere = World(database)
            elsewhere.log = scene.log
            scene.slow = await elsewhere.process(UNOBSERVED)
            async with asyncio.timeout(_LIMIT_S):
                if linked:
                    await scene.link()
                await scene.tell(NUMBER)
                yield scene

    async def tell(self, number: str) -> None:
        """Let the quick worker assign another interaction."""
        await self._feed(number)
        await self.quick.settle(self.world.committed)

    async def _feed(self, number: str) -> None:
        self._interactions += 1
        await self.world.feed([(SMS, sms(str(self._interactions), number))])

    async def link(self) -> None:
        """Save the contact; a conversation of the number moves to it."""
        await self.world.feed([(CONTACTS, saved(CONTACT, NUMBER))])
        await self.quick.settle(self.world.committed)

    async def save_another(self) -> None:
        """Let the quick worker decide what does not concern the conversation, in the contact's partition."""
        await self.world.feed([(CONTACTS, saved(ANOTHER))])
        await self.quick.settle(self.world.committed)

    async def tell_slow(self, number: str, partition: int) -> None:
        """Let the slow worker assign another interaction."""
        await self._feed(number)
        await self.quick.take_in(self.world.committed)
        start = await self.slow.assignment.committed(LOG, partition)
        await self.slow.assignment.handle(LOG, partition, await self.log.read(LOG, partition, start or 0))

    async def tell_slow_held_up(self) -> None:
        """Let it assign one to the contact until its write to the state topic is on its way, and `held_up`."""
        await self.slow.assignment.committed(LOG, 1)
        self.log.let_go.clear()
        self.log.on_its_way.clear()
        self.held_up = asyncio.create_task(self.tell_slow(NUMBER, 1))
        await self.log.on_its_way.wait()

    async def mend(self) -> None:
        """Let the slow worker look after its writes, twice."""
        for _ in range(2):
            await self.slow.assignment.mend_state()

    def save_dump(self) -> None:
        """Keep the contact's partition of the tables as it is now."""
        with self._database.reading() as connection:
            for name in _TABLES:
                rows = connection.execute(f"SELECT * FROM {name} WHERE partition = 1")  # noqa: S608
                self._dump[name] = rows.fetchall()

    def load_dump(self) -> None:
        """Roll it back to there."""
        with self._database.writing() as connection:
            for name, columns in _TABLES.items():
                connection.execute(f"DELETE FROM {name} WHERE partition = 1")  # noqa: S608
                marks = ", ".join("?" * columns)
                connection.executemany(f"INSERT INTO {name} VALUES ({marks})", self._dump[name])  # noqa: S608

    async def wrong(self) -> list[str]:
        return [str(each) for each in await check(self.world.log, self.world.tables, SETTINGS)]


async def test_a_takeover_that_is_overtaken_by_a_move_mends_what_it_has_written() -> None:
    """The attempt that succeeds finds no row to write, and what comes after it says nothing of a row elsewhere."""
    async with Scene.opened(linked=False) as scene:
        scene.log.let_go.clear()
        taking = asyncio.create_task(scene.slow.assignment.committed(LOG, 0))
        await scene.log.on_its_way.wait()
        await scene.link()
        scene.log.let_go.set()
        await taking
        assert await scene.wrong(), "the late write does not stand"
        await scene.tell_slow(OTHER, 0)
        await scene.mend()
        assert await scene.wrong() == []


@pytest.mark.usefixtures("little_at_once")
async def test_tables_that_were_rolled_back_are_not_written_to_the_state_topic() -> None:
    """Nobody who folds them anew would write it: an outcome decided from memory says that it was done."""
    async with Scene.opened() as scene:
        await scene.slow.assignment.committed(LOG, 1)
        scene.slow.assignment.forget(LOG, 1)
        await scene.save_another()
        scene.save_dump()
        await scene.tell(NUMBER)
        scene.load_dump()
        await scene.mend()
        await scene.save_another()
        assert await scene.wrong() == []


@pytest.mark.usefixtures("little_at_once")
async def test_a_doubt_outlives_tables_that_are_rolled_back_to_where_it_began() -> None:
    """They look as if nobody had come between; the outcomes tell."""
    async with Scene.opened() as scene:
        await scene.tell_slow_held_up()
        scene.save_dump()
        await scene.tell(NUMBER)
        await scene.save_another()
        scene.log.let_go.set()
        await scene.held_up
        scene.load_dump()
        await scene.mend()
        await scene.save_another()
        assert await scene.wrong(), "the late write does not stand"
        await scene.mend()
        assert await scene.wrong() == []


async def test_a_write_that_fails_is_in_doubt_whatever_was_confirmed_meanwhile() -> None:
    async with Scene.opened() as scene:
        await scene.tell_slow_held_up()
        await scene.mend()
        await scene.tell(NUMBER)
        scene.log.seems_lost = True
        scene.log.let_go.set()
        with pytest.raises(RetryableError, match="acknowledgement"):
            await scene.held_up
        assert await scene.wrong(), "the late write does not stand"
        scene.log.seems_lost = False
        await scene.mend()
        assert await scene.wrong() == []


async def test_a_takeover_that_rests_while_somebody_else_decides_is_over() -> None:
    """Else what it wrote late would stand until its partition hears of something."""
    async with Scene.opened() as scene:
        await scene.tell_slow_held_up()
        await scene.tell(NUMBER)
        scene.log.let_go.set()
        await scene.held_up
        assert await scene.wrong(), "the late write does not stand"
        await scene.mend()
        assert scene.slow.assignment.held == []
        assert await scene.wrong() == []


async def test_what_was_asked_before_a_write_does_not_confirm_it() -> None:
    """The outcomes ended where they should when they were asked; then somebody else decided, and wrote before it."""
    async with Scene.opened() as scene:
        await scene.tell_slow(NUMBER, 1)
        await scene.slow.assignment.mend_state()
        scene.log.hold_answers()
        mending = asyncio.create_task(scene.slow.assignment.mend_state())
        await scene.log.asked.wait()
        await scene.tell_slow_held_up()
        await scene.tell(NUMBER)
        scene.log.let_go.set()
        await scene.held_up
        assert await scene.wrong(), "the late write does not stand"
        scene.log.answer.set()
        await mending
        await scene.mend()
        assert await scene.wrong() == []
