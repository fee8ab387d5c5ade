"""`state`: compare the tables and the state topic with the outcomes, and make tables anew."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from interaction_router.cli.app import RouterGroup
from interaction_router.cli.collecting import collect_rarely
from interaction_router.cli.faults import DONE, FOUND_A_FAULT, INTERRUPTED
from interaction_router.cli.interrupting import StopSeen, run_interruptible
from interaction_router.cli.invocation import Invocation, json_option
from interaction_router.cli.nouns import PROGRAM
from interaction_router.cli.progress import Steps
from interaction_router.cli.ranges import chosen_partitions, tables_option
from interaction_router.cli.state_copies import export_command, import_command
from interaction_router.cli.storage import data_option

if TYPE_CHECKING:
    from interaction_router.application.rebuilding import Rebuilding
    from interaction_router.application.snapshotting import Taken
    from interaction_router.application.verification import Difference

COLUMNS: Final = {"what": "what", "partition": "partition", "key": "key", "found": "is", "wanted": "should be"}
PLANS: Final = {
    "partition": "partition",
    "state": "tables",
    "applied": "applied",
    "up_to": "rebuilt to",
    "outcomes": "outcomes",
    "base": "goes on from",
}
PLAIN: Final = frozenset(
    {
        "type", "state", "status", "seq", "saves", "number", "into", "open", "owner", "conversation_id", "contact_id",
        "previous", "interaction_count", "channels", "close_reason", "linked_by", "opened_at_ms", "opened_offset",
        "closed_at_ms", "last_interaction_at_ms", "opened_at", "closed_at", "last_interaction_at",
        "previous_conversation_id",
    }
)  # fmt: skip
"""Fields of rows that hold no personal data; of the others only the name is told."""
HIDDEN: Final = "…"


@click.group("state", cls=RouterGroup, short_help="Compare the tables with the outcomes, and make them anew.")
def noun() -> None:
    """Compare the tables and the state topic with the outcomes that they come from, and make tables anew."""
    collect_rarely()


@noun.command()
@tables_option("Only this one's tables, and not the state topic")
@click.option("--values", is_flag=True, help="Show whole values, personal data too.")
@click.option("--repair-state-topic", is_flag=True, help="Write differing conversations to the state topic again.")
@data_option
@json_option
@click.pass_obj
def verify(invocation: Invocation, *, partitions: tuple[int, ...], values: bool, repair_state_topic: bool) -> int:
    """Compare every row with the fold of the outcomes, and the state topic with the rows.

    Workers may run meanwhile. Names each difference (a changed, a missing, an extra row) and exits with 1 where there is
    one; nothing is changed, but for the state topic where that is asked for.
    """
    if partitions and repair_state_topic:
        message = "the state topic is compared only where all partitions are: leave --partition out"
        raise click.UsageError(message)
    with Steps() as steps:
        found, repaired = asyncio.run(_verify(invocation, partitions, steps, repair=repair_state_topic))
    rows = [_row(difference, values=values) for difference in found]
    if invocation.as_json:
        invocation.output.document({"differences": rows, "state_topic_repaired": repaired})
    else:
        invocation.output.table(rows, COLUMNS, empty="the tables are what the outcomes make of them")
        if repaired:
            invocation.output.note(f"{repaired} conversations written to the state topic again")
        elif found and repair_state_topic:
            invocation.output.note("the state topic is untouched: its rows have to be right first; see `state rebuild`")
    return FOUND_A_FAULT if len(found) > repaired else DONE


async def _verify(
    invocation: Invocation, partitions: Sequence[int], steps: Steps, *, repair: bool
) -> "tuple[list[Difference], int]":
    from interaction_router.application.states import CONVERSATIONS, write_states  # noqa: PLC0415 - `--help` needs none
    from interaction_router.bootstrap.state import opened_state, verified  # noqa: PLC0415 - likewise

    async with opened_state(invocation.settings()) as state:
        found = await verified(
            state, chosen_partitions(state.views.partitions, partitions), steps.tell, topic=not partitions
        )
        wrong = [each.key.removeprefix(CONVERSATIONS) for each in found if each.kind.startswith("state_")]
        if not repair or len(wrong) < len(found):  # of wrong rows nothing right can be written
            return found, 0
        return found, await write_states(state.log, state.tables, state.views, wrong, tombstones=True)


@noun.command()
@tables_option("Only this one")
@click.option("--from-start", is_flag=True, help="Fold all outcomes, whatever snapshots there are.")
@click.option("--yes", is_flag=True, help="Do it; without this it is only said what would be done.")
@data_option
@json_option
@click.pass_obj
def rebuild(invocation: Invocation, *, partitions: tuple[int, ...], from_start: bool, yes: bool) -> int:
    """Make tables anew from the outcomes, beside those that stand, and put them in place all at once.

    Says what it would do; with --yes it does it. Workers may run: those of other partitions notice nothing, that of the
    partition itself waits for the last step and takes it over anew. One that was broken off is gone on with. Ctrl-C ends
    it where no partition is waiting.
    """
    with Steps() as steps:
        plans, left = run_interruptible(
            lambda stop: _rebuild(invocation, partitions, steps, stop, from_start=from_start, yes=yes)
        )
    rows = [_plan(plan, after) for plan, after in plans]
    if invocation.as_json:
        invocation.output.document({"dry_run": not yes, "partitions": rows})
    else:
        invocation.output.table(rows, PLANS, empty="nothing was changed")
    if left:
        again = "".join(f" --partition {partition}" for partition in left)
        invocation.output.note(f"interrupted; to go on: {PROGRAM} state rebuild{again} --yes")
        return INTERRUPTED
    if not invocation.as_json:
        rebuilt = f"{len(rows)} partitions rebuilt; see `{PROGRAM} state verify`"
        invocation.output.note(rebuilt if yes else "nothing was changed; add --yes to do it")
    return DONE


async def _rebuild(
    invocation: Invocation, partitions: Sequence[int], steps: Steps, stop: asyncio.Event, *, from_start: bool, yes: bool
) -> "tuple[list[tuple[Rebuilding, int | None]], list[int]]":
    """Return the plans with what came of them, and the partitions that are left where somebody interrupts."""
    from interaction_router.application.rebuilding import Rebuilder, catch_up  # noqa: PLC0415 - `--help` needs none
    from interaction_router.application.snapshots import Snapshots  # noqa: PLC0415 - likewise
    from interaction_router.bootstrap.state import opened_state  # noqa: PLC0415 - likewise

    async with opened_state(invocation.settings()) as state:
        chosen = chosen_partitions(state.views.partitions, partitions)
        lineage = state.views.lineage
        snapshots = None if from_start else Snapshots(state.log, lineage=lineage)
        rebuilder = Rebuilder(
            state.log, state.tables, state.upkeep, lineage=lineage, snapshots=snapshots, observer=state.observer
        )
        plans: list[tuple[Rebuilding, int | None]] = [(await rebuilder.look(partition), None) for partition in chosen]
        if not yes:
            return plans, []
        done: list[tuple[Rebuilding, int | None]] = []
        with suppress(StopSeen):
            for plan, _ in plans:
                told = partial(_tell, steps, plan.partition, up_to=plan.up_to, stop=stop)
                done.append((plan, await rebuilder.rebuild(plan.partition, told)))
        for plan, _ in done:  # behind all of them, since a conversation may have moved from one to another
            await catch_up(state.log, state.tables, state.views, plan.partition)
        return done, [plan.partition for plan, _ in plans[len(done) :]]


@noun.command()
@tables_option("Only this one")
@click.option("--trim", is_flag=True, help="Then remove the outcomes that no rebuild needs any more, for good.")
@data_option
@json_option
@click.pass_obj
def snapshot(invocation: Invocation, *, partitions: tuple[int, ...], trim: bool) -> None:
    """Write what the outcomes come to so far into the topic of snapshots, so that a rebuild need not fold them again.

    Workers notice nothing. It is made from the outcomes, not from the tables, and begins at the snapshot of before.
    """
    with Steps() as steps:
        taken = asyncio.run(_snapshot(invocation, partitions, steps))
    if trim:
        asyncio.run(_trim(invocation, {each.partition: each.removable for each in taken}))
    columns = {"partition": "partition", "applied": "applied", "chunks": "records", "removable": "outcomes needed from"}
    invocation.output.table([asdict(each) for each in taken], columns)


async def _trim(invocation: Invocation, ends: Mapping[int, int]) -> None:
    from interaction_router.application.outcomes import OUTCOMES  # noqa: PLC0415 - `--help` needs none
    from interaction_router.bootstrap.topics import topics_of  # noqa: PLC0415 - likewise

    async with topics_of(invocation.settings()) as topics:
        await topics.trim(OUTCOMES, ends)


async def _snapshot(invocation: Invocation, partitions: Sequence[int], steps: Steps) -> "list[Taken]":
    from interaction_router.application.snapshots import SNAPSHOTS, Snapshots  # noqa: PLC0415 - `--help` needs none
    from interaction_router.application.snapshotting import take_snapshot  # noqa: PLC0415 - likewise
    from interaction_router.bootstrap.state import opened_state, scratch  # noqa: PLC0415 - likewise

    done: list[Taken] = []
    async with opened_state(invocation.settings()) as state:
        await state.log.partitions(SNAPSHOTS)
        snapshots = Snapshots(state.log, lineage=state.views.lineage, observer=state.observer)
        live = (state.tables, state.upkeep)
        for partition in chosen_partitions(state.views.partitions, partitions):
            told = partial(_tell, steps, partition)
            with scratch() as fold:
                done.append(await take_snapshot(state.log, snapshots, partition, live=live, scratch=fold, told=told))
    return done


def _tell(steps: Steps, partition: int, at: int, up_to: int, *, stop: asyncio.Event | None = None) -> None:
    if stop is not None and stop.is_set():
        raise StopSeen
    steps.tell(f"outcomes of partition {partition}", at + 1, max(at, up_to) + 1)


def _base(plan: "Rebuilding") -> str:
    if plan.shadow >= 0:
        return f"a rebuild broken off at {plan.shadow}"
    return "the start" if plan.snapshot < 0 else f"the snapshot of {plan.snapshot}"


def _plan(plan: "Rebuilding", after: int | None) -> dict[str, object]:
    return {
        "partition": plan.partition,
        "state": plan.reason or "usable",
        "applied": plan.applied,
        "up_to": plan.up_to if after is None else after,
        "outcomes": plan.bounds.end - plan.bounds.first,
        "base": _base(plan),
    }


def _row(difference: "Difference", *, values: bool) -> dict[str, object]:
    from interaction_router.application.verification import values as values_of  # noqa: PLC0415 - `--help` needs none

    found, wanted = values_of(difference)
    if not values and isinstance(found, Mapping) and isinstance(wanted, Mapping):
        names = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
        found, wanted = _plain(found, names), _plain(wanted, names)
    elif not values:
        found, wanted = _plain(found, PLAIN), _plain(wanted, PLAIN)
    return {
        "what": difference.kind,
        "partition": difference.partition,
        "key": difference.key,
        "found": found,
        "wanted": wanted,
    }


def _plain(value: Any, names: Any) -> Any:  # Any: JSON
    """Return what may be shown of a row's value: these fields, those with personal data only by their names."""
    if not isinstance(value, Mapping):
        return value if value is None or isinstance(value, int | float) else HIDDEN
    return {name: value[name] if name in PLAIN else HIDDEN for name in value if name in names}


noun.add_command(export_command)
noun.add_command(import_command)
