"""`contacts`: save, show, find, merge, delete and erase them."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from interaction_router.cli.app import RouterGroup
from interaction_router.cli.invocation import Invocation, json_option
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
from interaction_router.domain.rows import Contact

if TYPE_CHECKING:
    from interaction_router.application.queries import Queries
    from interaction_router.application.requests import Fate, Requests
    from interaction_router.settings import Settings

LIST_COLUMNS = {
    "contact_id": "contact",
    "state": "state",
    "name": "name",
    "addresses": "addresses",
    "open_conversation_id": "open conversation",
}


@click.group("contacts", cls=RouterGroup, short_help="List, save, show, find, merge, delete and erase contacts.")
def noun() -> None:
    """List, save, show, find, merge, delete and erase contacts."""


@noun.command()
@click.argument("contact_id", metavar="ID")
@tenant_option(required=True)
@data_option
@json_option
@click.pass_obj
def show(invocation: Invocation, contact_id: str, *, tenant: str) -> None:
    """Show a contact: its addresses, its open conversation; of an alias also whose it is."""

    async def look(queries: "Queries") -> tuple[Contact | None, Contact | None]:
        row = await queries.contact(tenant, contact_id)
        if row is None:
            await queries.refuse_emptied()
        return row, None if row is None else await queries.survivor(row)

    row, survivor = ask(invocation, look)
    if row is None or row.state == "absent":
        raise unknown("contact_unknown", "contact", contact_id)
    _print(invocation, row, survivor)


@noun.command("list")
@tenant_option(required=True)
@page_options(after="ID", behind="one")
@click.option("--all", "every", is_flag=True, help="Aliases, and those that are deleted or erased, too.")
@data_option
@json_option
@click.pass_obj
def list_(invocation: Invocation, *, tenant: str, after: str | None, limit: int, every: bool) -> None:
    """List a tenant's contacts by their ids."""

    async def find(queries: "Queries") -> list[Contact]:
        await queries.refuse_emptied()
        return await queries.contacts(tenant, after=after or "", limit=limit, every=every)

    found = ask(invocation, find)
    invocation.output.table([_fields(row, None) for row in found], LIST_COLUMNS, empty="no contacts")
    if len(found) == limit and not invocation.as_json:
        invocation.output.note(f"there may be more: --after {found[-1].contact_id}")


@noun.command()
@click.argument("address", metavar="ADDRESS")
@tenant_option(required=True)
@data_option
@json_option
@click.pass_obj
def find(invocation: Invocation, address: str, *, tenant: str) -> None:
    """Show the contact that an address belongs to."""
    from interaction_router.bootstrap.terms import endpoint_of  # noqa: PLC0415 - `--help` needs no clients

    endpoint = endpoint_of(invocation.settings(), tenant, address)

    async def look(queries: "Queries") -> tuple[Contact | None, Contact | None]:
        owner = await queries.owner(tenant, endpoint)
        row = None if owner is None else await queries.contact(tenant, owner)
        if row is None:
            await queries.refuse_emptied()
        return row, None if row is None else await queries.survivor(row)

    row, survivor = ask(invocation, look)
    if row is None:
        raise unknown("contact_unknown", "contact with the address", endpoint)
    _print(invocation, row, survivor)


def _print(invocation: Invocation, row: Contact, survivor: Contact | None) -> None:
    invocation.output.record(_fields(row, survivor))


def _fields(row: Contact, survivor: Contact | None) -> dict[str, object]:
    fields: dict[str, object] = {
        "tenant": row.tenant,
        "contact_id": row.contact_id,
        "state": row.state,
        "name": row.name,
        "addresses": [party for party, claim in row.endpoints.items() if claim.state == "confirmed"],
        "addresses_of_others": [party for party, claim in row.endpoints.items() if claim.state == "refused"],
        "addresses_pending": [party for party, claim in row.endpoints.items() if claim.state == "claimed"],
        "open_conversation_id": row.open,
        "last_conversation_id": None if row.last is None else row.last.conversation_id,
        "aliases": list(row.aliases),
    }
    if survivor is not None and survivor is not row:
        fields["alias_of"] = survivor.contact_id
    return fields


