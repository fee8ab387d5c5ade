"""`ports.Memory` on Redis: strings with a time to live. Nothing that decides reads them."""

import asyncio
from typing import Any, Final

from interaction_router.adapters.redis.client import RedisClient
from interaction_router.domain.errors import RetryableError

ANSWER_S: Final = 1.0
"""How long an answer is waited for: a vendor is, for 5 s at most."""

_KEEP: Final = "return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'GET', 'EX', ARGV[2])"
"""One SET within a script: redis-py would make true or false of the value that a bare one returns."""


class RedisMemory:
    """Keys `NS:receivers:…`, each in a slot of its own."""

    def __init__(self, client: RedisClient, namespace: str) -> None:
        """Keep the client; it connects at its first call."""
        self._client = client
        self._prefix = f"{namespace}:receivers:"

    async def keep(self, key: str, value: bytes, *, ttl_s: int) -> bytes:
        """Keep the value where the key has none, in one step; return what the key has then."""
        key = self._prefix + key
        known: bytes | None = await self._call(key, "EVAL", _KEEP, 1, key, value, ttl_s)
        return value if known is None else known

    async def recall(self, key: str) -> bytes | None:
        """Return what the key has."""
        key = self._prefix + key
        known: bytes | None = await self._call(key, "GET", key)
        return known

    async def _call(self, key: str, *arguments: str | bytes | int) -> Any:  # Any: a reply as redis-py parses it
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._client.call(key, *arguments)
        except TimeoutError as late:
            raise RetryableError("redis_timeout", "Redis did not answer in time.") from late
