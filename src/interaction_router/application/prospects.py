"""What would become of an interaction, by the agents and the rows as they are now. Nothing holds it to that."""

from dataclasses import dataclass
from typing import Final

from interaction_router.application.intake import Agents, IntakeSettings, admitted
from interaction_router.application.queries import Queries
from interaction_router.domain.errors import RejectedError
from interaction_router.domain.interactions import Interaction, is_receipt
from interaction_router.wire.addresses import canonical
from interaction_router.wire.interactions import RawInteraction, address_of


@dataclass(frozen=True, slots=True)
class Prospect:
    """Where it would go, by the rule that its update would have; with an `opened_…` there is no conversation yet.

    An arrival late or by a machine may still join the closed one that `previous_conversation_id` names.
    """

    rule: str
    endpoint: str | None
    contact_id: str | None = None
    conversation_id: str | None = None
    previous_conversation_id: str | None = None


WITHHELD: Final = Prospect("opened_unlinked", None)
"""Where every interaction goes whose party nobody knows."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """Whether an agent may, with the code of what is against it, and where the interaction would go."""

    allowed: bool
    code: str | None
    prospect: Prospect


async def prospect(queries: Queries, tenant: str, endpoint: str, interaction: Interaction | None = None) -> Prospect:
    """Return where an interaction of an endpoint would go; of a given one also whether it is known."""
    owner = await queries.owner(tenant, endpoint)
    contact = None if owner is None else await queries.contact(tenant, owner)
    contact = None if contact is None else await queries.survivor(contact)
    contact_id = None if contact is None else contact.contact_id
    if interaction is not None:
        known = await queries.conversation_of(tenant, endpoint, contact_id, interaction)
        if known is not None:
            return Prospect("event_of_known", endpoint, contact_id, known)
    if contact is None:
        return Prospect("opened_unlinked", endpoint)
    if contact.open is not None:
        return Prospect("joined_open_conversation", endpoint, contact_id, contact.open)
    latest = contact.last or contact.history
    return Prospect(
        "opened_for_contact", endpoint, contact_id, None, None if latest is None else latest.conversation_id
    )


async def prospect_of(queries: Queries, agents: Agents, settings: IntakeSettings, raw: RawInteraction) -> Prospect:
    """Return where a raw interaction would go.

    Raises:
        RejectedError: it would be refused.
    """
    _, event = admitted(raw, settings, agents)
    interaction = raw.interaction
    if not event.withheld:
        return await prospect(queries, raw.tenant, event.party, interaction)
    known = await queries.conversation_of(raw.tenant, event.party, None, interaction)
    if known is not None:
        return Prospect("event_of_known", None, None, known)
    if is_receipt(interaction.channel, interaction.status):
        raise RejectedError("interaction_unknown", "a receipt that names no party is of no known interaction")
    return WITHHELD


async def outlook(  # noqa: PLR0913 - what is asked, and whom
    queries: Queries,
    agents: Agents,
    settings: IntakeSettings,
    *,
    tenant: str,
    agent_id: str | None,
    channel: str,
    party: str,
) -> Outlook:
    """Return whether an agent may use a channel, and where an interaction with the party would go."""
    objection = agents.objection(tenant, agent_id, channel)
    allowed = objection is None or settings.unqualified == "flag"
    if address_of(party) is None:
        return Outlook(allowed, objection, WITHHELD)
    endpoint = canonical(channel, party, settings.region(tenant)).endpoint
    return Outlook(allowed, objection, await prospect(queries, tenant, endpoint))
