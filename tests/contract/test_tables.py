"""What every pair of tables promises, embedded or real."""

import asyncio
import math

import pytest

from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Loaded, Restoring, Tables, Writes, shadow_of

ONE, OTHER = RowKey("contact:acme/c1"), RowKey("contact:acme/c2")
FIRST, SECOND = RowKey("interactions:x", "first"), RowKey("interactions:x", "second")


async def put(tables: Tables, **writes: object) -> None:
    """Apply one batch to what partition 0 has now."""
    standing = (await tables.load(0, ())).applied
    applied = await tables.apply(0, after=standing, applied=standing + 1, writes=Writes(**writes))  # type: ignore[arg-type]  # the fields of Writes, by name
    assert applied == standing + 1


async def test_empty_tables(tables: Tables) -> None:
    loaded = await tables.load(0, [ONE, FIRST], ["interactions:x"])
    assert (loaded.applied, list(loaded.rows), list(loaded.buckets)) == (-1, [None, None], [{}])
    assert await tables.peek([(0, ONE), (1, FIRST)]) == [None, None]
    assert await tables.scored(0, "idle", low=-math.inf, high=math.inf, limit=9) == []


async def test_loading_and_peeking_nothing(tables: Tables) -> None:
    assert await tables.load(0, ()) == Loaded(-1, [], [])
    assert await tables.peek([]) == []


async def test_rows_come_back_in_the_order_asked_for(tables: Tables) -> None:
    await put(tables, puts={ONE: b"one", FIRST: b"first", OTHER: b"\x00\xff", SECOND: b""})
    asked = [SECOND, ONE, RowKey("none"), FIRST, OTHER, RowKey("interactions:x", "none"), ONE]
    loaded = await tables.load(0, asked, ["interactions:x", "interactions:none"])
    assert list(loaded.rows) == [b"", b"one", None, b"first", b"\x00\xff", None, b"one"]
    assert list(loaded.buckets) == [{"first": b"first", "second": b""}, {}]
    assert loaded.applied == 0


async def test_names_of_any_letters(tables: Tables) -> None:
    odd = {RowKey("b:*[?]\\ {x}", "föld\n"): b"1", RowKey("ü{7}:"): b"2"}
    await put(tables, puts=odd, scores={("näme", "mémber {1}"): 1.0})
    assert list((await tables.load(0, list(odd))).rows) == [b"1", b"2"]
    assert await tables.scored(0, "näme", low=1, high=1, limit=1) == [("mémber {1}", 1.0)]


async def test_a_put_replaces(tables: Tables) -> None:
    await put(tables, puts={ONE: b"1", FIRST: b"1"})
    await put(tables, puts={ONE: b"2", FIRST: b"2"})
    assert list((await tables.load(0, [ONE, FIRST])).rows) == [b"2", b"2"]


async def test_deletes_take_rows_and_fields(tables: Tables) -> None:
    await put(tables, puts={ONE: b"1", OTHER: b"1", FIRST: b"1", SECOND: b"1"})
    await put(tables, deletes={ONE, FIRST, RowKey("never"), RowKey("never", "there")})
    loaded = await tables.load(0, [ONE, OTHER], ["interactions:x"])
    assert list(loaded.rows) == [None, b"1"]
    assert loaded.buckets[0] == {"second": b"1"}


async def test_a_delete_without_a_field_takes_the_bucket(tables: Tables) -> None:
    await put(tables, puts={FIRST: b"1", SECOND: b"1"})
    await put(tables, deletes={RowKey("interactions:x")})
    assert (await tables.load(0, (), ["interactions:x"])).buckets[0] == {}


async def test_puts_come_after_deletes(tables: Tables) -> None:
    await put(tables, puts={FIRST: b"1", ONE: b"1"}, scores={("idle", "m"): 1.0})
    await put(
        tables,
        deletes={RowKey("interactions:x"), SECOND, ONE},
        puts={SECOND: b"2", ONE: b"2"},
        unscores={("idle", "m")},
        scores={("idle", "m"): 2.0},
    )
    loaded = await tables.load(0, [ONE], ["interactions:x"])
    assert (loaded.rows[0], loaded.buckets[0]) == (b"2", {"second": b"2"})
    assert await tables.scored(0, "idle", low=0, high=9, limit=9) == [("m", 2.0)]


