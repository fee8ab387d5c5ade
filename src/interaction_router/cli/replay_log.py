"""`replay log`: the internal log decided once more, compared with what is live, and written for another router."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import click

from interaction_router.cli.app import RouterCommand
from interaction_router.cli.faults import DONE, FOUND_A_FAULT, INTERRUPTED
from interaction_router.cli.interrupting import run_interruptible
from interaction_router.cli.invocation import Invocation, json_option
from interaction_router.cli.lines import what_happened
from interaction_router.cli.moments import MOMENT
from interaction_router.cli.progress import Progress
from interaction_router.cli.ranges import checked_ranges, partition_options
from interaction_router.cli.storage import data_option
from interaction_router.domain.errors import FatalError

if TYPE_CHECKING:
    from interaction_router.application.differences import Difference
    from interaction_router.application.log_replay import LogReplay, Replaced
    from interaction_router.application.raw_replay import RawReplay, Unread
    from interaction_router.application.replay_scope import ReplayScope
    from interaction_router.application.second_log import SecondLogWriter
    from interaction_router.settings import Settings

BATCH: Final = 1_000
SHOWN: Final = 20
"""So many differences are shown to people, and each of them by so many characters."""
WIDEST: Final = 100
COLUMNS: Final = {"key": "conversation", "first": "update", "live": "live", "replayed": "replayed"}


@click.command("log", cls=RouterCommand, short_help="Decide the log once more, and write it for another router.")
@click.option("--into", metavar="NAMESPACE", help="The namespace of the other router; there must be nothing of it yet.")
@click.option(
    "--partitions",
    "count",
    type=click.IntRange(1, 10_000),
    help="How many it has: as many as this one (the default), or a multiple.",
)
@click.option("--until", "until_ms", type=MOMENT, metavar="TIME", help="Replay only what was logged before then.")
@click.option("--tenant", metavar="NAME", help="Replay only what is this tenant's.")
@click.option("--contact", metavar="ID", help="Of the tenant, only this contact, and who had to do with it.")
@click.option("--from", "from_ms", type=MOMENT, metavar="TIME", help="Compare only what was logged from then on.")
@partition_options(only="Compare only")
@click.option("--yes", is_flag=True, help="Do it; without it, only compare.")
@data_option
@json_option
@click.pass_obj
def log_command(
    invocation: Invocation,
    /,
    *,
    into: str | None,
    count: int | None,
    yes: bool,
    **scope: Any,  # what `ReplayScope` has
) -> int:
    """Decide the internal log once more, from its beginning, and compare what comes out with what is live.

    With --into and --yes the topics of another router are made and written, with the same conversations, ids and
    updates; its workers fill its Redis from them and go on. That is also how a router gets more partitions. Exits with
    1 where anything comes out otherwise, as it may under another version of the program.

    With --until, --tenant or --contact a part is replayed that decides the same by itself: everything before a time, or
    of these homes. It is for looking at: `replay promote` refuses it. --from, --partition and --offsets only narrow what
    is compared, since what was logged then was decided by what had been before.

    The log is read while the router runs; nothing of it, of its offsets or of its Redis is touched.
    """
    from interaction_router.application.replay_scope import ReplayScope  # noqa: PLC0415 - `--help` needs no clients

    if into is None and yes:
        raise click.UsageError("--yes writes a log: say for which namespace with --into")
    if scope["contact"] is not None and scope["tenant"] is None:
        raise click.UsageError("--contact is of a tenant: say which with --tenant")
    asked = ReplayScope(**checked_ranges(scope))
    return run_interruptible(lambda stop: _replay(invocation, into, count, asked, stop, yes=yes))


async def _replay(
    invocation: Invocation,
    into: str | None,
    count: int | None,
    scope: "ReplayScope",
    stop: asyncio.Event,
    *,
    yes: bool,
) -> int:
    from interaction_router.application.replay_scope import selected  # noqa: PLC0415 - `--help` needs no clients
    from interaction_router.application.views import LOG  # noqa: PLC0415 - likewise
    from interaction_router.bootstrap import replay as second_router  # noqa: PLC0415 - likewise
    from interaction_router.bootstrap.storage import opened_log  # noqa: PLC0415 - likewise

    settings = invocation.settings()
    async with opened_log(settings) as log:
        count = count or await log.partitions(LOG)
        second = None if into is None else await checked_target(invocation, into, count, whole=scope.is_whole)
        total = sum([(await log.bounds(LOG, each)).end for each in range(await log.partitions(LOG))])
        selection = await selected(log, scope)
        if not yes or second is None:
            replay = await second_router.log_replay(
                settings, log, partitions=count, lineage="none", selection=selection
            )
            whole = await drain(replay, replay.run(), Progress("records decided", total), stop, None)
            return report(invocation, replay, into, stop_seen=not whole, dry=True)
        # Refused before anything is made, where the numbers of partitions do not go together.
        await second_router.log_replay(settings, log, partitions=count, lineage="none", selection=selection)
        async with second_router.second_log(second) as target:
            # Before it is known where the log ends: what is read twice is known by its origin, or by the index.
            begun = await second_router.intake_offsets(settings) if scope.is_whole else {}
            replay = await second_router.log_replay(
                settings, log, partitions=count, lineage=target.lineage, selection=selection
            )
            whole = await drain(replay, replay.run(), Progress("records written", total), stop, target.writer)
            if whole:
                await target.complete(begun)
        return report(invocation, replay, into, stop_seen=not whole, dry=False)


async def checked_target(invocation: Invocation, into: str, count: int, *, whole: bool) -> "Settings":
    """Return the settings of the other router.

    Raises:
        FatalError: there is something of it already.
        UsageError: it is the one that is replayed.
    """
    from interaction_router.bootstrap.replay import is_free, second_settings  # noqa: PLC0415 - `--help` needs none

    settings = invocation.settings()
    if into == settings.namespace:
        raise click.UsageError(f"{into} is the namespace that is replayed: name another with --into")
    second = invocation.settings(second_settings(settings, into, count, whole=whole))
    if not await is_free(second):
        cause = f"There is something of namespace {into} already: a router, or a replay that has not ended."
        raise FatalError("target_exists", cause, "Take another namespace, or remove its topics and Redis keys.")
    return second


async def drain(
    replay: "LogReplay | RawReplay",
    records: "AsyncIterator[Replaced | Unread]",
    progress: Progress,
    stop: asyncio.Event,
    writer: "SecondLogWriter | None",
) -> bool:
    """Take all of a replay, and write it where it is to be; return whether it came to its end."""
    batch: list[Replaced | Unread] = []
    told = 0
    try:
        async for each in records:
            batch.append(each)
            if len(batch) < BATCH:
                continue
            if writer is not None:
                await writer.write(batch)
            batch = []
            progress.advance(replay.found.read - told)
            told = replay.found.read
            if stop.is_set():
                return False
        if writer is not None:
            await writer.write(batch)
            await writer.write_state(replay.conversations(), time.time_ns() // 1_000_000)
    finally:
        progress.close()
    return True


def report(
    invocation: Invocation, replay: "LogReplay | RawReplay", into: str | None, *, stop_seen: bool, dry: bool
) -> int:
    """Tell what came out."""
    output, found = invocation.output, replay.found
    if stop_seen:
        left = "" if dry else f": {into} is not whole, and no worker starts on it; remove its topics"
        output.note(f"interrupted after {found.read} records{left}")
        return INTERRUPTED
    differences = replay.comparison.differences()
    summary = {
        "dry_run": dry,
        "into": into,
        "partitions": len(found.by_partition),
        "records_read": found.read,
        "records_written": 0 if dry else found.written,
        "records_left_out": found.left_out,
        "sends_left_out": found.sends_left_out,
        "records_refused": found.refused,
        "updates_compared": replay.comparison.updates,
        "records_undecided": replay.comparison.undecided,
        "records_uncompared": replay.comparison.uncompared,
        "differences": len(differences),
    }
    if invocation.as_json:
        output.document({**summary, "differing": [_json(each) for each in differences]})
    else:
        output.record(summary)
        if differences:
            output.text("")
            output.table([_row(each) for each in differences[:SHOWN]], COLUMNS)
        if len(differences) > SHOWN:
            output.note(f"{len(differences) - SHOWN} more; --json has them all")
        if dry:
            output.note("nothing was written" + ("; --yes does it" if into else ""))
        else:
            output.note(f"{into} is whole; `interaction-router replay promote --into {into}` tells how it takes over")
    return FOUND_A_FAULT if differences else DONE


def _json(difference: "Difference") -> dict[str, object]:
    return {
        "key": difference.key,
        "first": difference.first,
        "live": list(difference.live),
        "replayed": list(difference.replayed),
    }


def _row(difference: "Difference") -> dict[str, object]:
    return {**_json(difference), "live": _shown(difference.live), "replayed": _shown(difference.replayed)}


def _shown(told: tuple[dict[str, Any], ...]) -> str | None:  # Any: the JSON of the contract
    if not told:
        return None
    first = told[0]
    text = f"dead letter {first['code']}" if first["type"] == "dead_letter" else what_happened(first)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
