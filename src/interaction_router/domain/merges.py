"""Merging contacts: aliases decide in one order, the survivor is asked, the merged-away contact moves over."""

from collections.abc import Iterable
from types import MappingProxyType

from interaction_router.domain.contacts import blank, bury, claim_all, let_go, settle
from interaction_router.domain.events import AliasMade, RowGone
from interaction_router.domain.handover import carry, in_records, index_parts, learn, take
from interaction_router.domain.ids import Entity
from interaction_router.domain.messages import (
    AliasEnded,
    AliasMoved,
    BecomeAlias,
    Carried,
    ContactMerged,
    ContactMoved,
    ConversationReturned,
    EdgeStands,
    EdgeStruck,
    EndpointClaimed,
    Index,
    MergeAllowed,
    MergeWaits,
)
from interaction_router.domain.rows import (
    Alias,
    Claim,
    Contact,
    Conversation,
    Line,
    aliases_key,
    conversation_key,
    merges_key,
)
from interaction_router.domain.turn import Turn
from interaction_router.domain.values import replace


def merged(turn: Turn, message: ContactMerged) -> None:
    """A merge is asked for: the aliases say whether it would go round, or is in force already."""
    line = turn.get(merges_key(turn.tenant, message.contact_id), Line)
    if line is None:
        _take_up(turn, message.contact_id, message.into)
    else:
        _get_in_line(turn, message.contact_id, message.into, behind=line.behind, via=line.into)


def waits(turn: Turn, message: MergeWaits) -> None:
    """A merge goes behind the answer to another, and is taken up once it is back."""
    to = turn.record.to
    if to.kind == "aliases":
        line = turn.get(merges_key(turn.tenant, message.contact_id), Line)
        if line is not None:
            _put_line(turn, message.contact_id, replace(line, merges=line.merges - 1))
        _take_up(turn, message.contact_id, message.into)
        return
    contact = turn.contact(to.key)
    if to.key == message.behind:
        turn.send(Entity(turn.tenant, "aliases", ""), message)
    else:
        onward = contact.into if contact.state == "alias" and contact.into is not None else message.behind
        turn.send(Entity(turn.tenant, "contact", onward), message)


def _take_up(turn: Turn, contact_id: str, into: str) -> None:
    """Decide a merge, unless one that it builds on may yet be refused."""
    chain, chain_away = _chain(turn, into), _chain(turn, contact_id)
    survivor, away = chain[-1], chain_away[-1]
    for each in (*chain, *chain_away):
        edge = turn.get(aliases_key(turn.tenant, each), Alias)
        if edge is not None and edge.asked:
            _get_in_line(turn, contact_id, into, behind=each, via=edge.into)
            return
    if contact_id in chain:
        turn.refuse("contact_merge_cycle", "the contact would become an alias of itself", field="into")
    elif away != survivor:
        turn.put(aliases_key(turn.tenant, away), Alias(survivor, asked=True))
        turn.send(Entity(turn.tenant, "contact", survivor), MergeAllowed(away, survivor))


def _chain(turn: Turn, contact_id: str) -> list[str]:
    """Return the contact and what it is an alias of, to the last."""
    chain = [contact_id]
    while (edge := turn.get(aliases_key(turn.tenant, chain[-1]), Alias)) is not None:
        chain.append(edge.into)
    return chain


def _get_in_line(turn: Turn, contact_id: str, into: str, *, behind: str, via: str) -> None:
    """Send a merge behind the answer of `via` and `behind`; the line holds up all further merges of the contact."""
    line = turn.get(merges_key(turn.tenant, contact_id), Line)
    _put_line(turn, contact_id, Line(behind, via, 1 if line is None else line.merges + 1))
    turn.send(Entity(turn.tenant, "contact", via), MergeWaits(contact_id, into, behind))


def _put_line(turn: Turn, contact_id: str, line: Line) -> None:
    key = merges_key(turn.tenant, contact_id)
    if line.merges:
        turn.put(key, line)
    else:
        turn.emit(RowGone(key))


def edge_stands(turn: Turn, message: EdgeStands) -> None:
    """The merge stands."""
    key = aliases_key(turn.tenant, message.contact_id)
    edge = turn.get(key, Alias)
    if edge is not None and edge.asked:
        turn.put(key, Alias(edge.into))


def edge_struck(turn: Turn, message: EdgeStruck) -> None:
    """The merge does not stand, or no longer.

    A refusal by the survivor goes by the merged-away contact, as a consent does: what waits comes behind either.
    """
    if turn.record.to.kind == "contact":
        turn.send(Entity(turn.tenant, "aliases", ""), message)
        return
    key = aliases_key(turn.tenant, message.contact_id)
    if turn.get(key, Alias) is not None:
        turn.emit(RowGone(key))