async def test_apply_writes_only_where_it_left_off(tables: Tables) -> None:
    assert await tables.apply(0, after=-1, applied=4, writes=Writes(puts={ONE: b"mine"})) == 4
    for after in (-1, 3, 5):
        late = Writes(puts={ONE: b"late", OTHER: b"late"}, deletes={FIRST}, scores={("idle", "m"): 1.0})
        assert await tables.apply(0, after=after, applied=9, writes=late) == 4
    assert await tables.load(0, [ONE, OTHER]) == Loaded(4, [b"mine", None], [])
    assert await tables.scored(0, "idle", low=0, high=9, limit=9) == []


async def test_the_same_apply_twice_tells_the_same(tables: Tables) -> None:
    for _ in range(2):
        assert await tables.apply(0, after=-1, applied=7, writes=Writes(puts={ONE: b"1"})) == 7


async def test_an_apply_of_nothing_moves_on(tables: Tables) -> None:
    assert await tables.apply(0, after=-1, applied=0, writes=Writes()) == 0
    assert (await tables.load(0, ())).applied == 0


async def test_of_two_writers_one_wins_whole(tables: Tables) -> None:
    for step in range(20):
        mine = Writes(puts={RowKey(f"row:{number}"): b"%d" % number for number in range(50)} | {ONE: b"mine"})
        other = Writes(puts=dict.fromkeys([RowKey(f"other:{number}") for number in range(50)], b"") | {ONE: b"other"})
        first, second = await asyncio.gather(
            tables.apply(step, after=-1, applied=1, writes=mine),
            tables.apply(step, after=-1, applied=2, writes=other),
        )
        assert first == second
        loaded = await tables.load(step, [ONE, RowKey("row:0"), RowKey("other:0")])
        assert loaded.applied == first
        assert list(loaded.rows) == ([b"mine", b"0", None] if first == 1 else [b"other", None, b""])


async def test_a_load_is_of_one_moment(tables: Tables) -> None:
    keys = [RowKey(f"row:{number}") for number in range(200)]

    async def write() -> None:
        for step in range(100):
            puts = dict.fromkeys(keys, b"%d" % step) | {FIRST: b"%d" % step}
            assert await tables.apply(0, after=step - 1, applied=step, writes=Writes(puts=puts)) == step
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    seen: set[int] = set()
    while not writing.done():
        loaded = await tables.load(0, keys, ["interactions:x"])
        expected = None if loaded.applied < 0 else b"%d" % loaded.applied
        assert set(loaded.rows) == {expected}
        assert loaded.buckets[0].get("first") == expected
        seen.add(loaded.applied)
        await asyncio.sleep(0)
    await writing
    assert len(seen) > 1


async def test_large_batches(tables: Tables) -> None:
    rows = {RowKey(f"row:{number}"): b"%d" % number for number in range(9001)}
    fields = {RowKey("interactions:x", str(number)): b"%d" % number for number in range(9001)}
    members = {("idle", str(number)): float(number) for number in range(9001)}
    await put(tables, puts=rows | fields, scores=members)
    loaded = await tables.load(0, [*rows, *fields], ["interactions:x"])
    assert list(loaded.rows) == [*rows.values(), *fields.values()]
    assert loaded.buckets[0] == {key.field: value for key, value in fields.items()}
    await put(tables, deletes={*rows, *fields}, unscores=set(members))
    after = await tables.load(0, [*rows, *fields], ["interactions:x"])
    assert set(after.rows) == {None}
    assert after.buckets[0] == {}
    assert await tables.scored(0, "idle", low=0, high=math.inf, limit=1) == []


async def test_large_values(tables: Tables) -> None:
    value = bytes(range(256)) * 12_000
    await put(tables, puts={ONE: value, FIRST: value})
    assert list((await tables.load(0, [ONE, FIRST])).rows) == [value, value]


async def test_partitions_are_apart(tables: Tables) -> None:
    for partition in (0, 1, 11):
        writes = Writes(puts={ONE: b"%d" % partition}, scores={("idle", "m"): float(partition)})
        await tables.apply(partition, after=-1, applied=partition + 5, writes=writes)
    await tables.clear(1)
    assert [(await tables.load(p, [ONE])).applied for p in (0, 1, 11)] == [5, -1, 16]
    assert await tables.peek([(11, ONE), (1, ONE), (0, ONE), (0, OTHER)]) == [b"11", None, b"0", None]
    assert await tables.scored(1, "idle", low=0, high=99, limit=9) == []
    assert await tables.scored(11, "idle", low=0, high=99, limit=9) == [("m", 11.0)]


