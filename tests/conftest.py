"""Fixtures for every test: the real servers, one of each for the whole run, and names that do not meet."""

import logging
import os
from collections.abc import Iterator
from typing import TypeVar
from uuid import uuid4

import pytest
from hypothesis import settings

from interaction_router.telemetry import _QUIET
from tests.servers import Broker, MissingServerError, RedisServer

Server = TypeVar("Server", Broker, RedisServer)

# A slow machine is no fault of the code: what takes too long is measured elsewhere.
settings.register_profile("unhurried", settings.get_profile("ci" if os.environ.get("CI") else "default"), deadline=None)
settings.load_profile("unhurried")

_MARKERS = {"broker": "kafka", "mortal_broker": "kafka", "redis_server": "redis"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the servers that it asks for, so that `-m "not kafka"` never misses one."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in _MARKERS:
                item.add_marker(_MARKERS[fixture])


@pytest.fixture
def log_of_its_own() -> Iterator[None]:
    """Let a test log as a process does, and leave nothing of it to those behind it."""
    loggers = [logging.getLogger(name) for name in ("", *_QUIET)]
    handlers, levels = loggers[0].handlers[:], [each.level for each in loggers]
    loggers[0].handlers.clear()  # they would else be closed
    try:
        yield
    finally:
        loggers[0].handlers[:] = handlers
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real broker, which nobody kills: with the topics of all tests it would be long in coming back."""
    yield from _running(Broker(tmp_path_factory.mktemp("broker")))


@pytest.fixture(scope="session")
def mortal_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker for tests that kill it or pause it; each leaves it running."""
    yield from _running(Broker(tmp_path_factory.mktemp("mortal-broker")))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Valkey; a test that kills or pauses it leaves it running, or starts one of its own."""
    yield from _running(RedisServer(tmp_path_factory.mktemp("redis")))


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses, for topics and keys on the shared servers."""
    return f"t{uuid4().hex[:12]}"


def _running(server: Server) -> Iterator[Server]:
    try:
        server.start()
    except MissingServerError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    try:
        yield server
    finally:
        server.stop()
