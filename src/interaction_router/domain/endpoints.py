"""An endpoint's home: who owns it, and what goes to the owner."""

from collections.abc import Mapping

from interaction_router.domain.handover import carry, ensure_endpoint, in_records, index_parts, learn, take
from interaction_router.domain.ids import Entity
from interaction_router.domain.messages import Adopted, EndpointClaimed, EndpointReleased, HandUnlinked
from interaction_router.domain.rows import Conversation, Endpoint, Entry, conversation_key, endpoint_key
from interaction_router.domain.turn import Turn
from interaction_router.domain.values import replace

_CONFIRMS_NOTHING = -1


def claimed(turn: Turn, message: EndpointClaimed) -> None:
    """A contact claims the endpoint: it gets it, with all that is here, or hears who has it."""
    me, key = turn.record.to, endpoint_key(turn.tenant, message.party)
    claimant = Entity(turn.tenant, "contact", message.contact_id)
    endpoint = turn.get(key, Endpoint)
    if endpoint is not None and not _may_go_to(endpoint, message):
        turn.send(claimant, Adopted(message.party, message.number, granted=False, owner=endpoint.owner))
        return
    index = {} if endpoint is None else turn.index(me)
    turn.put(key, Endpoint(message.contact_id, message.number))
    _hand_over(turn, message.party, message.number, index, claimant)


def _may_go_to(endpoint: Endpoint, message: EndpointClaimed) -> bool:
    owner = endpoint.owner
    return owner is None or owner == message.contact_id or endpoint.number <= message.via.get(owner, 0)


def _hand_over(turn: Turn, party: str, number: int, index: Mapping[str, Entry], to: Entity) -> None:
    turn.need(conversation_key(entry.conversation_id) for entry in _here(index))
    rows = {entry.conversation_id: turn.row(conversation_key(entry.conversation_id)) for entry in _here(index)}
    conversations = [row for row in rows.values() if isinstance(row, Conversation)]
    conversations.sort(key=lambda row: row.opened_order)
    elsewhere = {
        field: entry.conversation_id for field, entry in index.items() if entry.to is not None and entry.to != to
    }
    for group in in_records(carry(turn, conversations, index, to)):
        turn.send(to, Adopted(party, number, granted=True, carried=group, final=False))
    *parts, last = index_parts(elsewhere)
    for part in parts:
        turn.send(to, Adopted(party, number, granted=True, index=part, final=False))
    turn.send(to, Adopted(party, number, granted=True, index=last))


def _here(index: Mapping[str, Entry]) -> list[Entry]:
    return [entry for entry in index.values() if entry.to is None]


def released(turn: Turn, message: EndpointReleased) -> None:
    """A contact gives the index back, and lets go of the claim that it means or an older one."""
    endpoint = ensure_endpoint(turn, message.party)
    learn(turn, message.index, Entity(turn.tenant, "contact", message.contact_id))
    if message.final and endpoint.owner == message.contact_id and endpoint.number <= message.number:
        turn.put(endpoint_key(turn.tenant, message.party), replace(endpoint, owner=None))


def hand_unlinked(turn: Turn, message: HandUnlinked) -> None:
    """A conversation comes back; where the endpoint is owned by now, it goes on to the owner, as a save's."""
    endpoint = ensure_endpoint(turn, message.party)
    take(turn, (message.carried,))
    if endpoint.owner is not None:
        owner = Entity(turn.tenant, "contact", endpoint.owner)
        _hand_over(turn, message.party, _CONFIRMS_NOTHING, message.carried.entries, owner)