async def test_peek_mixes_partitions_rows_and_fields(tables: Tables) -> None:
    for partition in range(3):
        puts = {ONE: b"one%d" % partition, FIRST: b"first%d" % partition}
        await tables.apply(partition, after=-1, applied=0, writes=Writes(puts=puts))
    asked = [(2, FIRST), (0, ONE), (1, ONE), (1, FIRST), (2, OTHER), (2, SECOND), (2, FIRST)]
    assert await tables.peek(asked) == [b"first2", b"one0", b"one1", b"first1", None, None, b"first2"]


async def test_clearing_leaves_nothing_and_can_be_repeated(tables: Tables) -> None:
    puts = {RowKey(f"row:{number}"): b"" for number in range(3000)} | {FIRST: b"1"}
    await put(tables, puts=puts, scores={("idle", "m"): 1.0})
    for _ in range(2):
        await tables.clear(0)
        loaded = await tables.load(0, list(puts), ["interactions:x"])
        assert (loaded.applied, set(loaded.rows), loaded.buckets[0]) == (-1, {None}, {})
    await put(tables, puts={ONE: b"anew"})
    assert list((await tables.load(0, [ONE])).rows) == [b"anew"]


async def test_clearing_a_partition_leaves_its_shadow(tables: Tables) -> None:
    for partition in (0, shadow_of(0)):
        await tables.apply(partition, after=-1, applied=5, writes=Writes(puts={ONE: b"1"}, scores={("idle", "m"): 1.0}))
    await tables.clear(0)
    assert await tables.load(0, [ONE]) == Loaded(-1, [None], [])
    assert await tables.load(shadow_of(0), [ONE]) == Loaded(5, [b"1"], [])
    assert await tables.scored(shadow_of(0), "idle", low=0, high=9, limit=9) == [("m", 1.0)]


async def test_members_come_by_score_and_then_by_name(tables: Tables) -> None:
    scores = {("idle", name): score for name, score in (("c", 1.0), ("a", 2.0), ("b", 1.0), ("d", 1_795_000_000_123.0))}
    await put(tables, scores=scores)
    ordered = [("b", 1.0), ("c", 1.0), ("a", 2.0), ("d", 1_795_000_000_123.0)]
    assert await tables.scored(0, "idle", low=-math.inf, high=math.inf, limit=9) == ordered
    assert await tables.scored(0, "idle", low=-math.inf, high=math.inf, limit=9, newest_first=True) == ordered[::-1]
    assert await tables.scored(0, "idle", low=1, high=2, limit=2) == ordered[:2]
    assert await tables.scored(0, "idle", low=1, high=2, limit=2, newest_first=True) == [("a", 2.0), ("c", 1.0)]
    assert await tables.scored(0, "idle", low=1.5, high=2, limit=9) == [("a", 2.0)]
    assert await tables.scored(0, "other", low=0, high=9, limit=9) == []


async def test_members_move_and_go(tables: Tables) -> None:
    await put(tables, scores={("idle", "a"): 1.0, ("idle", "b"): 2.0})
    await put(tables, scores={("idle", "a"): 3.5}, unscores={("idle", "b"), ("idle", "never"), ("none", "x")})
    assert await tables.scored(0, "idle", low=0, high=9, limit=9) == [("a", 3.5)]


async def test_a_single_row_read_as_a_map_is_a_defect(tables: Tables) -> None:
    await put(tables, puts={ONE: b"1"})
    with pytest.raises(FatalError):
        await tables.load(0, (), [ONE.bucket])


BEGUN = Restoring("log/outcomes", "41@0@7", 0)
HALF = BEGUN._replace(chunks=1)


