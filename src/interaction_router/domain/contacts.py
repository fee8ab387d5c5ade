"""A contact's home: saves, deletions, and what its endpoints hand over."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from interaction_router.domain.events import Conflicted
from interaction_router.domain.handover import index_of, index_parts, learn, pass_by, take
from interaction_router.domain.ids import Entity
from interaction_router.domain.messages import (
    Adopted,
    AliasEnded,
    ContactDeleted,
    ContactSaved,
    EdgeStruck,
    EndpointClaimed,
    EndpointReleased,
    EndpointsAdded,
    EraseAsked,
    SettleContinued,
)
from interaction_router.domain.rows import Claim, Contact, Conversation, RowKey, conversation_key, index_bucket
from interaction_router.domain.turn import Turn
from interaction_router.domain.values import replace

SETTLE_STEP = 500
"""At most so many conversations of one contact are linked by one record."""


def saved(turn: Turn, message: ContactSaved) -> None:
    """The whole contact is saved: claim what is new to it, let go of what is no longer listed."""
    contact = turn.contact(message.contact_id)
    if contact.state == "alias" and contact.into is not None:
        added = EndpointsAdded(message.contact_id, message.name, message.endpoints)
        turn.send(Entity(turn.tenant, "contact", contact.into), added)
        return
    if contact.state != "live":
        contact = replace(contact, state="live", open=None, last=None, history=None, history_before=(), endpoints={})
    number = contact.saves + 1
    listed = frozenset(message.endpoints)
    kept = {party: claim for party, claim in contact.endpoints.items() if party in listed}
    gone = {party: claim for party, claim in contact.endpoints.items() if party not in kept}
    contact = replace(contact, name=message.name, saves=number, endpoints=kept)
    let_go(turn, contact, gone)
    claim_all(turn, contact, message.endpoints)


def added(turn: Turn, message: EndpointsAdded) -> None:
    """A save under an alias: it adds; where the survivor is gone, the alias is a contact of its own by now."""
    contact = turn.contact(turn.record.to.key)
    if contact.state == "alias" and contact.into is not None:
        turn.send(Entity(turn.tenant, "contact", contact.into), message)
    elif contact.state == "live":
        claim_all(turn, replace(contact, saves=contact.saves + 1), message.endpoints)
    else:
        again = ContactSaved(message.alias, message.name, message.endpoints)
        turn.send(Entity(turn.tenant, "contact", message.alias), again)


def claim_all(
    turn: Turn, contact: Contact, parties: tuple[str, ...], *, via: Mapping[str, int] = MappingProxyType({})
) -> None:
    """Claim what the contact does not hold, with the number of this save, and put its row."""
    endpoints = dict(contact.endpoints)
    for party in dict.fromkeys(parties):
        claim = endpoints.get(party)
        if claim is not None and claim.state == "confirmed":
            continue
        endpoints[party] = Claim(contact.saves, "claimed")
        claimed = EndpointClaimed(party, contact.contact_id, contact.saves, dict(via))
        turn.send(Entity(turn.tenant, "endpoint", party), claimed)
    turn.put_contact(replace(contact, endpoints=endpoints))
    settle(turn, contact.contact_id)


def let_go(turn: Turn, contact: Contact, claims: dict[str, Claim]) -> None:
    """Release endpoints, each with its part of the index."""
    held = [party for party, claim in claims.items() if claim.state != "refused"]
    if not held:
        return
    index = turn.index(turn.record.to)
    for party in held:
        endpoint = Entity(turn.tenant, "endpoint", party)
        *parts, last = index_parts(index_of(index, turn.tenant, party))
        for part in parts:
            released = EndpointReleased(party, contact.contact_id, contact.saves, part, final=False)
            turn.send(endpoint, released)
        turn.send(endpoint, EndpointReleased(party, contact.contact_id, contact.saves, last))


def adopted(turn: Turn, message: Adopted) -> None:
    """An endpoint answers a claim, perhaps one of long ago: what it brings is linked all the same."""
    me = turn.record.to
    contact = turn.contact(me.key)
    endpoint = Entity(turn.tenant, "endpoint", message.party)
    if contact.state == "alias" and contact.into is not None:
        _pass_on(turn, contact, message, Entity(turn.tenant, "contact", contact.into))
        return
    ids = take(turn, message.carried)
    learn(turn, message.index, endpoint)
    claim = contact.endpoints.get(message.party)
    if claim is not None and claim.state == "claimed" and claim.number == message.number and message.final:
        answer = Claim(claim.number, "confirmed" if message.granted else "refused")
        contact = replace(contact, endpoints={**contact.endpoints, message.party: answer})
    elif claim is None and message.granted and message.final and not message.passed:
        # It was an alias in between, which keeps no claims, and is none any more.
        let_go(turn, contact, {message.party: Claim(message.number, "confirmed")})
    turn.put_contact(replace(contact, arrived=(*contact.arrived, *ids)))
    if not message.granted and message.owner is not None:
        turn.emit(Conflicted(contact.contact_id, message.owner, message.party))
    settle(turn, contact.contact_id)


def _pass_on(turn: Turn, contact: Contact, message: Adopted, survivor: Entity) -> None:
    if not message.granted:
        return
    pass_by(turn, message.carried, survivor)
    turn.send(survivor, replace(message, number=-1, passed=True))
    if message.final and not message.passed:
        let_go(turn, contact, {message.party: Claim(message.number, "confirmed")})


def settle_on(turn: Turn, message: SettleContinued) -> None:
    """Go on with what did not fit in the last step."""
    settle(turn, message.contact_id)


def settle(turn: Turn, contact_id: str) -> None:
    """Link what has arrived once every claim is answered; at a contact that is gone, at once.

    The contact's open conversation stands, or else the open one that was opened last; the other open ones are closed
    first, and the survivor is linked last.
    """
    contact = turn.contact(contact_id)
    if contact.state == "live" and any(claim.state == "claimed" for claim in contact.endpoints.values()):
        return
    turn.need(conversation_key(each) for each in contact.arrived)
    rows = [row for row in map(turn.conversation, contact.arrived) if isinstance(row, Conversation)]
    mine = (row for row in rows if row.owner == turn.record.to and row.contact_id is None)
    waiting = sorted(mine, key=lambda row: row.opened_order)
    if contact.state != "live":
        bury(turn, contact, (turn.link(row, contact_id, "save") for row in waiting))
        return
    still_open = [row for row in waiting if row.status == "open"]
    survivor = contact.open or (still_open[-1].conversation_id if still_open else None)
    others = [row for row in waiting if row.conversation_id != survivor]
    for row in others[:SETTLE_STEP]:
        closed = turn.close(row, "superseded", into=survivor) if row.status == "open" else row
        turn.link(closed, contact_id, "save")
    if len(others) > SETTLE_STEP:
        turn.send(turn.record.to, SettleContinued(contact_id))
    elif survivor is not None and contact.open is None:
        turn.link(turn.here(survivor), contact_id, "save")


def deleted(turn: Turn, message: ContactDeleted) -> None:
    """The contact is deleted; its history stays. An alias has nothing of its own to delete."""
    contact = turn.contact(message.contact_id)
    if contact.state == "alias":
        return
    if contact.state != "live":
        turn.refuse("contact_unknown", "no contact of this id is saved", field="contact_id")
        return
    end(turn, contact)


def end(turn: Turn, contact: Contact, *, erased_by: str | None = None) -> None:
    """Close what is open, let go of the endpoints, end the aliases, and keep only what a later save goes on from."""
    if contact.open is not None:
        turn.close(turn.here(contact.open), "contact_deleted")
    let_go(turn, contact, dict(contact.endpoints))
    for alias in contact.aliases:
        turn.send(Entity(turn.tenant, "contact", alias), AliasEnded(alias, contact.contact_id, erased_by))
    gone = Contact(
        contact.tenant,
        contact.contact_id,
        "deleted",
        saves=contact.saves,
        arrived=contact.arrived,
        coming=contact.coming,
        former=tuple(dict.fromkeys((*contact.former, *contact.aliases))),
        commands=contact.commands,
    )
    turn.put_contact(gone)
    settle(turn, contact.contact_id)


def bury(turn: Turn, contact: Contact, come: Iterable[Conversation]) -> None:
    """Conversations have come to a contact that is gone: close them, and erase them where the contact was erased."""
    closed = [turn.close(row, "contact_deleted") if row.status == "open" else row for row in come]
    if contact.state == "erased" and closed:
        blank(turn, [row.conversation_id for row in closed])


def erased(turn: Turn, message: EraseAsked) -> None:
    """The contact is deleted, and each of its conversations loses its personal data, an open one closed first."""
    contact = turn.contact(turn.record.to.key)
    if message.command_id in contact.commands:
        return
    if message.along_with is not None and contact.state in {"live", "alias"}:
        return  # by now it is a contact of its own again, or somebody else's alias
    if contact.state == "alias" and contact.into is not None:
        into = Entity(turn.tenant, "contact", contact.into)
        turn.send(into, EraseAsked(contact.into, message.command_id))
        return
    if contact.state == "absent":
        turn.refuse("contact_unknown", "no contact of this id was ever saved", field="contact_id")
        return
    if contact.state == "live":
        end(turn, contact, erased_by=message.command_id)
    _erase(turn, turn.contact(contact.contact_id), message.command_id, told=contact.aliases)


def _erase(turn: Turn, contact: Contact, command_id: str, *, told: Iterable[str] = ()) -> None:
    """Erase a contact that is deleted, and those that were its aliases, but for those that have been told."""
    for alias in contact.former:
        if alias not in told:
            along = EraseAsked(alias, command_id, contact.contact_id)
            turn.send(Entity(turn.tenant, "contact", alias), along)
    turn.put_contact(replace(contact, state="erased", commands=(*contact.commands, command_id)))
    index = turn.index(turn.record.to)
    here = dict.fromkeys(entry.conversation_id for entry in index.values() if entry.to is None)
    blank(turn, [each for each in here if each not in contact.coming])


def blank(turn: Turn, conversation_ids: list[str]) -> None:
    """Erase conversations and blank their interactions; that they were there, and where, stays known."""
    bucket = index_bucket(turn.record.to)
    index = turn.index(turn.record.to)
    turn.need(map(conversation_key, conversation_ids))
    for conversation_id in conversation_ids:
        row = turn.here(conversation_id)
        if row.status != "erased":
            turn.erase(row)
    erased_ids = set(conversation_ids)
    for field, entry in index.items():
        if entry.to is None and entry.interaction is not None and entry.conversation_id in erased_ids:
            blanked = replace(entry, seen=(), agent_named_at_ms=None, interaction=None)
            turn.put(RowKey(bucket, field), blanked)


def alias_ended(turn: Turn, message: AliasEnded) -> None:
    """The survivor is gone: this one is a contact of its own again, as if deleted."""
    contact = turn.contact(message.contact_id)
    if contact.state != "alias":
        return
    contact = replace(contact, state="deleted", into=None)
    turn.put_contact(contact)
    aliases = Entity(turn.tenant, "aliases", "")
    turn.send(aliases, EdgeStruck(message.contact_id, message.into))
    if message.erased_by is not None:
        _erase(turn, contact, message.erased_by)
