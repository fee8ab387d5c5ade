"""A rebuild beside the owner of the partition, and behind an owner that has died with something untold."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import pytest

from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.adapters.embedded.upkeep import EmbeddedUpkeep
from interaction_router.application.folding import BATCH as FOLD_BATCH
from interaction_router.application.rebuilding import Rebuilder, catch_up
from interaction_router.application.unobserved import Unobserved
from interaction_router.application.verification import Difference, Verification
from interaction_router.application.views import LOG, UPDATES
from interaction_router.bootstrap.embedded import Embedded, embedded_router
from interaction_router.bootstrap.state import scratch
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.domain.ids import Entity, home
from interaction_router.domain.rows import RowKey, contact_key
from interaction_router.ports import Gap, Outgoing, Writes, shadow_of
from interaction_router.settings import Settings, TopicsSettings
from tests.e2e.embedded import saved, sms

PARTITIONS = 2
ANN = contact_key("acme", "c1")


class Bench:
    """A router in memory, with what a rebuild stands on."""

    def __init__(self, embedded: Embedded) -> None:
        self.log, self.shell = embedded.log, embedded.shell
        assert isinstance(embedded.router.tables, EmbeddedTables)
        self.tables = embedded.router.tables
        self.upkeep = EmbeddedUpkeep(self.tables._database)
        self.assignment = embedded.router.assignment
        self.views = self.assignment._views
        self.rebuilder = Rebuilder(self.log, self.tables, self.upkeep, lineage=self.views.lineage)
        self.home = home(Entity("acme", "contact", "c1"), PARTITIONS)

    async def feed(self, *records: tuple[str, object]) -> None:
        for stream, fields in records:
            await self.log.append(stream, 0, [Outgoing(None, orjson.dumps(fields))])
            await self.shell.settled()

    async def write(self, writes: Writes) -> None:
        """Write into the contact's partition where `applied` stays as it is."""
        applied = (await self.tables.load(self.home, ())).applied
        await self.tables.apply(self.home, after=applied, applied=applied, writes=writes)

    async def differences(self) -> list[Difference]:
        with scratch() as fold:
            live = (self.tables, self.upkeep)
            verification = Verification(self.log, live, fold, self.views, lambda *_: None, settle_s=0.0)
            rows = [each for partition in range(PARTITIONS) for each in await verification.partition(partition)]
            return rows + await verification.state_topic()

    async def updates(self) -> list[dict[str, object]]:
        return [
            orjson.loads(record.value or b"")
            for partition in range(PARTITIONS)
            for record in await self.log.read(UPDATES, partition, 0)
        ]


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    settings = Settings(topics=TopicsSettings(partitions=PARTITIONS))
    async with embedded_router(settings) as embedded:
        yield Bench(embedded)


async def test_an_owner_forgets_the_rows_that_it_had_of_the_old_tables() -> None:
    """What is in its memory cannot get into what it decides, nor into the new tables, though `applied` is the same."""
    async with bench() as at:
        await at.feed(saved("c1", "+27821234567"), sms("1", "+27821234567"))
        row = orjson.loads((await at.tables.load(at.home, [ANN])).rows[0] or b"")
        await at.write(Writes(puts={ANN: orjson.dumps({**row, "name": "Wrong"})}))
        at.assignment.forget(LOG, at.home)
        await at.feed(sms("2", "+27821234567"))
        assert [each.kind for each in await at.differences()] == ["row_changed"]
        before = (await at.tables.load(at.home, ())).applied
        assert await at.rebuilder.rebuild(at.home) == before
        (conversation,) = {str(each["conversation_id"]) for each in await at.updates()}
        await at.feed(
            (
                "commands.v1",
                {
                    "tenant": "acme",
                    "type": "conversation.close",
                    "conversation_id": conversation,
                    "actor": "ann",
                    "command_id": "k1",
                    "at": "2026-11-22T10:15:30Z",
                },
            ),
            sms("3", "+27821234567"),
        )
        assert await at.differences() == []
        assert [each["seq"] for each in await at.updates()] == [1, 2, 3, 4, 5]


async def test_what_an_owner_has_decided_and_not_told_is_told_behind_a_rebuild() -> None:
    """The tables come no further than what is known to be told; whoever takes over next tells the rest."""
    async with bench() as at:
        await at.feed(saved("c1", "+27821234567"), sms("1", "+27821234567"), sms("2", "+27821234567"))
        told = await at.updates()
        at.shell.stop()
        with at.tables._database.writing() as connection:  # as if it had died before it told the last of them
            connection.execute(
                "DELETE FROM record WHERE stream = (SELECT id FROM stream WHERE name = 'conversations.v1')"
                " AND CAST(value AS TEXT) LIKE '%\"seq\":3%'"
            )
        assert len(await at.updates()) == len(told) - 1
        for partition in range(PARTITIONS):
            await at.tables.clear(partition)
            await at.rebuilder.rebuild(partition)
        for partition in range(PARTITIONS):
            await catch_up(at.log, at.tables, at.views, partition)
        assert {each["id"] for each in await at.updates()} == {each["id"] for each in told}
        assert await at.differences() == []


async def test_a_rebuild_can_be_broken_off_anywhere() -> None:
    """Each step that writes fails once; the next call goes on, and the rows are the same."""
    async with bench() as at:
        await at.feed(*(sms(f"{number}", f"+2782123456{number}") for number in range(9)), saved("c1", "+27821234561"))
        at.shell.stop()
        for step in ("begin", "suspend", "fence", "flip"):
            rebuilder = Rebuilder(
                BrokenLog(at, step),  # type: ignore[arg-type]  # what it does not break it passes on
                at.tables,
                BrokenUpkeep(at, step),  # type: ignore[arg-type]  # likewise
                lineage=at.views.lineage,
            )
            with pytest.raises(RetryableError, match="broken"):
                await rebuilder.rebuild(0)
            await at.rebuilder.rebuild(0)
            assert await at.differences() == []