async def test_tables_are_filled_step_by_step_and_loaded_when_they_are_whole(tables: Tables) -> None:
    assert await tables.restore(0, after=-1, then=BEGUN, writes=Writes()) == BEGUN
    first = Writes(puts={ONE: b"1", FIRST: b"1"}, scores={("idle", "m"): 1.0})
    assert await tables.restore(0, after=BEGUN, then=HALF, writes=first) == HALF
    for call in (tables.load(0, [ONE]), tables.apply(0, after=-1, applied=9, writes=Writes(puts={ONE: b"9"}))):
        with pytest.raises(RetryableError, match="tables_restoring"):
            await call
    assert await tables.peek([(0, ONE), (0, FIRST)]) == [b"1", b"1"]
    assert await tables.restore(0, after=HALF, then=41, writes=Writes(puts={OTHER: b"2"})) == 41
    assert await tables.load(0, [ONE, OTHER], ["interactions:x"]) == Loaded(41, [b"1", b"2"], [{"first": b"1"}])
    assert await tables.apply(0, after=41, applied=42, writes=Writes()) == 42


async def test_a_step_is_done_only_behind_the_one_before_it(tables: Tables) -> None:
    """Each is asked for by somebody who has not heard of the others: what is told is where the tables are."""
    late = Writes(puts={ONE: b"late", OTHER: b"late"})
    await put(tables, puts={ONE: b"1"})
    for after in (-1, BEGUN, HALF):
        assert await tables.restore(0, after=after, then=HALF, writes=late) == 0
    await tables.restore(1, after=-1, then=BEGUN, writes=Writes())
    another = BEGUN._replace(snapshot="41@0@9")
    for after in (-1, 0, HALF, another, BEGUN._replace(lineage="made/anew")):
        assert await tables.restore(1, after=after, then=9, writes=late) == BEGUN
    assert await tables.peek([(0, ONE), (0, OTHER), (1, ONE), (1, OTHER)]) == [b"1", None, None, None]


async def test_a_step_to_where_it_begins_tells_where_that_is_and_writes_what_it_has(tables: Tables) -> None:
    assert await tables.restore(0, after=-1, then=-1, writes=Writes()) == -1
    await tables.restore(0, after=-1, then=BEGUN, writes=Writes())
    assert await tables.restore(0, after=-1, then=-1, writes=Writes()) == BEGUN
    assert await tables.restore(0, after=BEGUN, then=BEGUN, writes=Writes(puts={ONE: b"1"})) == BEGUN
    assert await tables.peek([(0, ONE)]) == [b"1"]


async def test_of_two_who_fill_the_same_tables_each_step_is_done_once(tables: Tables) -> None:
    async def fill() -> None:
        at = BEGUN
        while at.chunks < 29:
            number = at.chunks + 1
            writes = Writes(puts={FIRST: b"%d" % number, RowKey("interactions:x", str(number)): b""})
            standing = await tables.restore(0, after=at, then=at._replace(chunks=number), writes=writes)
            assert isinstance(standing, Restoring)
            assert standing.chunks >= number
            at = standing
            (first,) = await tables.peek([(0, FIRST)])
            assert int(first or b"0") >= number

    await tables.restore(0, after=-1, then=BEGUN, writes=Writes())
    await asyncio.gather(fill(), fill())
    assert await tables.restore(0, after=BEGUN._replace(chunks=29), then=29, writes=Writes()) == 29
    fields = (await tables.load(0, (), ["interactions:x"])).buckets[0]
    assert fields == {"first": b"29", **{str(number): b"" for number in range(1, 30)}}


async def test_tables_are_emptied_where_they_were_left(tables: Tables) -> None:
    puts = {RowKey(f"row:{number}"): b"" for number in range(9001)} | {FIRST: b"1"}
    await put(tables, puts=puts, scores={("idle", "m"): 1.0})
    await tables.apply(shadow_of(0), after=-1, applied=5, writes=Writes(puts={ONE: b"shadow"}))
    assert await tables.empty(0, after=HALF) == 0
    alone = Restoring("log/outcomes", "none", 0)
    assert await tables.restore(0, after=0, then=alone, writes=Writes()) == alone
    assert await tables.empty(0, after=HALF) == alone
    assert await tables.peek([(0, FIRST)]) == [b"1"]
    assert await tables.empty(0, after=alone) == -1
    loaded = await tables.load(0, list(puts), ["interactions:x"])
    assert (loaded.applied, set(loaded.rows), loaded.buckets[0]) == (-1, {None}, {})
    assert await tables.scored(0, "idle", low=0, high=9, limit=9) == []
    assert await tables.load(shadow_of(0), [ONE]) == Loaded(5, [b"shadow"], [])
    assert await tables.empty(0, after=alone) == -1