def alias_moved(turn: Turn, message: AliasMoved) -> None:
    """The alias, and then the edge, leads to the survivor itself from here on."""
    if turn.record.to.kind == "aliases":
        key = aliases_key(turn.tenant, message.contact_id)
        edge = turn.get(key, Alias)
        if edge is not None and edge.into == message.via:
            turn.put(key, replace(edge, into=message.into))
        return
    contact = turn.contact(message.contact_id)
    if contact.state == "alias" and contact.into == message.via:
        turn.put_contact(replace(contact, into=message.into))
        turn.send(Entity(turn.tenant, "aliases", ""), message)


def allowed(turn: Turn, message: MergeAllowed) -> None:
    """The survivor says whether it is known."""
    survivor = turn.contact(turn.record.to.key)
    if survivor.state == "alias" and survivor.into is not None:
        turn.send(Entity(turn.tenant, "contact", survivor.into), replace(message, into=survivor.into))
    elif survivor.state == "live":
        become = BecomeAlias(message.contact_id, message.into)
        turn.send(Entity(turn.tenant, "contact", message.contact_id), become)
    else:
        away = Entity(turn.tenant, "contact", message.contact_id)
        _refuse(turn, away, EdgeStruck(message.contact_id, message.into), field="into")


def _refuse(turn: Turn, to: Entity, struck: EdgeStruck, *, field: str) -> None:
    turn.refuse("contact_unknown", "no contact of this id is saved", field=field)
    turn.send(to, struck)


def become_alias(turn: Turn, message: BecomeAlias) -> None:
    """The merged-away contact goes over with all that is open or its endpoints'; its history stays."""
    contact = turn.contact(message.contact_id)
    aliases = Entity(turn.tenant, "aliases", "")
    if contact.state == "alias" and contact.into == message.into:
        turn.send(aliases, EdgeStands(message.contact_id, message.into))
        return
    if contact.state != "live":
        _refuse(turn, aliases, EdgeStruck(message.contact_id, message.into), field="contact_id")
        return
    survivor = Entity(turn.tenant, "contact", message.into)
    index = turn.index(turn.record.to)
    going = [*((contact.open,) if contact.open else ()), *contact.arrived]
    rows = _mine(turn, going)
    moved = ContactMoved(
        contact_id=contact.contact_id,
        endpoints=tuple(party for party, claim in contact.endpoints.items() if claim.state != "refused"),
        aliases={**contact.aliases, contact.contact_id: contact.saves},
        open=contact.open,
        arrived=contact.arrived,
    )
    _send_carried(turn, contact.contact_id, carry(turn, rows, index, survivor), survivor)
    stays = {field: entry.conversation_id for field, entry in index.items() if entry.conversation_id not in going}
    *parts, last = index_parts(stays)
    for each in parts:
        turn.send(survivor, _part(contact.contact_id, index=each))
    turn.send(survivor, replace(moved, index=last))
    alias = Contact(
        contact.tenant,
        contact.contact_id,
        "alias",
        into=message.into,
        saves=contact.saves,
        coming=contact.coming,
        former=contact.former,
        commands=contact.commands,
    )
    turn.put_contact(alias)
    turn.emit(AliasMade(contact.contact_id, message.into))
    turn.send(aliases, EdgeStands(message.contact_id, message.into))


def moved(turn: Turn, message: ContactMoved) -> None:
    """What a merged-away contact had comes to the survivor: learnt first, then claimed."""
    survivor = turn.contact(turn.record.to.key)
    away = Entity(turn.tenant, "contact", message.contact_id)
    ids = take(turn, message.carried)
    learn(turn, message.index, away)
    if not message.final:
        turn.put_contact(replace(survivor, coming=tuple(dict.fromkeys((*survivor.coming, *ids)))))
        if message.index and survivor.into is not None:
            turn.send(Entity(turn.tenant, "contact", survivor.into), _part(message.contact_id, index=message.index))
        return
    settled = {message.open, *message.arrived}
    survivor = replace(survivor, coming=tuple(each for each in survivor.coming if each not in settled))
    if survivor.state == "live":
        _join_contacts(turn, survivor, message)
    elif survivor.into is not None:
        _move_on(turn, survivor, message, Entity(turn.tenant, "contact", survivor.into))
    else:
        _move_to_gone(turn, survivor, message)


