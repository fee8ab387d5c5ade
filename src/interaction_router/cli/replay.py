"""`replay`: what has happened once more, for a subscriber or for a router that is to take over."""

import asyncio
import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from interaction_router.cli.app import RouterGroup
from interaction_router.cli.faults import DONE, INTERRUPTED
from interaction_router.cli.interrupting import run_interruptible
from interaction_router.cli.invocation import Function, Invocation, json_option
from interaction_router.cli.moments import span_options
from interaction_router.cli.numbers import Number
from interaction_router.cli.progress import Progress
from interaction_router.cli.ranges import checked_ranges, partition_options
from interaction_router.cli.replay_file import ReplayFile
from interaction_router.cli.replay_log import log_command
from interaction_router.cli.replay_promote import promote_command
from interaction_router.cli.replay_raw import raw_command
from interaction_router.cli.storage import data_option, tenant_option
from interaction_router.domain.errors import FatalError

if TYPE_CHECKING:
    from interaction_router.application.updates_replay import Forecast, ReplayState, UpdatesReplay
    from interaction_router.ports import Log
    from interaction_router.settings import Settings

TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""Source: org.apache.kafka.common.internals.Topic."""
CHOICES = ("from_ms", "until_ms", "tenant", "contact", "conversation", "partitions", "offsets")


@click.group(
    "replay", cls=RouterGroup, short_help="Replay updates for a subscriber, or the whole log for another router."
)
def noun() -> None:
    """Replay what has happened. Nothing is written without --yes, and never to what is live."""


def choice_options(function: Function) -> Function:
    """Give a command the options that choose updates."""
    options = (
        span_options,
        tenant_option("Only of this tenant.", required=False),
        click.option("--contact", metavar="ID", help="Only those that name this contact."),
        click.option("--conversation", metavar="ID", help="Only of this conversation."),
        partition_options(only="Only"),
    )
    for option in reversed(options):
        function = option(function)
    return function


@noun.command()
@click.option("--to", metavar="TOPIC", help="The topic to write to, by its whole name.")
@click.option("--create", is_flag=True, help="Make the topic where it is not there.")
@choice_options
@click.option("--rate", type=Number(min=0, min_open=True), help="So many records a second at most.")
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to keep how far it is; else TOPIC.replay.json.",
)
@click.option(
    "--resume",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Go on with the replay that this file has.",
)
@click.option("--yes", is_flag=True, help="Do it; without it, only say what would be written.")
@data_option
@json_option
@click.pass_obj
def updates(  # noqa: PLR0913 - a command takes its options
    invocation: Invocation,
    /,
    *,
    to: str | None,
    create: bool,
    rate: float | None,
    state: Path | None,
    resume: Path | None,
    yes: bool,
    **chosen: Any,  # Any: click's options, passed on
) -> int:
    """Write updates again to a topic of a subscriber's: keys, bytes and headers as they are, each once.

    Those of a conversation stay in their order; what came again after a crash is left out. Two headers more say where
    each stands (`replayed_from`) and which replay it is of (`replay`). Ctrl-C ends it between two batches, and it says
    how to go on.
    """
    if (to is None) is (resume is None):
        raise click.UsageError("name the topic with --to, or go on with --resume FILE")
    if to is not None and (TOPIC.fullmatch(to) is None or to in {".", ".."}):
        raise click.UsageError(f"no topic can be called {to!r}: up to 249 of A-Z, a-z, 0-9, ., _ and -")
    if resume is not None and (create or state or any(chosen[name] not in {None, ()} for name in CHOICES)):
        raise click.UsageError("--resume goes on with what was asked for: only --rate and --yes go with it")
    with closing(ReplayFile(resume or state or Path(f"{to}.replay.json"))) as file:
        request = Request(to, create, rate, file, resume is not None, yes, checked_ranges(chosen))
        return run_interruptible(lambda stop: _updates(invocation, request, stop))


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for."""

    to: str | None
    create: bool
    rate: float | None
    file: ReplayFile
    resume: bool
    yes: bool
    chosen: dict[str, Any]  # Any: click's options


async def _updates(invocation: Invocation, request: Request, stop: asyncio.Event) -> int:
    from interaction_router.application.updates_replay import UpdatesReplay  # noqa: PLC0415 - `--help` needs none
    from interaction_router.bootstrap.observing import observer_of  # noqa: PLC0415 - likewise
    from interaction_router.bootstrap.topics import opened_topics  # noqa: PLC0415 - likewise

    settings = invocation.settings()
    async with opened_topics(settings) as (log, topics):
        replay = UpdatesReplay(log, topics, namespace=settings.namespace, observer=observer_of(settings))
        written: frozenset[tuple[int, int]] = frozenset()
        missing = False
        if request.resume:
            state, written = await replay.resumed(request.file.take() if request.yes else request.file.read())
        else:
            missing = await _target(settings, topics, request)
            state = await _begun(replay, log, request, missing=missing)
        forecast = await replay.forecast(state, written)
        if not request.resume and not forecast.records:
            cause = "There is no update that the choice names."
            raise FatalError("range_empty", cause, "Look with `interaction-router tail --from-beginning --no-follow`.")
        if not request.yes:
            _tell(invocation, request, state, forecast, missing=missing)
            return DONE
        if missing:
            await _create(settings, log, topics, state.to)
            state = await replay.begin(state.selection, state.to)
        return await _run(invocation, request, replay, (state, written, forecast.records), stop)


