"""What only a real server does: it is full, slow, restarted, a replica, locked, or unlike the settings."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from interaction_router.adapters.redis.client import check_server, open_client
from interaction_router.adapters.redis.tables import RedisTables, keys_of
from interaction_router.domain.errors import ConfigurationError, FatalError, RetryableError
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Loaded, Writes
from interaction_router.settings import RedisSettings
from interaction_router.settings.kinds import ServerUrl
from tests.servers import RedisServer

ROW, FIELD = RowKey("contact:acme/c1"), RowKey("interactions:x", "first")
NAMESPACE = "router"
APPLIED = f"{NAMESPACE}:{{0}}:applied"


@pytest.fixture
def own_server(redis_server: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may do anything to; the shared one skips it where there is none."""
    assert redis_server.port
    with RedisServer(tmp_path / "redis") as server:
        yield server


@asynccontextmanager
async def opened(url: str, *, timeout_s: float = 2, **options: object) -> AsyncIterator[RedisTables]:
    settings = RedisSettings.model_validate(
        {"url": ServerUrl(url), "timeout": timedelta(seconds=timeout_s)} | options  # as the settings file has them
    )
    client = open_client(settings)
    try:
        yield RedisTables(client, NAMESPACE)
    finally:
        await client.close()


@asynccontextmanager
async def by_hand(server: RedisServer) -> AsyncIterator[Redis]:
    client = Redis(port=server.port)
    try:
        yield client
    finally:
        await client.aclose()


async def send(redis: Redis, *words: str | int) -> Any:
    """Send a command by hand."""
    return await redis.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated


async def code_of(call: AbstractAsyncContextManager[RedisTables], kind: type[Exception]) -> str:
    """Return the code that `check` fails with."""
    async with call as tables:
        with pytest.raises(kind) as caught:
            await tables.check()
    return str(caught.value.code)  # type: ignore[attr-defined]  # both kinds have one


async def test_check_passes_on_a_server_as_it_should_be(own_server: RedisServer) -> None:
    async with opened(own_server.url) as tables:
        await tables.check()


async def test_keys_are_readable_by_hand(own_server: RedisServer) -> None:
    async with opened(own_server.url) as tables, by_hand(own_server) as redis:
        writes = Writes(puts={ROW: b"{}", FIELD: b"[]"}, scores={("idle", "m"): 2.0})
        await tables.apply(0, after=-1, applied=7, writes=writes)
        assert await redis.get(APPLIED) == b"7"
        assert await redis.get("router:{0}:contact:acme/c1") == b"{}"
        assert await redis.hgetall("router:{0}:interactions:x") == {b"first": b"[]"}
        assert await redis.zscore("router:{0}:scores:idle", "m") == 2.0
        assert await redis.dbsize() == 4


async def test_a_flushed_script_is_loaded_again(own_server: RedisServer) -> None:
    async with opened(own_server.url) as tables, by_hand(own_server) as redis:
        await tables.apply(0, after=-1, applied=0, writes=Writes(puts={ROW: b"1"}))
        await redis.script_flush()
        assert await tables.apply(0, after=0, applied=1, writes=Writes(puts={ROW: b"2"})) == 1
        await redis.script_flush()
        assert await tables.load(0, [ROW]) == Loaded(1, [b"2"], [])


async def test_a_restart_is_told_and_the_next_call_works(own_server: RedisServer) -> None:
    async with opened(own_server.url) as tables:
        await tables.apply(0, after=-1, applied=0, writes=Writes(puts={ROW: b"1"}))
        own_server.kill()
        with pytest.raises(RetryableError, match="redis_unreachable"):
            await tables.load(0, [ROW])
        own_server.start()
        assert await tables.load(0, [ROW]) == Loaded(-1, [None], [])


async def test_a_full_server_writes_nothing_of_a_batch(own_server: RedisServer) -> None:
    async with opened(own_server.url) as tables, by_hand(own_server) as redis:
        await tables.apply(0, after=-1, applied=0, writes=Writes(puts={ROW: b"1", FIELD: b"1"}))
        await redis.config_set("maxmemory", 1)
        writes = Writes(puts={ROW: b"2", FIELD: b"2"}, scores={("idle", "m"): 1.0})
        with pytest.raises(RetryableError, match="redis_full"):
            await tables.apply(0, after=0, applied=1, writes=writes)
        assert await tables.load(0, [ROW, FIELD]) == Loaded(0, [b"1", b"1"], [])
        await redis.config_set("maxmemory", 0)
        assert await tables.apply(0, after=0, applied=1, writes=writes) == 1


async def test_a_batch_that_frees_memory_first_is_written_whole(own_server: RedisServer) -> None:
    async with opened(own_server.url) as tables, by_hand(own_server) as redis:
        await tables.apply(0, after=-1, applied=0, writes=Writes(puts={ROW: b"1", FIELD: b"1"}))
        await redis.config_set("maxmemory", 1)
        writes = Writes(puts={FIELD: b"2"}, deletes={ROW}, scores={("idle", "m"): 1.0})
        assert await tables.apply(0, after=0, applied=1, writes=writes) == 1
        assert await tables.load(0, [ROW, FIELD]) == Loaded(1, [None, b"2"], [])
        assert await tables.scored(0, "idle", low=1, high=1, limit=1) == [("m", 1.0)]