def _move_on(turn: Turn, alias: Contact, message: ContactMoved, into: Entity) -> None:
    """What came here has waited for the last of it, since an alias may end in between; now all of it goes on."""
    turn.put_contact(alias)
    rows = _mine(turn, [*((message.open,) if message.open else ()), *message.arrived])
    _send_carried(turn, message.contact_id, carry(turn, rows, turn.index(turn.record.to), into), into)
    turn.send(into, message)
    # The survivor may be gone and back before this comes there, and then end no alias of before.
    turn.send(
        Entity(turn.tenant, "contact", message.contact_id), AliasMoved(message.contact_id, alias.contact_id, into.key)
    )


def _send_carried(turn: Turn, contact_id: str, carried: Iterable[Carried], to: Entity) -> None:
    for group in in_records(carried):
        turn.send(to, _part(contact_id, carried=group))


def _part(contact_id: str, *, carried: tuple[Carried, ...] = (), index: Index = MappingProxyType({})) -> ContactMoved:
    """Return a part of what a merged-away contact has, which decides nothing before the last."""
    return ContactMoved(contact_id, (), {}, None, (), carried, dict(index), final=False)


def _mine(turn: Turn, conversation_ids: Iterable[str]) -> list[Conversation]:
    """Return those of the conversations that live here still: commands may have taken others away."""
    ids = list(conversation_ids)
    turn.need(map(conversation_key, ids))
    rows = map(turn.conversation, ids)
    return [row for row in rows if isinstance(row, Conversation) and row.owner == turn.record.to]


def _join_contacts(turn: Turn, survivor: Contact, message: ContactMoved) -> None:
    survivor = replace(
        survivor,
        saves=survivor.saves + 1,
        aliases={**survivor.aliases, **message.aliases},
        arrived=(*survivor.arrived, *message.arrived),
    )
    turn.put_contact(survivor)
    away = Entity(turn.tenant, "contact", message.contact_id)
    for theirs in _mine(turn, [message.open] if message.open else []):
        if theirs.status == "open":
            _merge_open(turn, survivor, theirs, away)
        else:
            _give_back(turn, theirs, away)
    claim_all(turn, turn.contact(survivor.contact_id), message.endpoints, via=message.aliases)


def _merge_open(turn: Turn, survivor: Contact, theirs: Conversation, away: Entity) -> None:
    """Of two open conversations the one that was opened first survives; the other is closed into it."""
    if survivor.open is not None:
        ours = turn.here(survivor.open)
        if ours.opened_order < theirs.opened_order:
            _give_back(turn, turn.close(theirs, "merged", into=ours.conversation_id), away)
            return
        turn.close(ours, "merged", into=theirs.conversation_id)
    turn.link(theirs, survivor.contact_id, "merge")


def _give_back(turn: Turn, closed: Conversation, away: Entity) -> None:
    """What is closed stays the merged-away contact's: to erase that one has to find it."""
    for group in in_records(carry(turn, [closed], turn.index(turn.record.to), away)):
        turn.send(away, ConversationReturned(away.key, group))


def returned(turn: Turn, message: ConversationReturned) -> None:
    """A conversation comes back that goes on as history of this contact, whatever has become of it."""
    ids = take(turn, message.carried)
    if turn.contact(message.contact_id).state == "erased":
        blank(turn, ids)


def _move_to_gone(turn: Turn, survivor: Contact, message: ContactMoved) -> None:
    """The survivor was deleted meanwhile: close, let go, and end the aliases at once."""
    number = survivor.saves + 1
    former = tuple(dict.fromkeys((*survivor.former, *message.aliases)))
    arrived = (*survivor.arrived, *message.arrived)
    turn.put_contact(replace(survivor, saves=number, arrived=arrived, former=former))
    theirs = _mine(turn, [message.open] if message.open else [])
    linked = (turn.link(row, survivor.contact_id, "merge") if row.status == "open" else row for row in theirs)
    bury(turn, survivor, linked)
    settle(turn, survivor.contact_id)
    for party in message.endpoints:
        claim = EndpointClaimed(party, survivor.contact_id, number, message.aliases)
        turn.send(Entity(turn.tenant, "endpoint", party), claim)
    erased_by = survivor.commands[-1] if survivor.state == "erased" else None
    claims = {party: Claim(number, "claimed") for party in message.endpoints}
    let_go(turn, turn.contact(survivor.contact_id), claims)
    for alias in message.aliases:
        turn.send(Entity(turn.tenant, "contact", alias), AliasEnded(alias, survivor.contact_id, erased_by))
