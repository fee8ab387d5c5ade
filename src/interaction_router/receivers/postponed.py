"""Payloads that cannot be understood without Redis while it is away: on disk, and acknowledged, until it is back."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import orjson

from interaction_router.channels.kit import Request
from interaction_router.domain.errors import RouterError
from interaction_router.ports import RawRecord, Spool

_AGAIN_EVERY_S: Final = 0.5
_AT_ONCE: Final = 100
_REQUEST: Final = "request"
_LOGGER = logging.getLogger("interaction_router.receivers")

Store = Callable[[str, Request], Awaitable[None]]
"""Stores what an authentic request to a gateway, `gateways/<vendor>/<tenant>`, tells."""


class Postponed:
    """Keeps requests in a spool of its own, by their gateway; what proved them is not kept."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.waiting = 0
        """How many payloads wait."""

    async def start(self) -> None:
        """Take note of what is still there from before; comes before all else."""
        self.waiting = sum((await self._spool.lanes()).values())

    async def add(self, source: str, request: Request) -> None:
        """Keep a request.

        Raises:
            RetryableError: the disk does not take it, or the spool is full.
        """
        headers = {name: request.headers[name] for name in ("content-type", "traceparent") if name in request.headers}
        head = orjson.dumps([request.method, request.url, headers, request.received_at_ms])
        await self._spool.add(0, [RawRecord(source, None, request.body, ((_REQUEST, head),))])
        self.waiting += 1

    async def run(self, store: Store) -> None:
        """Store what waits, again and again until cancelled."""
        while True:
            try:
                await self.drain(store)
            except RouterError as error:
                _LOGGER.warning("payloads_wait", extra={"code": error.code, "left": self.waiting})
            await asyncio.sleep(_AGAIN_EVERY_S)

    async def drain(self, store: Store) -> None:
        """Store what waits, once; a payload is forgotten when it has been stored, and may be stored twice.

        Raises:
            RetryableError: Redis, Kafka or the disk is away; the rest waits.
        """
        if not self.waiting:
            return
        for source, lane in await self._spool.lanes():
            while rows := await self._spool.oldest(source, lane, limit=_AT_ONCE):
                for identity, record in rows:
                    await store(source, _request(record))
                    await self._spool.remove([identity])
                    self.waiting -= 1


def _request(record: RawRecord) -> Request:
    method, url, headers, received_at_ms = orjson.loads(dict(record.headers)[_REQUEST])
    return Request(method, url, headers, record.value, received_at_ms)
