"""The connection to Redis or Valkey, the same for one server and for a cluster."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from hiredis import pack_command
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from interaction_router.adapters.certificates import tls_context
from interaction_router.adapters.redis.errors import translated
from interaction_router.domain.errors import ConfigurationError, FatalError, RetryableError
from interaction_router.settings import RedisSettings

Argument: TypeAlias = str | bytes | int | float

OLDEST_VERSION = (7, 0)
"""The first one whose scripts write all or nothing when memory runs out, and whose EVALSHA reports its error codes."""

CONNECTIONS = 10_000
"""No limit: each partition has one call under way. redis-py's own limit would fail calls instead of queueing them."""

SCAN_COUNT = 1000
"""Keys that one SCAN looks at; one call takes the server about as many microseconds."""


class _Server(Protocol):
    """One server, whether redis-py calls it a client or a node."""

    async def execute_command(self, *args: Any) -> Any:
        """Send a command and return its parsed reply."""
        ...


class RedisClient:
    """Calls by the key that they are about; what the library raises becomes `RetryableError` or `FatalError`.

    Nothing is tried twice here: the caller knows what a call whose answer was lost may have done.
    """

    def __init__(self, client: "Redis | RedisCluster") -> None:
        """Take over a client of redis-py; `open_client` makes one from settings."""
        self._client = client

    async def call(self, key: str, *arguments: Argument) -> Any:
        """Send one command to the server of `key` and return its reply."""
        with translated():
            return await self.raw_call(key, *arguments)

    async def raw_call(self, key: str, *arguments: Argument) -> Any:
        """Do as `call`, but let redis-py's exceptions through."""
        if isinstance(self._client, Redis):
            server: _Server = self._client
            return await server.execute_command(*arguments)
        # The client would take the slot of every key of the command in Python; one is enough, since they share it.
        await self._client.initialize()
        node = self._client.get_node_from_key(key)
        if node is None:
            raise RetryableError("redis_cluster_down", "No node of the cluster has the partition's slot now.")
        return await self._client.execute_command(*arguments, target_nodes=[node])

    async def calls(self, commands: Sequence[tuple[str, Sequence[Argument]]]) -> list[Any]:
        """Send commands, each to the server of its key, and return the replies: one round trip, no transaction."""
        with translated():
            if isinstance(self._client, Redis):
                async with self._client.pipeline(transaction=False) as pipeline:
                    for _, arguments in commands:
                        pipeline.execute_command(*arguments)
                    # redis-py would put the failed command, with its keys, in front of the server's words.
                    replies: list[Any] = await pipeline.execute(raise_on_error=False)
                for reply in replies:
                    if isinstance(reply, Exception):
                        raise reply
                return replies
            return await asyncio.gather(*(self.raw_call(key, *arguments) for key, arguments in commands))

    async def scan(self, pattern: str) -> AsyncIterator[list[bytes]]:
        """Yield the keys that match, a few at a time; some twice, perhaps.

        Raises:
            RetryableError: the server was started anew meanwhile, or another took its place: a cursor means nothing there.
        """
        for server in await self._servers():
            run, cursor = await _run_of(server), 0
            while True:
                with translated():
                    cursor, keys = await server.execute_command("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
                if keys:
                    yield keys
                if not cursor:
                    break
            if await _run_of(server) != run:
                raise RetryableError("redis_restarted", "Redis was started anew while its keys were looked for.")

    async def check(self) -> None:
        """See that the server can be trusted with rows: its version, that it evicts none, that it takes writes.

        Raises:
            FatalError: it is too old, would evict, is a cluster unlike the settings say, or refuses the login.
            RetryableError: it does not answer, or is a replica.
        """
        for server in await self._servers():
            with translated():
                # Several sections in one INFO came with 7.0; an older server would answer with its usage instead.
                about: dict[str, Any] = {}
                for section in ("server", "memory", "replication", "cluster"):
                    about |= await server.execute_command("INFO", section)
            check_server(about, cluster=isinstance(self._client, RedisCluster))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _servers(self) -> "list[_Server]":
        """Return every server that holds rows."""
        if isinstance(self._client, Redis):
            return [self._client]
        with translated():
            await self._client.initialize()
            return list(self._client.get_primaries())


async def _run_of(server: _Server) -> object:
    """Return what tells this start of a server from others."""
    with translated():
        about: dict[str, object] = await server.execute_command("INFO", "server")
    return about.get("run_id")


def open_client(settings: RedisSettings) -> RedisClient:
    """Return a client that connects at its first call.

    Raises:
        ConfigurationError: a certificate or key cannot be used.
    """
    url = settings.url.get_secret_value()
    options: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": settings.timeout.total_seconds(),
        "socket_connect_timeout": settings.timeout.total_seconds(),
        "max_connections": CONNECTIONS,
        # The older protocol: the newer brings push messages, and replies of other shapes, and no speed.
        "protocol": 2,
    }
    if settings.username is not None:
        options["username"] = settings.username
    if settings.password is not None:
        options["password"] = settings.password.get_secret_value()
    kind: type[Redis | RedisCluster] = RedisCluster if settings.cluster else Redis
    client = kind.from_url(url, **options)
    connection = _connection_of(client)
    if url.startswith("rediss:"):
        connection = _secured(tls_context("redis", settings))
    _connect_by(client, _packing(connection))
    return RedisClient(client)