@noun.command()
@click.argument("contact_id", metavar="ID")
@tenant_option(required=True)
@click.option("--name", metavar="TEXT", help="The contact's name.")
@click.option("--address", "addresses", metavar="ADDRESS", multiple=True, help="One of its addresses; repeatable.")
@click.option("--no-addresses", is_flag=True, help="Save it without any.")
@wait_option
@data_option
@json_option
@click.pass_obj
def save(  # noqa: PLR0913 - a command takes its options
    invocation: Invocation,
    contact_id: str,
    *,
    tenant: str,
    name: str | None,
    addresses: tuple[str, ...],
    no_addresses: bool,
    wait: float,
) -> int:
    """Save a contact with all of its addresses; one that it had and that is not named is released.

    Unlinked conversations of the addresses become the contact's.
    """
    if bool(addresses) is no_addresses:
        raise click.UsageError("give every address of the contact with --address, or --no-addresses where it has none")
    fields = {"type": "contact.saved", "name": name, "addresses": list(addresses)}
    return _event(invocation, tenant, contact_id, fields, wait)


@noun.command()
@click.argument("contact_id", metavar="ID")
@tenant_option(required=True)
@wait_option
@data_option
@json_option
@click.pass_obj
def delete(invocation: Invocation, contact_id: str, *, tenant: str, wait: float) -> int:
    """Delete a contact: its open conversation is closed, its addresses are released, its history stays."""
    return _event(invocation, tenant, contact_id, {"type": "contact.deleted"}, wait)


@noun.command()
@click.argument("contact_id", metavar="ID")
@click.argument("into", metavar="INTO")
@tenant_option(required=True)
@wait_option
@data_option
@json_option
@click.pass_obj
def merge(invocation: Invocation, contact_id: str, into: str, *, tenant: str, wait: float) -> int:
    """Merge contact ID into contact INTO; ID goes on as an alias."""
    return _event(invocation, tenant, contact_id, {"type": "contact.merged", "into": into}, wait)


@noun.command()
@click.argument("contact_id", metavar="ID")
@tenant_option(required=True)
@command_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@wait_option
@data_option
@json_option
@click.pass_obj
def erase(invocation: Invocation, /, contact_id: str, *, yes: bool, wait: float, **given: Any) -> int:  # Any: click's
    """Delete a contact and remove what is personal from its conversations. It cannot be undone."""
    if not yes:
        _confirm(f"Erase contact {contact_id} of {given['tenant']} for good?")
    fields = {**given, "type": "contact.erase", "contact_id": contact_id, "at": now()}
    fields["actor"] = given["actor"] or login_name()

    async def send(requests: "Requests", _queries: "Queries", _settings: "Settings") -> "Fate":
        return await requests.command(fields, wait_s=wait)

    return tell_fate(invocation, request(invocation, send), wait_s=wait)


def _event(invocation: Invocation, tenant: str, contact_id: str, own: Mapping[str, object], wait_s: float) -> int:
    """Send a contact event."""
    from interaction_router.bootstrap.terms import intake_settings  # noqa: PLC0415 - `--help` needs no clients

    fields = {"tenant": tenant, "contact_id": contact_id, "at": now(), **own}

    async def send(requests: "Requests", _queries: "Queries", settings: "Settings") -> "Fate":
        region = intake_settings(settings).region(tenant)
        return await requests.contact_event(fields, region=region, wait_s=wait_s)

    return tell_fate(invocation, request(invocation, send), wait_s=wait_s)


def _confirm(question: str) -> None:
    """Ask, and go on only after a yes. Raises: UsageError where standard input ends without an answer."""
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)
        message = "nobody answers on standard input; give --yes"
        raise click.UsageError(message) from None
    if not agreed:
        raise click.Abort
