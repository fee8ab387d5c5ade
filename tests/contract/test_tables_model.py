"""Any run of calls leaves the tables as a dictionary would be."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.adapters.redis.client import open_client
from interaction_router.adapters.redis.tables import RedisTables
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Restoring, Standing, Tables, Writes
from interaction_router.settings import RedisSettings
from interaction_router.settings.kinds import ServerUrl
from tests.servers import RedisServer

Opened: TypeAlias = Callable[[], AbstractAsyncContextManager[Tables]]

PARTITIONS = (0, 1)
MAPS = ("map:0", "map:1")
ROWS = [RowKey(f"row:{number}") for number in range(4)]
FIELDS = [RowKey(bucket, field) for bucket in MAPS for field in "abc"]
MEMBERS = [(name, member) for name in ("s", "t") for member in "xyz"]

row_keys = st.sampled_from(ROWS + FIELDS)
writes = st.builds(
    Writes,
    puts=st.dictionaries(row_keys, st.binary(max_size=4), max_size=6),
    deletes=st.sets(row_keys | st.sampled_from([RowKey(bucket) for bucket in MAPS]), max_size=4),
    scores=st.dictionaries(st.sampled_from(MEMBERS), st.integers(-9, 9).map(float), max_size=4),
    unscores=st.sets(st.sampled_from(MEMBERS), max_size=2),
)


class TablesAgainstDictionary(RuleBasedStateMachine):
    """Compares tables with `rows`, `scores` and `applied` after every call."""

    opened: Opened

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.context = self.opened()
        self.tables = self.run(self.context.__aenter__())
        self.applied = dict.fromkeys(PARTITIONS, -1)
        self.rows: dict[tuple[int, RowKey], bytes] = {}
        self.scores: dict[tuple[int, str, str], float] = {}

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(call)

    def teardown(self) -> None:
        self.run(self.context.__aexit__(None, None, None))
        self.loop.close()

    @initialize()
    def begin_empty(self) -> None:
        for partition in PARTITIONS:
            self.run(self.tables.clear(partition))

    @rule(partition=st.sampled_from(PARTITIONS), writes=writes, step=st.integers(1, 3), missed=st.integers(-2, 2))
    def apply(self, partition: int, writes: Writes, step: int, missed: int) -> None:
        standing = self.applied[partition]
        after = standing + missed
        if after == standing:
            self.write(partition, writes)
            self.applied[partition] = standing + step
        told = self.run(self.tables.apply(partition, after=after, applied=standing + step, writes=writes))
        assert told == self.applied[partition]

    def write(self, partition: int, writes: Writes) -> None:
        for key in writes.deletes:
            for of, other in list(self.rows):
                if of == partition and (other == key or (not key.field and other.bucket == key.bucket)):
                    del self.rows[of, other]
        self.rows |= {(partition, key): value for key, value in writes.puts.items()}
        for name, member in writes.unscores:
            self.scores.pop((partition, name, member), None)
        self.scores |= {(partition, *member): score for member, score in writes.scores.items()}

    @rule(partition=st.sampled_from(PARTITIONS), chunks=st.lists(writes, max_size=3), step=st.integers(1, 3))
    def fill(self, partition: int, chunks: list[Writes], step: int) -> None:
        """Empty the tables, and fill them as a takeover does with a snapshot."""
        at: Standing = Restoring("lineage", f"none-{uuid4().hex}", 0)
        after: Standing = self.applied[partition]
        assert self.run(self.tables.restore(partition, after=after, then=at, writes=Writes())) == at
        assert self.run(self.tables.empty(partition, after=at)) == -1
        self.forget(partition)
        after, at = -1, Restoring("lineage", "7@0@1", 0)
        for number, chunk in enumerate([Writes(), *chunks]):
            at = at._replace(chunks=number)
            self.write(partition, chunk)
            assert self.run(self.tables.restore(partition, after=after, then=at, writes=chunk)) == at
            after = at
        self.applied[partition] = step
        assert self.run(self.tables.restore(partition, after=after, then=step, writes=Writes())) == step

    @rule(partition=st.sampled_from(PARTITIONS))
    def clear(self, partition: int) -> None:
        self.run(self.tables.clear(partition))
        self.forget(partition)

    def forget(self, partition: int) -> None:
        self.applied[partition] = -1
        self.rows = {key: value for key, value in self.rows.items() if key[0] != partition}
        self.scores = {key: score for key, score in self.scores.items() if key[0] != partition}

    @rule(keys=st.lists(st.tuples(st.sampled_from(PARTITIONS), row_keys), max_size=8))
    def peek(self, keys: list[tuple[int, RowKey]]) -> None:
        assert self.run(self.tables.peek(keys)) == [self.rows.get(key) for key in keys]

    @rule(
        partition=st.sampled_from(PARTITIONS), low=st.integers(-9, 9), span=st.integers(0, 9), limit=st.integers(1, 3)
    )
    def scored(self, partition: int, low: int, span: int, limit: int) -> None:
        found = sorted(
            (score, member)
            for (of, name, member), score in self.scores.items()
            if of == partition and name == "s" and low <= score <= low + span
        )
        for newest_first in (False, True):
            expected = [(member, score) for score, member in (found[::-1] if newest_first else found)][:limit]
            told = self.run(
                self.tables.scored(partition, "s", low=low, high=low + span, limit=limit, newest_first=newest_first)
            )
            assert told == expected

    @invariant()
    def loads_what_was_written(self) -> None:
        for partition in PARTITIONS:
            keys = ROWS + FIELDS
            loaded = self.run(self.tables.load(partition, keys, MAPS))
            assert loaded.applied == self.applied[partition]
            assert list(loaded.rows) == [self.rows.get((partition, key)) for key in keys]
            assert list(loaded.buckets) == [
                {key.field: value for (of, key), value in self.rows.items() if of == partition and key.bucket == bucket}
                for bucket in MAPS
            ]


@asynccontextmanager
async def embedded() -> AsyncIterator[Tables]:
    with EmbeddedDatabase() as database:
        yield EmbeddedTables(database)


def on_redis(server: RedisServer) -> Opened:
    @asynccontextmanager
    async def redis() -> AsyncIterator[Tables]:
        client = open_client(RedisSettings(url=ServerUrl(server.url)))
        yield RedisTables(client, f"m{uuid4().hex}")
        await client.close()

    return redis


@pytest.mark.parametrize("implementation", ["embedded", "redis"])
def test_tables_are_a_dictionary(implementation: str, request: pytest.FixtureRequest) -> None:
    opened = embedded if implementation == "embedded" else on_redis(request.getfixturevalue("redis_server"))

    class Machine(TablesAgainstDictionary):
        pass

    Machine.opened = staticmethod(opened)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
