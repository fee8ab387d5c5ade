"""What every pair of tables promises to operators, embedded or real."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.adapters.embedded.upkeep import EmbeddedUpkeep
from interaction_router.adapters.redis.client import open_client
from interaction_router.adapters.redis.tables import RedisTables
from interaction_router.adapters.redis.upkeep import RedisUpkeep
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.domain.rows import RowKey
from interaction_router.ports import LoadedScores, Restoring, Tables, Upkeep, Writes, shadow_of
from interaction_router.settings import RedisSettings
from interaction_router.settings.kinds import ServerUrl
from tests.servers import RedisServer

ONE, OTHER = RowKey("contact:acme/c1"), RowKey("contact:acme/c2")
FIRST, SECOND = RowKey("interactions:x", "first"), RowKey("interactions:x", "second")
MEMBER, BEYOND = ("open:acme", "m"), ("of:contact:acme/c1", "n {2}")


class Kept(NamedTuple):
    tables: Tables
    upkeep: Upkeep


@pytest.fixture(params=["embedded-memory", "embedded-file", "redis"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path, namespace: str) -> AsyncIterator[Kept]:
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        client = open_client(RedisSettings(url=ServerUrl(server.url)))
        yield Kept(RedisTables(client, namespace), RedisUpkeep(client, namespace))
        await client.close()
    else:
        with EmbeddedDatabase(tmp_path / "tables.db" if request.param == "embedded-file" else None) as database:
            yield Kept(EmbeddedTables(database), EmbeddedUpkeep(database))


async def held(kept: Kept, partition: int) -> tuple[set[RowKey], set[tuple[str, str]]]:
    """Return all names of a partition."""
    rows: set[RowKey] = set()
    members: set[tuple[str, str]] = set()
    async for names in kept.upkeep.names(partition):
        rows.update(names.rows)
        members.update(names.members)
    return rows, members


def test_a_shadow_is_no_partition_and_its_shadow_is_the_partition() -> None:
    assert [shadow_of(shadow_of(partition)) for partition in range(3)] == [0, 1, 2]
    assert {shadow_of(partition) for partition in range(3)}.isdisjoint({-1, 0, 1, 2})


async def test_everything_is_named(kept: Kept) -> None:
    assert await held(kept, 0) == (set(), set())
    rows = {ONE, FIRST, SECOND, *(RowKey(f"row:{number}") for number in range(2500))}
    fields = {RowKey("interactions:y", f"{number}") for number in range(2500)}
    members = {MEMBER, BEYOND, *(("open:acme", f"{number}") for number in range(2500))}
    writes = Writes(puts=dict.fromkeys(rows | fields, b"1"), scores=dict.fromkeys(members, 1.0))
    await kept.tables.apply(0, after=-1, applied=0, writes=writes)
    await kept.tables.apply(1, after=-1, applied=0, writes=Writes(puts={OTHER: b"1"}))
    await kept.tables.apply(shadow_of(0), after=-1, applied=0, writes=Writes(puts={OTHER: b"1"}))
    assert await held(kept, 0) == (rows | fields, members)
    assert await held(kept, 1) == ({OTHER}, set())
    assert await held(kept, shadow_of(0)) == ({OTHER}, set())


async def test_scores_come_back_in_the_order_asked_for(kept: Kept) -> None:
    assert await kept.upkeep.scores(0, [MEMBER]) == LoadedScores(-1, [None])
    assert await kept.upkeep.scores(0, []) == LoadedScores(-1, [])
    await kept.tables.apply(0, after=-1, applied=4, writes=Writes(scores={MEMBER: 1_795_000_000_123.0, BEYOND: 2.5}))
    asked = [BEYOND, ("open:acme", "none"), MEMBER, ("none", "m"), BEYOND]
    assert await kept.upkeep.scores(0, asked) == LoadedScores(4, [2.5, None, 1_795_000_000_123.0, None, 2.5])


async def test_a_suspended_partition_is_neither_loaded_nor_written(kept: Kept) -> None:
    await kept.tables.apply(0, after=-1, applied=4, writes=Writes(puts={ONE: b"1"}, scores={MEMBER: 1.0}))
    await kept.tables.apply(shadow_of(0), after=-1, applied=3, writes=Writes())
    await kept.upkeep.suspend(0, shadow_applied=3)
    for call in (
        kept.tables.load(0, [ONE]),
        kept.tables.apply(0, after=4, applied=5, writes=Writes(puts={ONE: b"2"})),
        kept.upkeep.scores(0, [MEMBER]),
    ):
        with pytest.raises(RetryableError, match="tables_clearing"):
            await call
    assert await kept.tables.peek([(0, ONE)]) == [b"1"]
    assert await kept.tables.scored(0, "open:acme", low=0, high=9, limit=9) == [("m", 1.0)]
    assert await held(kept, 0) == ({ONE}, {MEMBER})


async def test_a_flip_puts_the_shadow_in_place_and_nothing_else(kept: Kept) -> None:
    old = Writes(puts={ONE: b"old", OTHER: b"old", FIRST: b"old"}, scores={MEMBER: 1.0, ("open:acme", "old"): 1.0})
    new = Writes(puts={ONE: b"new", SECOND: b"new"}, scores={MEMBER: 2.0, BEYOND: 2.0})
    await kept.tables.apply(0, after=-1, applied=9, writes=old)
    await kept.tables.apply(1, after=-1, applied=9, writes=old)
    await kept.tables.apply(shadow_of(0), after=-1, applied=4, writes=new)
    await kept.upkeep.suspend(0, shadow_applied=4)
    await kept.upkeep.flip(0)
    loaded = await kept.tables.load(0, [ONE, OTHER], ["interactions:x"])
    assert (loaded.applied, loaded.rows, loaded.buckets) == (4, [b"new", None], [{"second": b"new"}])
    assert await held(kept, 0) == ({ONE, SECOND}, {MEMBER, BEYOND})
    assert (await kept.upkeep.scores(0, [MEMBER])).scores == [2.0]
    assert await held(kept, 1) == (set(old.puts), set(old.scores))
    assert await held(kept, shadow_of(0)) == (set(), set())
    assert (await kept.tables.load(shadow_of(0), ())).applied == -1
    assert await kept.tables.apply(0, after=4, applied=5, writes=Writes()) == 5


async def test_a_partition_that_is_being_filled_is_flipped_like_any_other(kept: Kept) -> None:
    """Whoever fills it finds it suspended, and then the shadow in its place."""
    begun = Restoring("log/outcomes", "41@0@7", 0)
    await kept.tables.restore(0, after=-1, then=begun, writes=Writes(puts={ONE: b"part"}, scores={MEMBER: 1.0}))
    with pytest.raises(RetryableError, match="tables_restoring"):
        await kept.upkeep.scores(0, [MEMBER])
    await kept.tables.apply(shadow_of(0), after=-1, applied=4, writes=Writes(puts={OTHER: b"new"}))
    await kept.upkeep.suspend(0, shadow_applied=4)
    for call in (
        kept.tables.restore(0, after=begun, then=41, writes=Writes(puts={ONE: b"late"})),
        kept.tables.empty(0, after=begun),
    ):
        with pytest.raises(RetryableError, match="tables_clearing"):
            await call
    await kept.upkeep.flip(0)
    assert await kept.tables.restore(0, after=begun, then=41, writes=Writes(puts={ONE: b"late"})) == 4
    assert await held(kept, 0) == ({OTHER}, set())


async def test_a_flip_needs_a_suspended_partition_and_a_shadow(kept: Kept) -> None:
    await kept.tables.apply(0, after=-1, applied=9, writes=Writes(puts={ONE: b"old"}))
    await kept.tables.apply(shadow_of(0), after=-1, applied=4, writes=Writes(puts={ONE: b"new"}))
    with pytest.raises(FatalError, match="tables_standing"):
        await kept.upkeep.flip(0)
    assert (await kept.tables.load(0, [ONE])).rows == [b"old"]
    await kept.upkeep.suspend(0, shadow_applied=4)
    await kept.tables.clear(shadow_of(0))
    with pytest.raises(FatalError, match="shadow_missing"):
        await kept.upkeep.flip(0)
    assert await kept.tables.peek([(0, ONE)]) == [b"old"]


async def test_a_partition_stays_in_use_where_another_has_put_its_shadow_in_place(kept: Kept) -> None:
    await kept.tables.apply(shadow_of(0), after=-1, applied=4, writes=Writes(puts={ONE: b"new"}))
    await kept.upkeep.suspend(0, shadow_applied=4)
    await kept.upkeep.flip(0)
    with pytest.raises(FatalError, match="shadow_missing"):
        await kept.upkeep.suspend(0, shadow_applied=4)
    await kept.tables.apply(shadow_of(0), after=-1, applied=2, writes=Writes())  # one more has begun
    with pytest.raises(FatalError, match="shadow_missing"):
        await kept.upkeep.suspend(0, shadow_applied=4)
    assert await kept.tables.apply(0, after=4, applied=5, writes=Writes()) == 5


async def test_a_shadow_of_nothing_empties(kept: Kept) -> None:
    await kept.tables.apply(0, after=-1, applied=9, writes=Writes(puts={ONE: b"old"}, scores={MEMBER: 1.0}))
    await kept.tables.apply(shadow_of(0), after=-1, applied=-1, writes=Writes())
    await kept.upkeep.suspend(0, shadow_applied=-1)
    await kept.upkeep.flip(0)
    assert (await kept.tables.load(0, [ONE])) == (await kept.tables.load(7, [ONE]))
    assert await held(kept, 0) == (set(), set())


async def test_a_flip_of_many_rows(kept: Kept) -> None:
    names = [RowKey(f"row:{number}") for number in range(9001)]
    await kept.tables.apply(0, after=-1, applied=0, writes=Writes(puts=dict.fromkeys(names, b"old")))
    await kept.tables.apply(shadow_of(0), after=-1, applied=1, writes=Writes(puts=dict.fromkeys(names[1:], b"new")))
    await kept.upkeep.suspend(0, shadow_applied=1)
    await kept.upkeep.flip(0)
    loaded = await kept.tables.load(0, names)
    assert (loaded.applied, loaded.rows[0], set(loaded.rows[1:])) == (1, None, {b"new"})
