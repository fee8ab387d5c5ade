"""How a receiver is run: until a signal, with its log, and one line once it is ready."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from interaction_router.cli.collecting import collect_rarely

if TYPE_CHECKING:
    from interaction_router.settings import Settings

Receiver = Callable[["Settings", Callable[[str], None]], Awaitable[None]]


def run_receiver(name: str, settings: "Settings", receiver: Receiver) -> None:
    """Run a receiver until SIGTERM or SIGINT; what it is taking then is finished."""
    import uvloop  # noqa: PLC0415 - `--help` needs no loop

    from interaction_router.telemetry import set_up_logging  # noqa: PLC0415 - likewise

    set_up_logging(level=settings.log.level, form=settings.log.format)

    def ready(where: str) -> None:
        collect_rarely()
        sys.stderr.write(f"ready {name} {where}\n")
        sys.stderr.flush()

    async def until_signalled() -> None:
        work = asyncio.ensure_future(receiver(settings, ready))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, work.cancel)
        try:
            await work
        except asyncio.CancelledError:
            return

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_signalled())