def check_server(about: Mapping[str, Any], *, cluster: bool) -> None:
    """Compare what a server says of itself with what the tables need.

    Raises:
        FatalError: somebody has to change the server or the settings.
        RetryableError: it is a replica, for now.
    """
    version = str(about.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST_VERSION:
        raise FatalError("redis_version", f"Redis is {version}.", "Use Redis 7.0 or later, or Valkey.")
    if bool(about.get("cluster_enabled")) is not cluster:
        cause = "Redis is no cluster." if cluster else "Redis is a cluster."
        raise ConfigurationError("redis_cluster", cause, f"Set `redis.cluster` to {'false' if cluster else 'true'}.")
    policy = about.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        cause = f"Redis may drop rows when its memory is full: `maxmemory-policy` is {policy}."
        advice = "Set it with `CONFIG SET maxmemory-policy noeviction`, in redis.conf, or in the provider's console."
        raise FatalError("redis_eviction", cause, advice)
    if about.get("role") == "slave":
        raise RetryableError("redis_readonly", "Redis is a replica.", "Point `redis.url` at the primary.")


def _secured(context: ssl.SSLContext) -> type[SSLConnection]:
    """Return connections that use the context.

    redis-py would make one by itself that trusts the system's authorities besides those of `ssl_cafile`, and that asks
    for a key's pass phrase on the terminal.
    """

    class Secured(SSLConnection):
        def __init__(self, **options: Any) -> None:  # Any: redis-py's options of connections, of mixed types
            super().__init__(**options)
            self.ssl_context.context = context

    return Secured


def _packing(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """Return connections that put commands together in C, as redis-py's do that block, without its look at each argument.

    redis-py has names of two words, such as `CLUSTER SLOTS`, which are two arguments.
    """

    class Packing(kind):  # type: ignore[valid-type,misc]  # one of the library's, known when it runs
        def pack_command(self, name: str, *arguments: Argument) -> list[bytes]:
            packed: bytes = pack_command((*name.split(), *arguments))  # type: ignore[arg-type]  # said to take one
            return [packed]

    return Packing


def _connection_of(client: "Redis | RedisCluster") -> type[AbstractConnection]:
    if isinstance(client, Redis):
        kind: type[AbstractConnection] = client.connection_pool.connection_class
        return kind
    return Connection


def _connect_by(client: "Redis | RedisCluster", kind: type[AbstractConnection]) -> None:
    """Let every connection be of this kind."""
    if isinstance(client, Redis):
        client.connection_pool.connection_class = kind
        return
    client.connection_kwargs["connection_class"] = kind
    for node in client.startup_nodes:
        node.connection_class = kind  # type: ignore[assignment]  # redis-py has the class for TCP there, and takes any
