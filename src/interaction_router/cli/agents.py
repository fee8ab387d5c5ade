"""`agents`: who is qualified for which channels."""

from typing import TYPE_CHECKING

import click

from interaction_router.cli.app import RouterGroup
from interaction_router.cli.invocation import Invocation, json_option
from interaction_router.cli.storage import ask, data_option, request, tenant_option, unknown

if TYPE_CHECKING:
    from interaction_router.application.queries import AgentStanding, Queries
    from interaction_router.application.requests import Requests
    from interaction_router.settings import Settings

COLUMNS = {"tenant": "tenant", "agent_id": "agent", "name": "name", "channels": "channels"}


@click.group("agents", cls=RouterGroup, short_help="List, show, set and remove agents and their channels.")
def noun() -> None:
    """List, show, set and remove agents and their channels.

    A tenant is checked while it has at least one agent: an outbound interaction of another agent is then refused.
    """


@noun.command("list")
@tenant_option("Only those of this tenant.", required=False)
@data_option
@json_option
@click.pass_obj
def list_(invocation: Invocation, *, tenant: str | None) -> None:
    """List the agents, as their topic has them."""

    async def find(queries: "Queries") -> "list[AgentStanding]":
        return await queries.agents(tenant)

    rows = [_fields(each) for each in ask(invocation, find)]
    invocation.output.table(rows, COLUMNS, empty="no agents: nobody is checked")


def _fields(standing: "AgentStanding") -> dict[str, object]:
    agent = standing.agent
    return {
        "tenant": agent.tenant,
        "agent_id": agent.agent_id,
        "name": agent.name,
        "channels": sorted(agent.channels),
    }


@noun.command()
@click.argument("agent_id", metavar="ID")
@tenant_option(required=True)
@data_option
@json_option
@click.pass_obj
def show(invocation: Invocation, agent_id: str, *, tenant: str) -> None:
    """Show an agent and the channels that it is qualified for."""

    async def find(queries: "Queries") -> "AgentStanding | None":
        return await queries.agent(tenant, agent_id)

    standing = ask(invocation, find)
    if standing is None:
        raise unknown("agent_unknown", "agent", agent_id)
    invocation.output.record(_fields(standing))


@noun.command("set")
@click.argument("agent_id", metavar="ID")
@tenant_option(required=True)
@click.option("--name", metavar="TEXT", help="The agent's name.")
@click.option("--channel", "channels", metavar="NAME", multiple=True, help="A channel that it may use; repeatable.")
@data_option
@json_option
@click.pass_obj
def set_(invocation: Invocation, agent_id: str, *, tenant: str, name: str | None, channels: tuple[str, ...]) -> None:
    """Set an agent's name and channels, all of them; from then on they count."""
    known = invocation.settings().channels
    for channel in channels:
        if channel not in known:
            raise click.BadParameter(f"{channel!r} is none of the channels {', '.join(known)}", param_hint="--channel")

    async def write(requests: "Requests", _queries: "Queries", _settings: "Settings") -> None:
        await requests.set_agent(tenant, agent_id, name=name, channels=channels)

    request(invocation, write)
    row = {"tenant": tenant, "agent_id": agent_id, "name": name, "channels": list(channels)}
    if invocation.as_json:
        invocation.output.document(row)
    else:
        told = ", ".join(channels) or "no channel"
        invocation.output.note(f"agent {agent_id} of {tenant} is qualified for {told}")


@noun.command()
@click.argument("agent_id", metavar="ID")
@tenant_option(required=True)
@data_option
@json_option
@click.pass_obj
def remove(invocation: Invocation, agent_id: str, *, tenant: str) -> None:
    """Remove an agent; without any, the tenant's interactions are no longer checked."""

    async def write(requests: "Requests", _queries: "Queries", _settings: "Settings") -> bool:
        return await requests.remove_agent(tenant, agent_id)

    if not request(invocation, write):
        raise unknown("agent_unknown", "agent", agent_id)
    if invocation.as_json:
        invocation.output.document({"tenant": tenant, "agent_id": agent_id, "removed": True})
    else:
        invocation.output.note(f"agent {agent_id} of {tenant} is removed")
