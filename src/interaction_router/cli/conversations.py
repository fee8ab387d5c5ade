"""`conversations`: list, show, close, link and unlink them."""

from typing import TYPE_CHECKING, Any, Literal

import click

from interaction_router.cli.app import RouterGroup
from interaction_router.cli.invocation import Invocation, json_option
from interaction_router.cli.lines import RULES, place_of, what_happened
from interaction_router.cli.storage import (
    ask,
    command_options,
    data_option,
    login_name,
    now,
    page_options,
    request,
    tell_fate,
    tenant_option,
    unknown,
    wait_option,
)
from interaction_router.domain.rows import Conversation

if TYPE_CHECKING:
    from interaction_router.application.queries import Queries, Step, Timeline
    from interaction_router.application.requests import Fate, Requests
    from interaction_router.settings import Settings

LIST_COLUMNS = {
    "conversation_id": "conversation",
    "status": "status",
    "contact_id": "contact",
    "endpoint": "endpoint",
    "opened_at": "opened",
    "last_interaction_at": "last interaction",
    "channels": "channels",
    "close_reason": "close reason",
}
STEP_COLUMNS = {
    "seq": "seq",
    "happened": "happened",
    "what": "what",
    "why": "why",
    "cause": "cause",
    "status": "status",
    "contact": "contact",
}


of_tenant = tenant_option("The tenant; that of the conversation where not given.", required=False)


@click.group("conversations", cls=RouterGroup, short_help="List, show, close, link and unlink conversations.")
def noun() -> None:
    """List, show, close, link and unlink conversations."""


@noun.command("list")
@tenant_option(required=True)
@click.option("--status", type=click.Choice(["open", "closed"]), help="Only those that are so now.")
@click.option("--contact", metavar="ID", help="Only those of this contact.")
@click.option("--address", metavar="ADDRESS", help="Only those that were opened with this address.")
@page_options(after="ID", behind="one")
@data_option
@json_option
@click.pass_obj
def list_(  # noqa: PLR0913 - a command takes its options
    invocation: Invocation,
    *,
    tenant: str,
    status: Literal["open", "closed"] | None,
    contact: str | None,
    address: str | None,
    after: str | None,
    limit: int,
) -> None:
    """List a tenant's conversations, those with the newest activity first; of a contact or address, the newest first.

    Those that were closed longer ago than `closed_retention` are not in the list.
    """
    from interaction_router.application.queries import conversation_json  # noqa: PLC0415 - `--help` needs no codec
    from interaction_router.bootstrap.terms import endpoint_of  # noqa: PLC0415 - likewise

    endpoint = None if address is None else endpoint_of(invocation.settings(), tenant, address)

    async def find(queries: "Queries") -> list[Conversation]:
        behind = None if after is None else await _found(queries, after, tenant)
        await queries.refuse_emptied()
        return await queries.conversations(
            tenant, status=status, contact_id=contact, endpoint=endpoint, after=behind, limit=limit
        )

    found = ask(invocation, find)
    invocation.output.table([conversation_json(row) for row in found], LIST_COLUMNS, empty="no conversations")
    if len(found) == limit and not invocation.as_json:
        invocation.output.note(f"there may be more: --after {found[-1].conversation_id}")


@noun.command()
@click.argument("conversation_id", metavar="ID")
@tenant_option("Only where it is this tenant's.", required=False)
@data_option
@json_option
@click.pass_obj
def show(invocation: Invocation, conversation_id: str, *, tenant: str | None) -> None:
    """Show a conversation as it stands, and why: each of its updates with its rule and the record that caused it.

    Interactions are in the order in which they happened. Of an erased conversation no interaction is shown.
    """
    from interaction_router.application.queries import conversation_json  # noqa: PLC0415 - `--help` needs no codec

    async def look(queries: "Queries") -> "tuple[Conversation, Timeline]":
        row = await _found(queries, conversation_id, tenant)
        return row, await queries.timeline(row)

    row, timeline = ask(invocation, look)
    erased = row.status == "erased"
    standing = conversation_json(row)
    if invocation.as_json:
        steps = [_step_json(step, erased=erased) for step in timeline.steps]
        invocation.output.document({**standing, "timeline": steps})
        return
    invocation.output.record(standing)
    invocation.output.text("")
    rows = [_step_row(step, erased=erased) for step in timeline.steps]
    invocation.output.table(rows, STEP_COLUMNS, empty="none of its updates is kept any longer")
    if timeline.steps and timeline.first_seq > 1:
        invocation.output.note(f"updates before seq {timeline.first_seq} are no longer kept")
    if timeline.steps and timeline.last_seq < row.seq:
        invocation.output.note(
            f"updates after seq {timeline.last_seq} are not written yet; the conversation is at {row.seq}"
        )