async def test_half_a_batch_is_never_read(own_server: RedisServer) -> None:
    async with opened(own_server.url) as tables, by_hand(own_server) as redis:
        await tables.apply(0, after=-1, applied=0, writes=Writes(puts={ROW: b"1"}))
        await redis.set("router:{0}:interactions:x", "somebody else's")
        with pytest.raises(FatalError, match="tables_damaged"):
            await tables.apply(0, after=0, applied=1, writes=Writes(puts={ROW: b"2", FIELD: b"2"}))
        for _ in range(2):
            with pytest.raises(FatalError, match="state rebuild"):
                await tables.load(0, [ROW])
        with pytest.raises(FatalError, match="tables_damaged"):
            await tables.apply(0, after=0, applied=1, writes=Writes())
        await tables.clear(0)
        assert await tables.load(0, [ROW, FIELD]) == Loaded(-1, [None, None], [])


async def test_a_batch_refused_at_its_first_write_damages_nothing(own_server: RedisServer) -> None:
    async with opened(own_server.url) as tables, by_hand(own_server) as redis:
        await tables.apply(0, after=-1, applied=0, writes=Writes(puts={ROW: b"1"}))
        await redis.set("router:{0}:interactions:x", "somebody else's")
        with pytest.raises(FatalError, match="tables_damaged"):
            await tables.apply(0, after=0, applied=1, writes=Writes(puts={FIELD: b"2"}))
        assert await tables.load(0, [ROW]) == Loaded(0, [b"1"], [])


async def test_tables_being_cleared_cannot_be_loaded(own_server: RedisServer) -> None:
    async with opened(own_server.url) as tables, by_hand(own_server) as redis:
        await redis.set(APPLIED, "clearing")
        with pytest.raises(RetryableError, match="tables_clearing"):
            await tables.load(0, [ROW])
        await tables.clear(0)
        assert (await tables.load(0, [ROW])).applied == -1


async def test_clearing_takes_no_namespace_that_looks_alike(own_server: RedisServer) -> None:
    async with opened(own_server.url) as tables, by_hand(own_server) as redis:
        other = RedisTables(tables._client, "rout*")
        await tables.apply(0, after=-1, applied=0, writes=Writes(puts={ROW: b"1"}))
        await other.apply(0, after=-1, applied=0, writes=Writes(puts={ROW: b"1"}))
        await other.clear(0)
        assert sorted(await redis.keys()) == [APPLIED.encode(), b"router:{0}:contact:acme/c1"]


async def test_an_answer_that_is_lost_may_have_been_done(own_server: RedisServer) -> None:
    async with opened(own_server.url, timeout_s=0.3) as tables:
        await tables.check()
        own_server.pause()
        with pytest.raises(RetryableError, match="redis_timeout"):
            await tables.apply(0, after=-1, applied=3, writes=Writes(puts={ROW: b"1"}))
        own_server.resume()
        # Sent once and never again: what the next call finds is one of the two, and says which.
        async with asyncio.timeout(5):
            while (await tables.load(0, [ROW])).applied != 3:  # noqa: ASYNC110 - the server is another process
                await asyncio.sleep(0.01)
        assert await tables.apply(0, after=-1, applied=3, writes=Writes(puts={ROW: b"2"})) == 3
        assert await tables.load(0, [ROW]) == Loaded(3, [b"1"], [])


async def test_a_cancelled_call_leaves_no_answer_to_the_next(own_server: RedisServer) -> None:
    async with opened(own_server.url) as tables:
        await tables.apply(0, after=-1, applied=0, writes=Writes(puts={ROW: b"right", RowKey("wrong"): b"wrong"}))
        for _ in range(20):
            own_server.pause()
            call = asyncio.create_task(tables.load(0, [RowKey("wrong")]))
            await asyncio.sleep(0.005)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            own_server.resume()
            assert await tables.load(0, [ROW]) == Loaded(0, [b"right"], [])


async def test_a_server_that_is_not_there(own_server: RedisServer) -> None:
    own_server.stop()
    with pytest.raises(RetryableError, match="redis_unreachable") as told:
        async with opened(own_server.url) as tables:
            await tables.check()
    assert not told.value.cause.endswith("..")
    assert "`redis.url`" in told.value.advice


async def test_a_server_that_evicts_is_refused(own_server: RedisServer) -> None:
    async with by_hand(own_server) as redis:
        await redis.config_set("maxmemory-policy", "allkeys-lru")
    async with opened(own_server.url) as tables:
        with pytest.raises(FatalError, match=r"redis_eviction.*allkeys-lru.*CONFIG SET maxmemory-policy noeviction"):
            await tables.check()