async def _target(settings: "Settings", topics: "Log", request: Request) -> bool:
    """Return whether the topic is to be made.

    Raises:
        FatalError: it is the router's own, or is not there and is not to be made.
    """
    assert request.to is not None, "there is no --resume"
    if await _is_a_routers(settings, topics, request.to):
        cause = f"{request.to} is a topic of a router's own."
        raise FatalError("target_refused", cause, "Replay to a topic that nobody else writes to.")
    missing = not await _is_there(topics, request.to)
    if missing and not request.create:
        cause = f"There is no topic {request.to}."
        raise FatalError("target_missing", cause, "Name one that is there, or let --create make it.")
    return missing


async def _is_a_routers(settings: "Settings", topics: "Log", topic: str) -> bool:
    """Tell whether a topic is of this router, of the one that its inputs are of, or of another that is there."""
    from interaction_router.application.handled import HANDLED  # noqa: PLC0415 - `--help` needs no clients
    from interaction_router.application.views import LOG  # noqa: PLC0415 - likewise
    from interaction_router.bootstrap.terms import streams  # noqa: PLC0415 - likewise

    known = {*streams(settings), HANDLED}
    if topic in known:  # embedded storage has no namespaces
        return True
    for dot in (at for at, character in enumerate(topic) if character == "."):
        namespace, stream = topic[:dot], topic[dot + 1 :]
        if stream in known or stream.startswith(("internal.", "interactions.")):
            ours = namespace in {settings.namespace, settings.inputs_namespace}
            if ours or await _is_there(topics, f"{namespace}.{LOG}"):
                return True
    return False


async def _is_there(topics: "Log", topic: str) -> bool:
    try:
        await topics.partitions(topic)
    except FatalError as error:
        if error.code != "topic_missing":
            raise
        return False
    return True


async def _begun(replay: "UpdatesReplay", log: "Log", request: Request, *, missing: bool) -> "ReplayState":
    """Return a new replay; of one that was begun before and not ended, the file is still there."""
    from interaction_router.application.updates_replay import ReplayState, Selection, ranges_of  # noqa: PLC0415

    request.file.refuse_unfinished()
    chosen = request.chosen
    narrowed = {name: chosen[name] for name in ("partitions", "offsets", "from_ms", "conversation")}
    ranges = await ranges_of(log, **narrowed)
    taken = {name: chosen[name] for name in ("from_ms", "until_ms", "tenant", "contact", "conversation")}
    selection = Selection(ranges, **taken)
    assert request.to is not None, "there is no --resume"
    if missing:
        starts = {partition: start for partition, (start, _) in ranges.items()}
        return ReplayState("", request.to, ("", ""), selection, starts, {})
    return await replay.begin(selection, request.to)


async def _create(settings: "Settings", log: "Log", topics: "Log", to: str) -> None:
    from interaction_router.application.views import UPDATES  # noqa: PLC0415 - `--help` needs no clients
    from interaction_router.bootstrap.topics import create_topic  # noqa: PLC0415 - likewise

    await create_topic(settings, topics, to, await log.partitions(UPDATES))


async def _run(
    invocation: Invocation,
    request: Request,
    replay: "UpdatesReplay",
    at: "tuple[ReplayState, frozenset[tuple[int, int]], int]",
    stop: asyncio.Event,
) -> int:
    """Write until all is written or somebody interrupts; the file says how far it is, and goes at the end."""
    from interaction_router.application.updates_replay import Pace  # noqa: PLC0415 - `--help` needs no clients

    state, written, left = at
    progress = Progress("updates", left)

    def save(state: "ReplayState", count: int) -> None:
        request.file.keep(state)
        progress.advance(count)

    if not request.resume:
        request.file.begin(state)
    try:
        state = await replay.run(state, Pace(request.rate, stop), written=written, save=save)
    finally:
        progress.close()
    summary = {"to": state.to, "replay": state.replay, "written": progress.done, "left": left - progress.done}
    invocation.output.record(summary)
    if progress.done < left:
        invocation.output.note(f"interrupted; to go on: {request.file.command} --yes")
        return INTERRUPTED
    request.file.remove()
    return DONE


def _tell(
    invocation: Invocation, request: Request, state: "ReplayState", forecast: "Forecast", *, missing: bool
) -> None:
    """Say what would be written."""
    from interaction_router.wire.times import spell_time  # noqa: PLC0415 - `--help` needs no codec

    times = [None if each is None else spell_time(each) for each in (forecast.first_ms, forecast.last_ms)]
    seconds = None if request.rate is None else round(forecast.records / request.rate, 1)
    invocation.output.record(
        {
            "dry_run": True,
            "to": state.to,
            "create": missing,
            "records": forecast.records,
            "bytes": forecast.size_bytes,
            "keys": len(forecast.conversations),
            "repeats_left_out": forecast.repeats,
            "first_at": times[0],
            "last_at": times[1],
            "partitions": {str(each): count for each, count in sorted(forecast.by_partition.items())},
            "seconds": seconds,
        }
    )
    if not invocation.as_json:
        invocation.output.note("nothing was written; --yes does it")


noun.add_command(log_command)
noun.add_command(raw_command)
noun.add_command(promote_command)
