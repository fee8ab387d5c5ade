"""`topics`: create the router's topics, and compare them with what they have to be."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from interaction_router.cli.app import RouterGroup
from interaction_router.cli.faults import DONE, FOUND_A_FAULT
from interaction_router.cli.invocation import Invocation, json_option
from interaction_router.cli.storage import data_option
from interaction_router.domain.errors import FatalError

if TYPE_CHECKING:
    from interaction_router.adapters.kafka.topics import Applied, Difference, TopicPlan
    from interaction_router.bootstrap.topics import Topics
    from interaction_router.settings import Settings

Answer = TypeVar("Answer")
COLUMNS = {"topic": "topic", "what": "what", "found": "is", "wanted": "should be", "remedy": "what to do"}
FIXED = "fixed once applied: set topics.partitions to what it is, or replay into another namespace"
REPLICATION = "move the replicas with Kafka's own tools, or set topics.replication_factor to what it is"


@click.group("topics", cls=RouterGroup, short_help="Create and check the topics.")
def noun() -> None:
    """Create the router's topics, and compare them with what the settings say that they have to be."""


@noun.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@data_option
@json_option
@click.pass_obj
def apply(invocation: Invocation, *, dry_run: bool) -> int:
    """Create what is missing and set what differs; what is right stays untouched.

    Partitions of a topic that is fixed are never changed. Exits with 1 where something is left that it may not change.
    """
    settings = invocation.settings()
    if not dry_run:
        _refuse_unfinished(settings)

    async def work(topics: "Topics", plans: "Sequence[TopicPlan]") -> "tuple[Sequence[Difference], Applied | None]":
        found = await topics.diff(plans)
        if not invocation.as_json:
            for difference in found:
                if difference.mendable:
                    invocation.output.text(f"{'would ' if dry_run else ''}{_deed(settings, difference)}")
        return found, None if dry_run else await topics.apply(plans)

    found, applied = _with_topics(settings, work, create=not dry_run)
    left = [difference for difference in found if not difference.mendable] if applied is None else applied.refused
    if invocation.as_json:
        done = [each for each in found if each.mendable] if applied is None else applied.done
        document = {
            "dry_run": dry_run,
            "done": [_row(settings, each) for each in done],
            "refused": [_row(settings, each) for each in left],
        }
        invocation.output.document(document)
    elif not found:
        invocation.output.note("every topic is as it should be")
    elif left:
        invocation.output.table([_row(settings, each) for each in left], COLUMNS)
    return FOUND_A_FAULT if left else DONE


@noun.command()
@data_option
@json_option
@click.pass_obj
def diff(invocation: Invocation) -> int:
    """List every way in which a topic is not as the settings say; exits with 1 where there is one."""
    settings = invocation.settings()
    rows = [_row(settings, each) for each in _with_topics(settings, _differences)]
    invocation.output.table(rows, COLUMNS, empty="every topic is as it should be")
    return FOUND_A_FAULT if rows else DONE


@noun.command()
@data_option
@json_option
@click.pass_obj
def check(invocation: Invocation) -> int:
    """Tell of each topic whether it is as the settings say; exits with 1 where one is not."""
    settings = invocation.settings()
    found = _with_topics(settings, _differences)
    rows = []
    for plan in _plans(settings):
        faults = [
            f"missing, {each.wanted} partitions"
            if each.found is None
            else f"{each.name} {each.found}, not {each.wanted}"
            for each in found
            if each.stream == plan.stream
        ]
        rows.append({"topic": f"{settings.namespace}.{plan.stream}", "ok": not faults, "faults": faults})
    invocation.output.table(rows, {"topic": "topic", "ok": "ok", "faults": "faults"})
    return FOUND_A_FAULT if found else DONE


async def _differences(topics: "Topics", plans: "Sequence[TopicPlan]") -> "Sequence[Difference]":
    return await topics.diff(plans)


def _plans(settings: "Settings") -> "Sequence[TopicPlan]":
    from interaction_router.adapters.kafka.topics import plan  # noqa: PLC0415 - `--help` needs no clients

    return plan(settings.topics, settings.channels, inputs_elsewhere=settings.inputs_namespace is not None)


def _with_topics(
    settings: "Settings",
    work: "Callable[[Topics, Sequence[TopicPlan]], Awaitable[Answer]]",
    *,
    create: bool = False,
) -> Answer:
    from interaction_router.bootstrap.topics import topics_of  # noqa: PLC0415 - `--help` needs no clients

    async def done() -> Answer:
        async with topics_of(settings, create=create) as topics:
            return await work(topics, _plans(settings))

    return asyncio.run(done())


def _refuse_unfinished(settings: "Settings") -> None:
    """Make no whole router of one that a replay has begun: its log is without its end, and workers would start on it."""
    from interaction_router.bootstrap.replay import standing_of  # noqa: PLC0415 - `--help` needs no clients

    if asyncio.run(standing_of(settings)) == "unfinished":
        cause = f"A replay into {settings.namespace} has begun and not ended."
        raise FatalError("replay_unfinished", cause, "Replay into it again with --anew.")


def _deed(settings: "Settings", difference: "Difference") -> str:
    topic = f"{settings.namespace}.{difference.stream}"
    match difference.kind:
        case "missing":
            return f"create {topic} with {difference.wanted} partitions"
        case "partitions":
            return f"add partitions to {topic}: from {difference.found} to {difference.wanted}"
        case _:
            return f"set {difference.name} of {topic}: from {difference.found} to {difference.wanted}"


def _row(settings: "Settings", difference: "Difference") -> dict[str, object]:
    return {
        "topic": f"{settings.namespace}.{difference.stream}",
        "what": difference.name if difference.found is not None else "missing",
        "found": difference.found,
        "wanted": difference.wanted,
        "mendable": difference.mendable,
        "remedy": _remedy(difference),
    }


def _remedy(difference: "Difference") -> str:
    if difference.mendable:
        return "interaction-router topics apply"
    return REPLICATION if difference.kind == "replication" else FIXED
