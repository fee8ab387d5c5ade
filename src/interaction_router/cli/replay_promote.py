"""`replay promote`: whether the router that a replay has made can take over, and how that is done and undone."""

import asyncio

import click

from interaction_router.cli.app import RouterCommand
from interaction_router.cli.faults import DONE, FOUND_A_FAULT
from interaction_router.cli.invocation import Invocation, json_option
from interaction_router.domain.errors import FatalError

COLUMNS = {"what": "what", "verdict": "verdict", "detail": "detail"}


@click.command("promote", cls=RouterCommand, short_help="Tell whether the other router can take over, and how.")
@click.option("--into", metavar="NAMESPACE", required=True, help="The namespace of the other router.")
@json_option
@click.pass_obj
def promote_command(invocation: Invocation, *, into: str) -> int:
    """Tell whether the router that `replay log` has made can take over, and what is to be changed for it.

    Its workers run beside these and read the same inputs, so that gateways change nothing: subscribers move, one by
    one, to its topics, and keep the highest `seq` that they know. These workers are stopped when the last has moved.
    Until then, and as long as the inputs are kept, the way back is the same the other way round: nothing of this
    router is changed. Exits with 1 where something is not ready.
    """
    from interaction_router.bootstrap.replay import examine_promotion, second_settings  # noqa: PLC0415 - `--help` needs none

    settings = invocation.settings()
    if settings.embedded.data_dir is not None:
        cause = "Embedded storage has one namespace a file: nobody else can read its inputs."
        raise FatalError("promote_embedded", cause, "Use the other namespace with --set namespace=NAME.")
    if into == settings.namespace:
        raise click.UsageError(f"{into} is this router: name the other with --into")
    second = invocation.settings(second_settings(settings, into, None))
    findings = asyncio.run(examine_promotion(settings, second))
    ready = all(each.verdict == "ok" for each in findings)
    rows = [{"what": each.what, "verdict": each.verdict, "detail": each.detail} for each in findings]
    own = {"namespace": second.namespace, "inputs_namespace": second.inputs_namespace}
    topics = {
        f"{settings.namespace}.{name}": f"{into}.{name}" for name in ("conversations.v1", "conversations.state.v1")
    }
    if invocation.as_json:
        invocation.output.document({"ready": ready, "findings": rows, "settings": own, "subscribers": topics})
        return DONE if ready else FOUND_A_FAULT
    invocation.output.table(rows, COLUMNS)
    invocation.output.text("")
    for name, value in own.items():
        invocation.output.text(f"workers and commands of {into} have {name} = {value}")
    for before, after in topics.items():
        invocation.output.text(
            f"subscribers of {before} go over to {after}, from the beginning or from before they left"
        )
    invocation.output.text(
        f"the way back: workers of {settings.namespace} go on where they stopped, and subscribers return"
    )
    return DONE if ready else FOUND_A_FAULT