async def _found(queries: "Queries", conversation_id: str, tenant: str | None) -> Conversation:
    row = await queries.find_conversation(conversation_id)
    if row is None:
        await queries.refuse_emptied()
    if row is None or tenant not in {None, row.tenant}:
        raise unknown("conversation_unknown", "conversation", conversation_id)
    return row


def _step_json(step: "Step", *, erased: bool) -> dict[str, Any]:
    update = _without_person(step.update) if erased else step.update
    before = {"status": step.status_before, "contact_id": None if erased else step.contact_before}
    after = {"status": update["status"], "contact_id": update["contact_id"]}
    return {"update": update, "happened_at": step.happened_at, "before": before, "after": after}


def _step_row(step: "Step", *, erased: bool) -> dict[str, object]:
    update = _without_person(step.update) if erased else step.update
    cause = update["cause"]
    contact_before = None if erased else step.contact_before
    return {
        "seq": update["seq"],
        "happened": step.happened_at,
        "what": str(update["type"]).partition(".")[2] if erased else what_happened(update),
        "why": f"{cause['rule']}: {RULES.get(cause['rule'], '')}".rstrip(": "),
        "cause": place_of(cause),
        "status": _change(step.status_before, update["status"]),
        "contact": _change(contact_before, update["contact_id"]),
    }


def _without_person(update: dict[str, Any]) -> dict[str, Any]:
    """Return an update of an erased conversation: the topic keeps for a while what nobody is to see any more."""
    kept = {name: value for name, value in update.items() if name != "interaction"}
    return {**kept, "contact_id": None, "endpoint": None}


def _change(before: str | None, after: str | None) -> str:
    return (after or "-") if before == after else f"{before or '-'} → {after or '-'}"


@noun.command()
@click.argument("conversation_id", metavar="ID")
@click.option("--reason", metavar="TEXT", help="Kept with the command.")
@of_tenant
@command_options
@wait_option
@data_option
@json_option
@click.pass_obj
def close(invocation: Invocation, /, conversation_id: str, **given: Any) -> int:  # Any: click's options, passed on
    """Close a conversation. Closed is final: what comes later opens a new one."""
    return _command(invocation, "conversation.close", conversation_id, given)


@noun.command()
@click.argument("conversation_id", metavar="ID")
@click.argument("contact_id", metavar="CONTACT")
@of_tenant
@command_options
@wait_option
@data_option
@json_option
@click.pass_obj
def link(invocation: Invocation, /, conversation_id: str, **given: Any) -> int:  # Any: click's options, passed on
    """Link one unlinked conversation to a saved contact; its address stays unsaved."""
    return _command(invocation, "conversation.link", conversation_id, given)


@noun.command()
@click.argument("conversation_id", metavar="ID")
@of_tenant
@command_options
@wait_option
@data_option
@json_option
@click.pass_obj
def unlink(invocation: Invocation, /, conversation_id: str, **given: Any) -> int:  # Any: click's options, passed on
    """Undo a link by hand, of a conversation that holds one interaction."""
    return _command(invocation, "conversation.unlink", conversation_id, given)


def _command(invocation: Invocation, kind: str, conversation_id: str, given: dict[str, Any]) -> int:
    """Send a command about a conversation; its tenant is looked up where it was not given."""
    wait_s: float = given.pop("wait")

    async def send(requests: "Requests", queries: "Queries", _settings: "Settings") -> "Fate":
        tenant = given["tenant"] or (await _found(queries, conversation_id, None)).tenant
        fields = {**given, "type": kind, "conversation_id": conversation_id, "tenant": tenant, "at": now()}
        fields["actor"] = given["actor"] or login_name()
        return await requests.command(fields, wait_s=wait_s)

    return tell_fate(invocation, request(invocation, send), wait_s=wait_s)
