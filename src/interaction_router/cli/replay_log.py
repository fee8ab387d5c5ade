"""`replay log`: the internal log decided once more, compared with what is live, and written for another router."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from interaction_router.cli.app import RouterCommand
from interaction_router.cli.faults import DONE, FOUND_A_FAULT, INTERRUPTED
from interaction_router.cli.interrupting import run_interruptible
from interaction_router.cli.invocation import Function, Invocation, json_option
from interaction_router.cli.lines import what_happened
from interaction_router.cli.moments import MOMENT
from interaction_router.cli.progress import Progress
from interaction_router.cli.ranges import checked_ranges, partition_options
from interaction_router.cli.storage import data_option, tenant_option
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


@dataclass(frozen=True, slots=True)
class Target:
    """Which router is to be written, if any: with so many partitions, or as many as the one that is replayed."""

    into: str | None
    count: int | None
    anew: bool
    yes: bool

    def __post_init__(self) -> None:
        """Refuse what says only half of it."""
        if self.into is None and (self.yes or self.anew):
            raise click.UsageError(
                "--yes and --anew are for a log that is written: say for which namespace with --into"
            )


def target_options(function: Function) -> Function:
    """Give a command the options of `Target`, but for the number of partitions."""
    into = click.option(
        "--into", metavar="NAMESPACE", help="The namespace of the other router; there must be nothing of it yet."
    )
    anew = click.option("--anew", is_flag=True, help="Remove first what a replay that has not ended has left there.")
    yes = click.option("--yes", is_flag=True, help="Do it; without it, only compare.")
    return into(anew(yes(function)))


@click.command("log", cls=RouterCommand, short_help="Decide the log once more, and write it for another router.")
@click.option(
    "--partitions",
    "count",
    type=click.IntRange(1, 10_000),
    help="How many it has: as many as this one (the default), or a multiple.",
)
@click.option("--until", "until_ms", type=MOMENT, metavar="TIME", help="Replay only what was logged before then.")
@tenant_option("Replay only what is this tenant's.", required=False)
@click.option("--contact", metavar="ID", help="Of the tenant, only this contact, and who had to do with it.")
@click.option("--from", "from_ms", type=MOMENT, metavar="TIME", help="Compare only what was logged from then on.")
@partition_options(only="Compare only")
@target_options
@data_option
@json_option
@click.pass_obj
def log_command(
    invocation: Invocation,
    /,
    *,
    into: str | None,
    count: int | None,
    anew: bool,
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

    target = Target(into, count, anew, yes)
    if scope["contact"] is not None and scope["tenant"] is None:
        raise click.UsageError("--contact is of a tenant: say which with --tenant")
    asked = ReplayScope(**checked_ranges(scope))
    return run_interruptible(lambda stop: _replay(invocation, target, asked, stop))


async def _replay(invocation: Invocation, target: Target, scope: "ReplayScope", stop: asyncio.Event) -> int:
    from interaction_router.application.replay_scope import selected  # noqa: PLC0415 - `--help` needs no clients
    from interaction_router.application.views import LOG  # noqa: PLC0415 - likewise
    from interaction_router.bootstrap import replay as second_router  # noqa: PLC0415 - likewise
    from interaction_router.bootstrap.storage import opened_log  # noqa: PLC0415 - likewise

    settings = invocation.settings()
    async with opened_log(settings) as log:
        count = target.count or await log.partitions(LOG)
        second = await checked(invocation, target, count, whole=scope.is_whole)
        total = sum([(await log.bounds(LOG, each)).end for each in range(await log.partitions(LOG))])
        selection = await selected(log, scope)
        if not target.yes or second is None:
            replay = await second_router.log_replay(
                settings, log, partitions=count, lineage="none", selection=selection
            )
            whole = await drain(replay, replay.run(), Progress("records decided", total), stop, None)
            return report(invocation, replay, target.into, stop_seen=not whole, dry=True)
        # Refused before anything is made, where the numbers of partitions do not go together.
        await second_router.log_replay(settings, log, partitions=count, lineage="none", selection=selection)
        if target.anew:
            await second_router.remove_unfinished(second)
        async with second_router.second_log(second) as made:
            # Before it is known where the log ends: what is read twice is known by its origin, or by the index.
            begun = await second_router.intake_offsets(settings) if scope.is_whole else {}
            replay = await second_router.log_replay(
                settings, log, partitions=count, lineage=made.lineage, selection=selection
            )
            whole = await drain(replay, replay.run(), Progress("records written", total), stop, made.writer)
            if whole:
                await made.complete(begun)
        return report(invocation, replay, target.into, stop_seen=not whole, dry=False)


async def checked(invocation: Invocation, target: Target, count: int, *, whole: bool) -> "Settings | None":
    """Return the settings of the other router, of which there is nothing yet, or what is to be removed first.

    Raises:
        FatalError: there is something of it already.
        UsageError: it is the one that is replayed.
    """
    from interaction_router.bootstrap.replay import second_settings, standing_of  # noqa: PLC0415 - `--help` needs none

    settings, into = invocation.settings(), target.into
    if into is None:
        return None
    if into == settings.namespace:
        raise click.UsageError(f"{into} is the namespace that is replayed: name another with --into")
    second = invocation.settings(second_settings(settings, into, count, whole=whole))
    standing = await standing_of(second)
    if standing == "taken":
        cause = f"There is something of namespace {into} already."
        raise FatalError("target_exists", cause, "Take another namespace, or remove its topics and Redis keys.")
    if standing == "unfinished" and not target.anew:
        cause = f"There is a replay into {into} that has not ended."
        raise FatalError("replay_unfinished", cause, "With --anew its topics are removed, and it begins anew.")
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
        left = "" if dry else f": {into} is not whole, and no worker starts on it; --anew begins anew"
        output.note(f"interrupted after {found.read} records{left}")
        return INTERRUPTED
    differences = replay.comparison.differences()
    summary = {
        "dry_run": dry,
        "into": into,
        "partitions": replay.partitions,
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
