"""Long jobs that Ctrl-C ends between two steps, never within one."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

Answer = TypeVar("Answer")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StopSeen(Exception):  # noqa: N818 - it is no error
    """A job was asked to end, and does so at a step where it may."""


def run_interruptible(work: Callable[[asyncio.Event], Awaitable[Answer]]) -> Answer:
    """Run a job that looks at the event between its steps; a second signal ends it where it is."""

    async def run() -> Answer:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None, "`asyncio.run` runs it as one"

        def heard() -> None:
            if stop.is_set():
                task.cancel()
            stop.set()

        for number in _SIGNALS:
            with suppress(NotImplementedError, RuntimeError):  # no signals on this system, or not the main thread
                loop.add_signal_handler(number, heard)
        try:
            return await work(stop)
        finally:
            for number in _SIGNALS:
                with suppress(NotImplementedError, RuntimeError):
                    loop.remove_signal_handler(number)

    try:
        return asyncio.run(run())
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error
