"""`worker`: intake and assignment, in one process or each alone."""

import asyncio
import signal
import sys
from contextlib import suppress
from typing import Literal

import click

from interaction_router.cli.app import RouterCommand
from interaction_router.cli.collecting import collect_rarely
from interaction_router.cli.invocation import Invocation


@click.command("worker", cls=RouterCommand, short_help="Assign interactions to conversations, on Kafka and Redis.")
@click.option(
    "--role",
    type=click.Choice(["all", "intake", "assignment"]),
    default="all",
    show_default=True,
    help="Which of the two stages this process runs.",
)
@click.pass_obj
def noun(invocation: Invocation, role: Literal["all", "intake", "assignment"]) -> None:
    """Assign interactions to conversations, on Kafka and Redis.

    Prints `ready partitions=N` on standard error once it has its partitions. SIGTERM or SIGINT ends it, with what is
    under way finished; more workers share the work.
    """
    import uvloop  # noqa: PLC0415 - only a worker needs it

    from interaction_router.telemetry import set_up_logging  # noqa: PLC0415 - likewise

    settings = invocation.settings()
    set_up_logging(level=settings.log.level, form=settings.log.format)
    collect_rarely()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_signalled(invocation, role))


async def _until_signalled(invocation: Invocation, role: Literal["all", "intake", "assignment"]) -> None:
    from interaction_router.bootstrap.router import ROLES  # noqa: PLC0415 - `--help` needs no clients
    from interaction_router.bootstrap.worker import run_worker  # noqa: PLC0415 - `--help` needs no clients

    work = asyncio.ensure_future(run_worker(invocation.settings(), ROLES if role == "all" else (role,), ready=_ready))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    with suppress(asyncio.CancelledError):  # before the shell runs, which would end by itself
        await work


def _ready(partitions: int) -> None:
    sys.stderr.write(f"ready partitions={partitions}\n")
    sys.stderr.flush()