@pytest.mark.parametrize("meanwhile", ["folding", "folded"])
async def test_of_two_rebuilds_at_once_one_gives_up_and_the_partition_stays_in_use(meanwhile: str) -> None:
    async with bench() as at:
        await at.feed(saved("c1", "+27821234567"), sms("1", "+27821234567"))

        class Overtaken(Unobserved):
            """Another rebuild comes and ends before the suspension."""

            async def reached(self, gap: Gap, at_what: int | str) -> None:
                del at_what
                if gap == "rebuild_folded" and meanwhile == "folded":
                    await at.rebuilder.rebuild(at.home)

        class SlowLog:
            """Another folds further while the outcomes are read."""

            def __init__(self) -> None:
                self.overtaken = meanwhile != "folding"

            def __getattr__(self, name: str) -> object:
                return getattr(at.log, name)

            async def read(self, *place: object, limit: int) -> object:
                if not self.overtaken and limit == FOLD_BATCH:
                    self.overtaken = True
                    upkeep: Any = BrokenUpkeep(at, "suspend")
                    with suppress(RetryableError):
                        await Rebuilder(at.log, at.tables, upkeep, lineage=at.views.lineage).rebuild(at.home)
                return await at.log.read(*place, limit=limit)  # type: ignore[arg-type]  # passed on

        log: Any = SlowLog()
        slower = Rebuilder(log, at.tables, at.upkeep, lineage=at.views.lineage, observer=Overtaken())
        with pytest.raises(RetryableError, match=f"rebuilt_elsewhere: .* partition {at.home} "):
            await slower.rebuild(at.home)
        await at.feed(sms("2", "+27821234567"))
        assert await at.differences() == []
        assert [each["seq"] for each in await at.updates()] == [1, 2, 3]


async def test_who_is_told_breaks_nothing_off_once_the_partition_is_suspended() -> None:
    async with bench() as at:
        await at.feed(saved("c1", "+27821234567"), sms("1", "+27821234567"))
        folded: list[int] = []

        class Late(Unobserved):
            """More is decided before the suspension, and folded behind it."""

            async def reached(self, gap: Gap, at_what: int | str) -> None:
                del at_what
                if gap == "rebuild_folded":
                    await at.feed(sms("2", "+27821234567"), sms("3", "+27821234567"))
                    folded.append((await at.tables.load(shadow_of(at.home), ())).applied)

        def told(_: int) -> None:
            if folded:
                raise AssertionError

        rebuilder = Rebuilder(at.log, at.tables, at.upkeep, lineage=at.views.lineage, observer=Late())
        assert await rebuilder.rebuild(at.home, told) > folded[0]
        await catch_up(at.log, at.tables, at.views, at.home)
        assert await at.differences() == []


async def test_tables_that_move_while_they_are_looked_at_are_not_ahead() -> None:
    async with bench() as at:
        await at.feed(saved("c1", "+27821234567"), sms("1", "+27821234567"))

        class MovingTables:
            """A worker goes on just before they are read."""

            def __getattr__(self, name: str) -> object:
                return getattr(at.tables, name)

            async def load(self, *of: object) -> object:
                if of[0] == at.home:
                    await at.feed(sms("2", "+27821234567"))
                return await at.tables.load(*of)  # type: ignore[arg-type]  # passed on

        tables: Any = MovingTables()
        plan = await Rebuilder(at.log, tables, at.upkeep, lineage=at.views.lineage).look(at.home)
        assert (plan.applied, plan.reason) == ((await at.tables.load(at.home, ())).applied, None)


class BrokenUpkeep:
    """Fails at one step."""

    def __init__(self, at: Bench, step: str) -> None:
        self._at = at
        self._step = step

    async def suspend(self, partition: int, *, shadow_applied: int) -> None:
        if self._step == "suspend":
            raise RetryableError("broken", "Broken off.")
        await self._at.upkeep.suspend(partition, shadow_applied=shadow_applied)

    async def flip(self, partition: int) -> None:
        if self._step == "flip":
            raise RetryableError("broken", "Broken off.")
        await self._at.upkeep.flip(partition)


class BrokenLog:
    """Fails at one step."""

    def __init__(self, at: Bench, step: str) -> None:
        self._at = at
        self._step = step

    def __getattr__(self, name: str) -> object:
        return getattr(self._at.log, name)

    async def append(self, stream: str, partition: int, records: list[Outgoing]) -> list[int]:
        if self._step == "fence":
            raise RetryableError("broken", "Broken off.")
        return await self._at.log.append(stream, partition, records)

    async def read(self, *place: object, limit: int) -> object:
        if self._step == "begin" and limit == 1000:
            raise RetryableError("broken", "Broken off.")
        return await self._at.log.read(*place, limit=limit)  # type: ignore[arg-type]  # passed on


async def test_outcomes_that_are_gone_cannot_be_folded() -> None:
    async with bench() as at:
        await at.feed(*(sms(f"{number}", f"+2782123456{number}") for number in range(9)))
        at.shell.stop()
        rows = await at.tables.peek([(0, RowKey("policy"))])
        with at.tables._database.writing() as connection:
            connection.execute(
                "DELETE FROM record WHERE offset = 0 AND stream = (SELECT id FROM stream WHERE name = 'internal.outcomes')"
            )
        with pytest.raises(FatalError, match="outcomes_trimmed"):
            await at.rebuilder.rebuild(0)
        assert await at.tables.peek([(0, RowKey("policy"))]) == rows
        assert (await at.tables.load(0, ())).applied >= 0
        assert (await at.tables.load(shadow_of(0), ())).applied == -1