async def test_the_eviction_check_needs_no_config_command(own_server: RedisServer) -> None:
    async with by_hand(own_server) as redis:
        await send(
            redis, "ACL", "SETUSER", "router", "on", ">secret", "~router:*", "+@all", "-@dangerous", "+info", "+scan"
        )
    async with opened(own_server.url, username="router", password=SecretStr("secret")) as tables:
        await tables.check()
        await tables.apply(0, after=-1, applied=0, writes=Writes(puts={ROW: b"1"}))
        await tables.clear(0)


async def test_a_replica_is_told(own_server: RedisServer, tmp_path: Path) -> None:
    options = ["--replicaof", "127.0.0.1", str(own_server.port)]
    with RedisServer(tmp_path / "replica", options=options) as replica:
        assert await code_of(opened(replica.url), RetryableError) in {"redis_readonly", "redis_primary_down"}
    async with opened(own_server.url) as tables, by_hand(own_server) as redis:
        await send(redis, "REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(RetryableError, match="redis_readonly"):
            await tables.apply(0, after=-1, applied=0, writes=Writes(puts={ROW: b"1"}))


async def test_too_few_replicas_write_nothing(own_server: RedisServer) -> None:
    async with opened(own_server.url) as tables, by_hand(own_server) as redis:
        await redis.config_set("min-replicas-to-write", 1)
        with pytest.raises(RetryableError, match="redis_replicas_missing"):
            await tables.apply(0, after=-1, applied=0, writes=Writes(puts={ROW: b"1"}))
        assert await tables.load(0, [ROW]) == Loaded(-1, [None], [])


async def test_a_script_of_somebody_else_makes_it_busy(own_server: RedisServer) -> None:
    async with opened(own_server.url) as tables, by_hand(own_server) as redis:
        await redis.config_set("busy-reply-threshold", 20)
        endless = asyncio.create_task(send(redis, "EVAL", "while true do end", 0))
        await asyncio.sleep(0.2)
        with pytest.raises(RetryableError, match="redis_busy"):
            await tables.load(0, [ROW])
        with pytest.raises(RetryableError, match="redis_busy"):
            await tables.peek([(0, ROW), (1, FIELD)])
        async with by_hand(own_server) as other:
            await other.script_kill()
        await asyncio.gather(endless, return_exceptions=True)
        assert (await tables.load(0, [ROW])).applied == -1


async def test_logins(own_server: RedisServer) -> None:
    async with by_hand(own_server) as redis:
        await send(redis, "ACL", "SETUSER", "narrow", "on", ">narrow", "~other:*", "+@all")
        await redis.config_set("requirepass", "right")
    async with opened(own_server.url, password=SecretStr("right")) as tables:
        await tables.check()
    bare = opened(own_server.url)
    wrong = opened(own_server.url, password=SecretStr("not that one"))
    narrow = opened(own_server.url, username="narrow", password=SecretStr("narrow"))
    assert await code_of(bare, FatalError) == "redis_unauthenticated"
    assert await code_of(wrong, FatalError) == "redis_unauthenticated"
    assert await code_of(narrow, FatalError) == "redis_forbidden"


async def test_errors_hold_no_password(own_server: RedisServer) -> None:
    async with opened(own_server.url.replace("//", "//somebody:hidden@")) as tables:
        with pytest.raises(FatalError) as caught:
            await tables.check()
    assert "hidden" not in str(caught.value)


async def test_a_single_server_is_no_cluster(own_server: RedisServer) -> None:
    assert await code_of(opened(own_server.url, cluster=True), ConfigurationError) == "redis_cluster"
    own_server.stop()
    assert await code_of(opened(own_server.url, cluster=True), RetryableError) == "redis_unreachable"


def test_an_old_server_is_refused() -> None:
    about = {"redis_version": "6.2.14", "maxmemory_policy": "noeviction", "role": "master", "cluster_enabled": 0}
    with pytest.raises(FatalError, match=r"redis_version.*6\.2\.14"):
        check_server(about, cluster=False)
    check_server(about | {"redis_version": "7.0.0"}, cluster=False)
    with pytest.raises(FatalError, match="unknown"):
        check_server({"redis_version": "7.2.4", "role": "master", "cluster_enabled": 0}, cluster=False)


async def test_keys_are_not_looked_for_in_two_lives_of_a_server(own_server: RedisServer) -> None:
    """A cursor of the first means nothing to the second, which would leave out some."""
    async with opened(own_server.url) as tables:
        rows = {RowKey(f"row:{number}"): b"" for number in range(5000)}
        await tables.apply(0, after=-1, applied=0, writes=Writes(puts=rows))
        found = keys_of(tables._client, "router:{0}:")
        await anext(found)
        own_server.restart()
        with pytest.raises(RetryableError, match="redis_unreachable"):  # another call hears of it
            await tables.load(0, ())
        await tables.apply(0, after=-1, applied=0, writes=Writes(puts=rows))
        with pytest.raises(RetryableError, match="redis_restarted"):
            async for _ in found:
                pass
