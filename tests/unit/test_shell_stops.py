"""The shell ends in time, whatever Faust and the broker make of it."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest

from interaction_router.adapters.kafka import shell
from interaction_router.adapters.kafka.shell import BatchConsumerThread, _stop_all

LIMIT_S = 10


class App:
    """Stops as a Faust app does, in so far as it passes over a cancellation."""

    duty = SimpleNamespace(role="intake")

    def __init__(self) -> None:
        self.may_stop = asyncio.Event()

    async def leave(self) -> None:
        pass

    async def stop(self) -> None:
        with suppress(asyncio.CancelledError):
            await self.may_stop.wait()
        await self.may_stop.wait()


async def test_an_app_that_does_not_stop_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("FINISH_S", "COMMIT_LIMIT_S", "STOP_S"):
        monkeypatch.setattr(shell, name, 0.01)
    app = App()
    stopping = asyncio.create_task(_stop_all([cast("Any", app)]))  # Any: of the app only these two are asked for
    _, left = await asyncio.wait({stopping}, timeout=LIMIT_S)
    app.may_stop.set()
    assert not left
    assert [record.message for record in caplog.records] == ["stop_cut_short"]
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "stop:intake"))


async def test_a_failure_of_a_stop_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App()

    async def fail() -> None:
        raise OSError("away")

    monkeypatch.setattr(app, "stop", fail)
    with pytest.raises(OSError, match="away"):
        await _stop_all([cast("Any", app)])  # Any: as above


def test_a_consumers_thread_does_not_outlive_the_process() -> None:
    assert BatchConsumerThread.Worker(cast("Any", None)).daemon  # Any: the thread is not started
