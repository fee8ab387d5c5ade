"""A connection that ends while something is written is tried again, whatever the event loop calls it."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import uvloop

from interaction_router.adapters.kafka.failures import translating
from interaction_router.adapters.redis.errors import translated
from interaction_router.domain.errors import RetryableError


async def _write_to_a_closed_transport() -> None:
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    writer.transport.abort()
    await asyncio.sleep(0)
    theirs.close()
    writer.writelines([b"*1\r\n"])


@pytest.mark.parametrize("translation", [translated, lambda: translating("a topic")])
def test_what_uvloop_says_is_as_a_connection_that_is_lost(
    translation: Callable[[], AbstractContextManager[None]],
) -> None:
    async def write() -> None:
        with translation():
            await _write_to_a_closed_transport()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(RetryableError):
        runner.run(write())


def test_other_errors_of_a_loop_are_none_of_a_connection() -> None:
    for translation in (translated, lambda: translating("a topic")):
        with pytest.raises(RuntimeError, match="no running"), translation():
            asyncio.get_running_loop()
