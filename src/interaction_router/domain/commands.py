"""Commands to a conversation, wherever it is by now, and conversations linked by hand."""

from interaction_router.domain.contacts import bury
from interaction_router.domain.errors import RefusalCode
from interaction_router.domain.events import Unlinked
from interaction_router.domain.handover import carry, pass_by, take
from interaction_router.domain.ids import Entity
from interaction_router.domain.messages import (
    ANONYMOUS,
    Carried,
    CloseAsked,
    HandLinked,
    HandUnlinked,
    LinkAllowed,
    LinkAsked,
    UnlinkAsked,
)
from interaction_router.domain.rows import Conversation, Entry, Moved, RowKey, index_bucket
from interaction_router.domain.turn import Turn, standing
from interaction_router.domain.values import replace


def close_asked(turn: Turn, message: CloseAsked) -> None:
    """Close a conversation by hand."""
    row = _conversation(turn, message)
    if row is None:
        return
    if row.status == "closed":
        turn.refuse("conversation_closed", "the conversation is closed already", field="conversation_id")
        return
    turn.close(row, "requested")
    turn.saw_command(row.conversation_id, message.command_id)


def _conversation(turn: Turn, message: CloseAsked | LinkAllowed | UnlinkAsked) -> Conversation | None:
    """Return the conversation if it is here and has not seen the command; send on, or refuse, what finds it not."""
    row = turn.conversation(message.conversation_id)
    if isinstance(row, Moved):
        turn.send(row.to, message)
        return None
    if row is not None and message.command_id in row.commands:
        return None
    if isinstance(message, LinkAllowed) and not message.known:
        _refuse(turn, "contact_unknown", "no contact of this id is saved", "contact_id")
        return None
    if row is None or row.status == "erased":
        _refuse(turn, "conversation_unknown", "there is no conversation of this id", "conversation_id")
        return None
    return row


def _refuse(turn: Turn, code: RefusalCode, message: str, field: str) -> None:
    turn.refuse(code, message, field=field)


def link_asked(turn: Turn, message: LinkAsked) -> None:
    """The contact says whether it is known; the conversation decides."""
    contact = turn.contact(turn.record.to.key)
    if contact.state == "alias" and contact.into is not None:
        turn.send(Entity(turn.tenant, "contact", contact.into), replace(message, contact_id=contact.into))
        return
    allowed = LinkAllowed(
        message.conversation_id, message.contact_id, message.command_id, known=contact.state == "live"
    )
    turn.send(Entity(turn.tenant, "conversation", message.conversation_id), allowed)


def link_allowed(turn: Turn, message: LinkAllowed) -> None:
    """An unlinked conversation goes to the contact."""
    row = _conversation(turn, message)
    if row is None:
        return
    if row.contact_id is not None:
        turn.refuse("conversation_linked", "the conversation has a contact already", field="conversation_id")
        return
    turn.saw_command(row.conversation_id, message.command_id)
    owner = row.owner
    if owner.kind == "contact":
        contact = turn.contact(owner.key)
        arrived = tuple(each for each in contact.arrived if each != row.conversation_id)
        turn.put_contact(replace(contact, arrived=arrived))
    carried = _take_out(turn, turn.here(row.conversation_id), Entity(turn.tenant, "contact", message.contact_id))
    turn.send(Entity(turn.tenant, "contact", message.contact_id), HandLinked(message.contact_id, carried))


def _take_out(turn: Turn, row: Conversation, to: Entity) -> Carried:
    """Take a conversation of few interactions out of its owner's home."""
    entries = {
        field: entry
        for field, entry in turn.index(row.owner).items()
        if entry.to is None and entry.conversation_id == row.conversation_id
    }
    (carried,) = carry(turn, [row], entries, to)
    return carried


def hand_linked(turn: Turn, message: HandLinked) -> None:
    """A conversation comes that was linked by hand."""
    contact = turn.contact(turn.record.to.key)
    if contact.state == "alias" and contact.into is not None:
        into = Entity(turn.tenant, "contact", contact.into)
        pass_by(turn, (message.carried,), into)
        turn.send(into, replace(message, contact_id=contact.into))
        return
    (key,) = take(turn, (message.carried,))
    row = turn.here(key)
    if contact.state != "live":
        bury(turn, contact, [turn.link(row, contact.contact_id, "hand")])
        return
    if row.status == "open" and contact.open is not None:
        row = turn.close(row, "superseded", into=contact.open)
    turn.link(row, contact.contact_id, "hand")


def unlink_asked(turn: Turn, message: UnlinkAsked) -> None:
    """Undo a link by hand: the conversation goes back to where it was unlinked."""
    row = _conversation(turn, message)
    if row is None:
        return
    if row.linked_by != "hand" or row.interaction_count != 1:
        turn.refuse("not_linked_by_hand", "only a conversation of one interaction, linked by hand, can be unlinked")
        return
    turn.emit(Unlinked(standing(row, "by_hand")._replace(contact_id=None)))
    turn.saw_command(row.conversation_id, message.command_id)
    row = turn.here(row.conversation_id)
    party = row.endpoint or _anonymous(turn, row)
    endpoint = Entity(turn.tenant, "endpoint", party)
    turn.send(endpoint, HandUnlinked(party, _take_out(turn, row, endpoint)))


def _anonymous(turn: Turn, row: Conversation) -> str:
    """Return the party of a withheld caller's one interaction."""
    bucket = index_bucket(row.owner)
    for field in turn.index(row.owner):
        entry = turn.get(RowKey(bucket, field), Entry)
        if entry is not None and entry.conversation_id == row.conversation_id and entry.interaction is not None:
            return f"{ANONYMOUS}{entry.interaction.channel}/{entry.interaction.interaction_id}"
    raise TypeError(f"the interaction of {row.conversation_id} is not here")
