"""`replay raw`: the raw topics read and decided once more, by the settings of now."""

import asyncio
import time

import click

from interaction_router.cli.app import RouterCommand
from interaction_router.cli.interrupting import run_interruptible
from interaction_router.cli.invocation import Invocation, json_option
from interaction_router.cli.progress import Progress
from interaction_router.cli.replay_log import Target, checked, drain, report, target_options
from interaction_router.cli.storage import data_option


@click.command("raw", cls=RouterCommand, short_help="Read the raw topics once more, by the settings of now.")
@click.option(
    "--partitions", "count", type=click.IntRange(1, 10_000), help="How many it has; else as many as this one."
)
@target_options
@data_option
@json_option
@click.pass_obj
def raw_command(invocation: Invocation, /, *, into: str | None, count: int | None, anew: bool, yes: bool) -> int:
    """Read what intake has taken from the raw topics once more, decide it, and compare with what is live.

    The settings are those of now: regions, own addresses, agents, idle times, windows. So it shows what others would have
    told, and makes a router with any number of partitions. The order is that of the records' stamps, and the log time
    with it; it need not be the order in which intake took them, and what met at the same moment may come out otherwise.
    Refused where the raw topics no longer have their beginning (`topics.input_retention`): `replay log` has all of it.

    Nothing of what is live is touched. With --into and --yes the topics of another router are made and written, as by
    `replay log`. Exits with 1 where anything comes out otherwise.
    """
    target = Target(into, count, anew, yes)
    return run_interruptible(lambda stop: _replay(invocation, target, stop))


async def _replay(invocation: Invocation, target: Target, stop: asyncio.Event) -> int:
    from interaction_router.application.views import LOG  # noqa: PLC0415 - `--help` needs no clients
    from interaction_router.bootstrap import replay as second_router  # noqa: PLC0415 - likewise
    from interaction_router.bootstrap.storage import opened_log  # noqa: PLC0415 - likewise

    settings = invocation.settings()
    async with opened_log(settings) as log:
        count = target.count or await log.partitions(LOG)
        second = await checked(invocation, target, count, whole=True)
        begun, until_ms = await second_router.intake_offsets(settings), time.time_ns() // 1_000_000
        ranges = await second_router.raw_ranges_of(settings, log, begun)
        total = sum(end for _, end in ranges.values())
        if not target.yes or second is None:
            replay = await second_router.raw_replay(settings, log, partitions=count, lineage="none")
            records = replay.run(ranges, until_ms=until_ms)
            whole = await drain(replay, records, Progress("records decided", total), stop, None)
        else:
            if target.anew:
                await second_router.remove_unfinished(second)
            async with second_router.second_log(second) as made:
                replay = await second_router.raw_replay(settings, log, partitions=count, lineage=made.lineage)
                records = replay.run(ranges, until_ms=until_ms)
                whole = await drain(replay, records, Progress("records written", total), stop, made.writer)
                if whole:
                    await made.complete(begun)
        if whole:
            await replay.compare()
        return report(invocation, replay, target.into, stop_seen=not whole, dry=not target.yes)
