"""`replay promote`: whether the router that a replay has made can take over, and how that is done and undone."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from interaction_router.cli.app import RouterCommand
from interaction_router.cli.faults import DONE, FOUND_A_FAULT
from interaction_router.cli.invocation import Invocation, json_option
from interaction_router.cli.nouns import PROGRAM
from interaction_router.cli.progress import Steps
from interaction_router.domain.errors import FatalError

if TYPE_CHECKING:
    from interaction_router.application.promotion import Finding, GoingOn
    from interaction_router.settings import Settings

COLUMNS: Final = {"what": "what", "verdict": "verdict", "detail": "detail"}
MOVES: Final = {"group": "group", "offsets": "goes on at", "unread": "to be read", "again": "read again"}


@dataclass(frozen=True, slots=True)
class Promotion:
    """What was found out, and where each group of subscribers goes on."""

    settings: "Settings"
    second: "Settings"
    findings: "Sequence[Finding]"
    groups: "Mapping[str, GoingOn]"
    partitions: int
    """How many the other router has."""

    @property
    def ready(self) -> bool:
        """Whether nothing is in the way."""
        return all(each.verdict == "ok" for each in self.findings)

    def rows(self) -> list[dict[str, object]]:
        """Return the findings to print."""
        return [{"what": each.what, "verdict": each.verdict, "detail": each.detail} for each in self.findings]

    def moves(self) -> list[dict[str, object]]:
        """Return the groups to print."""
        return [
            {
                "group": group,
                "offsets": {str(partition): offset for partition, offset in each.offsets.items()},
                "unread": each.unread,
                "again": each.again,
            }
            for group, each in self.groups.items()
        ]

    def own(self) -> dict[str, object]:
        """Return the settings that workers and commands of the other router have."""
        more = self.partitions if self.partitions != self.second.topics.partitions else None
        names = {
            "namespace": self.second.namespace,
            "inputs_namespace": self.second.inputs_namespace,
            "topics.partitions": more,
        }
        return {name: value for name, value in names.items() if value is not None}

    def back(self) -> str:
        """Return the command that leads back."""
        own = " ".join(f"--set {name}={value}" for name, value in self.own().items())
        groups = "".join(f" --subscriber {group}" for group in self.groups)
        return f"{PROGRAM} replay promote {own} --into {self.settings.namespace}{groups} --yes"


@click.command("promote", cls=RouterCommand, short_help="Tell whether the other router can take over, and move to it.")
@click.option("--into", metavar="NAMESPACE", required=True, help="The namespace of the other router.")
@click.option("--subscriber", "groups", metavar="GROUP", multiple=True, help="A consumer group to move; repeatable.")
@click.option("--verify", is_flag=True, help="Also compare the rows of both with their outcomes; reads all of them.")
@click.option("--yes", is_flag=True, help="Move the groups; without it, only say where they would go on.")
@json_option
@click.pass_obj
def promote_command(invocation: Invocation, *, into: str, groups: tuple[str, ...], verify: bool, yes: bool) -> int:
    """Tell whether the router that `replay log` has made can take over, and let subscribers go on with it.

    Its workers run beside these and read the same inputs, so that gateways change nothing: subscribers move, one by
    one, to its topics. For a consumer group that is stopped (--subscriber), it is found out where it goes on there
    without missing an update, and with --yes written as its offsets; what it knows already it drops by `seq`. These
    workers are stopped when the last has moved.

    Until then, and as long as the inputs are kept, the way back is the same the other way round: nothing of this router
    is changed. The command for it is printed. Exits with 1, and moves nobody, where something is not ready.
    """
    settings = invocation.settings()
    if settings.embedded.data_dir is not None:
        cause = "Embedded storage has one namespace a file: nobody else can read its inputs."
        raise FatalError("promote_embedded", cause, "Use the other namespace with --set namespace=NAME.")
    if into == settings.namespace:
        raise click.UsageError(f"{into} is this router: name the other with --into")
    if yes and not groups:
        raise click.UsageError("--yes moves consumer groups: name them with --subscriber")
    with Steps() as steps:
        found = asyncio.run(_promote(invocation, into, groups, steps, verify=verify, yes=yes))
    _tell(invocation, found, moved=yes and found.ready)
    return DONE if found.ready else FOUND_A_FAULT


async def _promote(
    invocation: Invocation, into: str, groups: Sequence[str], steps: Steps, *, verify: bool, yes: bool
) -> Promotion:
    from interaction_router.bootstrap import replay  # noqa: PLC0415 - `--help` needs none

    settings = invocation.settings()
    if into == settings.inputs_namespace:  # the way back: it has inputs of its own, and no other setting says so
        second = settings.model_copy(update={"namespace": into, "inputs_namespace": None})
    else:
        second = invocation.settings(replay.second_settings(settings, into, None))
    findings = await replay.examine_promotion(settings, second)
    if verify:
        findings += [await replay.examine_rows(each, steps.tell) for each in (settings, second)]
    found = Promotion(
        settings,
        second,
        findings,
        {group: await replay.going_on(settings, second, group) for group in groups},
        await replay.partition_count(second),
    )
    if yes and found.ready:
        for group, each in found.groups.items():
            await replay.move_group(second, group, each.offsets)
    return found


def _tell(invocation: Invocation, found: Promotion, *, moved: bool) -> None:
    before, after = found.settings.namespace, found.second.namespace
    topics = {f"{before}.{name}": f"{after}.{name}" for name in ("conversations.v1", "conversations.state.v1")}
    output = invocation.output
    if invocation.as_json:
        output.document(
            {
                "ready": found.ready,
                "findings": found.rows(),
                "settings": found.own(),
                "subscribers": topics,
                "groups": found.moves(),
                "moved": moved,
                "way_back": found.back(),
            }
        )
        return
    output.table(found.rows(), COLUMNS)
    output.text("")
    for name, value in found.own().items():
        output.text(f"workers and commands of {after} have {name} = {value}")
    for old, new in topics.items():
        output.text(f"subscribers of {old} go over to {new}, from the beginning or from before they left")
    if found.groups:
        output.text("")
        output.table(found.moves(), MOVES)
    output.text("")
    output.text(f"the way back: subscribers stop, {before} still has its workers, and then")
    output.text(f"  {found.back()}")
    if found.groups:
        output.note(
            "the groups are moved" if moved else "nothing was moved" + ("; --yes does it" if found.ready else "")
        )
