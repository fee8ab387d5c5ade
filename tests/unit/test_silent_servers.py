"""Servers that take a connection and say nothing: a command gives up on them after the time that the settings allow."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.connecting import bootstrap
from interaction_router.bootstrap.state import opened_state
from interaction_router.domain.errors import RetryableError
from interaction_router.settings import load_settings

LIMIT_S = 10


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[int, list[asyncio.StreamWriter]]]:
    """Have a server that never answers; yields its port, and the connections that it took."""
    taken: list[asyncio.StreamWriter] = []

    def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], taken
    finally:
        for writer in taken:
            writer.close()
        server.close()
        await server.wait_closed()


async def test_a_silent_broker_is_waited_for_once() -> None:
    """Without a login and TLS there is no other reason to look for, and a second wait would be for nothing."""
    async with silent() as (port, taken):
        env = {
            "INTERACTION_ROUTER_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{port}",
            "INTERACTION_ROUTER_KAFKA__REQUEST_TIMEOUT": "1",
        }
        options = client_options(load_settings(env, None, {}).kafka)
        client = AIOKafkaClient(**options)
        try:
            with pytest.raises(KafkaConnectionError):
                await bootstrap(client, options)
        finally:
            await client.close()
        assert len(taken) == 1


async def test_a_silent_redis_is_told_as_soon_as_of_any_other_command() -> None:
    """The patience of `state` is for a step that takes long, not for a server that is away."""
    async with silent() as (port, _):
        env = {
            "INTERACTION_ROUTER_REDIS__URL": f"redis://127.0.0.1:{port}/0",
            "INTERACTION_ROUTER_REDIS__TIMEOUT": "0.2",
        }
        with pytest.raises(RetryableError, match="Redis did not answer"):
            async with asyncio.timeout(LIMIT_S), opened_state(load_settings(env, None, {})):
                pass


async def test_a_worker_that_still_waits_for_a_server_ends_on_sigterm() -> None:
    """Quietly, as it does with partitions."""
    async with silent() as (port, taken):
        env = {**os.environ, "INTERACTION_ROUTER_REDIS__URL": f"redis://127.0.0.1:{port}/0"}
        command = (sys.executable, "-m", "interaction_router", "worker")
        worker = await asyncio.create_subprocess_exec(*command, env=env, stderr=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(LIMIT_S):
                while not taken:  # noqa: ASYNC110 - the server tells nobody
                    await asyncio.sleep(0.05)
                worker.terminate()
                _, errors = await worker.communicate()
        finally:
            if worker.returncode is None:
                worker.kill()
        assert (worker.returncode, errors.decode()) == (0, "")
