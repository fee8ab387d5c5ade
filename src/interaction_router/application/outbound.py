"""The gate for what goes out: may the agent use the channel, and which conversation would the interaction join?"""

from dataclasses import dataclass

from interaction_router.application.intake import Agents, IntakeSettings
from interaction_router.application.queries import Queries
from interaction_router.wire.addresses import canonical


@dataclass(frozen=True, slots=True)
class Outlook:
    """What would become of an outbound interaction now: nothing holds it, and nothing is written.

    `rule` is that of the update; with `opened_for_contact` and `opened_unlinked` there is no conversation yet.
    """

    allowed: bool
    code: str | None
    endpoint: str
    rule: str
    contact_id: str | None = None
    conversation_id: str | None = None
    previous_conversation_id: str | None = None


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
    """Return what would become of it, by the agents and the rows as they are now."""
    objection = agents.objection(tenant, agent_id, channel)
    allowed = objection is None or settings.unqualified == "flag"
    endpoint = canonical(channel, party, settings.region(tenant)).endpoint
    owner = await queries.owner(tenant, endpoint)
    contact = None if owner is None else await queries.contact(tenant, owner)
    if contact is None:
        return Outlook(allowed, objection, endpoint, "opened_unlinked")
    contact = await queries.survivor(contact)
    if contact.open is not None:
        return Outlook(allowed, objection, endpoint, "joined_open_conversation", contact.contact_id, contact.open)
    before = contact.last or contact.history
    previous = None if before is None else before.conversation_id
    return Outlook(allowed, objection, endpoint, "opened_for_contact", contact.contact_id, None, previous)
