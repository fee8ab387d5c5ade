"""The rules of assignment: what an interaction's event does at the endpoint's home and at the contact's."""

from collections.abc import Mapping

from interaction_router.domain.events import InteractionAdded, InteractionUpdated, RowGone, Rule
from interaction_router.domain.evolve import with_interaction
from interaction_router.domain.ids import Entity, conversation_id, digest
from interaction_router.domain.interactions import (
    CLOCK_AHEAD_LIMIT_MS,
    Interaction,
    clamp_clock,
    is_receipt,
    with_event,
)
from interaction_router.domain.messages import InteractionEvent, LogRecord
from interaction_router.domain.rows import (
    Alias,
    Contact,
    Conversation,
    Endpoint,
    Entry,
    Last,
    Row,
    RowKey,
    contact_key,
    conversation_key,
    endpoint_key,
    entry_field,
    index_bucket,
)
from interaction_router.domain.turn import Turn, standing

_SECOND_MS = 1000
_LONG_ID = 64
_MISSING = Alias("")
"""Stands for a row that nobody has loaded."""


def entry_key(record: LogRecord, message: InteractionEvent) -> RowKey:
    """Return where the index of whom the record is for has its interaction."""
    key = record.entry
    if key is None:
        tenant, interaction = record.to.tenant, message.interaction
        field = entry_field(tenant, message.party, interaction.channel, interaction.interaction_id)
        key = RowKey(index_bucket(record.to), field)
        object.__setattr__(record, "entry", key)
    return key


def joined_at_once(
    rows: Mapping[RowKey, Row | None], record: LogRecord, message: InteractionEvent, log_time_ms: int
) -> tuple[InteractionAdded, dict[RowKey, Row | None]] | None:
    """Return what most records bring about, or None where `at_contact` has to say.

    A saved party's new interaction that joins the contact's open conversation: the same event and rows as there, in a
    quarter of the time.
    """
    known_as = entry_key(record, message)
    if rows.get(known_as, _MISSING) is not None:
        return None
    contact = rows.get(contact_key(record.to.tenant, record.to.key))
    if not isinstance(contact, Contact) or contact.open is None:
        return None
    claim = contact.endpoints.get(message.party)
    if claim is None or claim.state != "confirmed":
        return None
    key = conversation_key(contact.open)
    conversation = rows.get(key)
    if not isinstance(conversation, Conversation):
        return None
    interaction = clamp_clock(message.interaction, log_time_ms)
    now = standing(conversation, "joined_open_conversation")
    event = InteractionAdded(now, known_as.field, _event_name(message), interaction)
    row, entry = with_interaction(conversation, event, log_time_ms)
    return event, {key: row, known_as: entry}


def at_endpoint(turn: Turn, message: InteractionEvent) -> None:
    """An event comes to the home of its party's endpoint."""
    me = turn.record.to
    entry = entry_key(turn.record, message)
    field, known = entry.field, turn.get(entry, Entry)
    if known is not None and not _leads_nowhere(turn, known, entry, message):
        _event_of_known(turn, known, field, message)
        return
    endpoint = None if message.withheld else turn.get(endpoint_key(turn.tenant, message.party), Endpoint)
    if endpoint is not None and endpoint.owner is not None:
        _send_on(turn, message, Entity(turn.tenant, "contact", endpoint.owner))
        return
    if message.withheld and is_receipt(message.interaction.channel, message.interaction.status):
        turn.refuse("interaction_unknown", "a receipt that names no party is of no known interaction", field="to")
        return
    if _opened_long_ago(turn, message):
        return
    if endpoint is None and not message.withheld:
        turn.put(endpoint_key(turn.tenant, message.party), Endpoint())
    conversation = turn.open(
        me,
        contact_id=None,
        endpoint=None if message.withheld else message.party,
        previous=None,
        rule="opened_unlinked",
    )
    _join(turn, conversation, field, message, "opened_unlinked")


def at_contact(turn: Turn, message: InteractionEvent) -> None:
    """An event comes to a contact that is thought to hold the endpoint, or that its conversation went to."""
    me = turn.record.to
    entry = entry_key(turn.record, message)
    field, known = entry.field, turn.get(entry, Entry)
    if known is not None and not _leads_nowhere(turn, known, entry, message):
        _event_of_known(turn, known, field, message)
        return
    contact = turn.contact(me.key)
    claim = contact.endpoints.get(message.party)
    if claim is not None and claim.state == "confirmed":
        _assign(turn, contact, field, message)
        return
    endpoint = Entity(turn.tenant, "endpoint", message.party)
    behind_every_adopt = _mark(endpoint) in message.asked and _mark(me) not in message.asked
    if contact.state == "alias" and contact.into is not None and behind_every_adopt:
        _send_on(turn, message, Entity(turn.tenant, "contact", contact.into))
    else:
        _send_on(turn, message, endpoint)


def _mark(home: Entity) -> str:
    return f"{home.kind}:{home.key}"


def _named(home: Entity) -> str:
    """Return the mark of a home that an index has named as the one that knows the interaction."""
    return f"named:{_mark(home)}"


def _named_again(home: Entity) -> str:
    """Return the mark of a home that was named twice: a conversation moves, but not as fast as an event goes round."""
    return f"again:{_mark(home)}"


def _forgot(home: Entity) -> str:
    """Return the mark of a home that was named and does not know the interaction any more."""
    return f"forgot:{_mark(home)}"


def _leads_nowhere(turn: Turn, known: Entry, entry: RowKey, message: InteractionEvent) -> bool:
    """Strike an entry that leads to a home that has forgotten the interaction, or round."""
    if known.to is None or {_forgot(known.to), _named_again(known.to)}.isdisjoint(message.asked):
        return False
    turn.emit(RowGone(entry))
    return True


def _send_on(turn: Turn, message: InteractionEvent, to: Entity, *, named: bool = False) -> None:
    """Send it on; to a contact with this home among those that have: it is behind all that was sent there before.

    `named`: the index says that it is known there. A home that was named and sends it on unnamed has forgotten it,
    since whoever named it had told it before.
    """
    me = turn.record.to
    marks = [_mark(me)] if to.kind == "contact" else []
    if named:
        marks.append(_named_again(to) if _named(to) in message.asked else _named(to))
    elif _named(me) in message.asked:
        marks.append(_forgot(me))
    asked = tuple(dict.fromkeys((*message.asked, *marks)))
    turn.send(to, InteractionEvent(message.party, message.event_id, message.interaction, asked))


def _assign(turn: Turn, contact: Contact, field: str, message: InteractionEvent) -> None:
    """Let a saved party's new interaction join, or open, one of the contact's conversations."""
    if contact.open is not None:
        _join(turn, turn.here(contact.open), field, message, "joined_open_conversation")
        return
    latest = contact.last or contact.history
    closed = _latest_that_takes(turn, latest, message.interaction)
    if closed is not None:
        conversation, rule = closed
        _join(turn, conversation, field, message, rule)
        return
    if _opened_long_ago(turn, message):
        return
    conversation = turn.open(
        turn.record.to,
        contact_id=contact.contact_id,
        endpoint=None if message.withheld else message.party,
        previous=None if latest is None else latest.conversation_id,
        rule="opened_for_contact",
    )
    _join(turn, conversation, field, message, "opened_for_contact")


def _opened_long_ago(turn: Turn, message: InteractionEvent) -> bool:
    """Return whether this very record has opened a conversation here whose interaction is forgotten by now.

    Intake may read raw records again from their beginning. What happened within the window is in the index; of what a
    clock ahead says nobody knows when it happened.
    """
    since_ms = turn.log_time_ms - turn.policy.dedup_window_ms + CLOCK_AHEAD_LIMIT_MS
    cause = turn.record.cause
    if since_ms < message.interaction.occurred_at_ms <= turn.log_time_ms + CLOCK_AHEAD_LIMIT_MS or cause is None:
        return False
    return turn.row(conversation_key(conversation_id(turn.record.to, cause))) is not None


def _latest_that_takes(turn: Turn, latest: Last | None, interaction: Interaction) -> tuple[Conversation, Rule] | None:
    """Return the closed conversation that an automatic answer or a late arrival joins, and by which rule."""
    if latest is None:
        return None
    rule: Rule
    if interaction.auto_response:
        rule = "joined_closed_auto"
    else:
        interaction = clamp_clock(interaction, turn.log_time_ms)
        in_time = turn.log_time_ms - latest.closed_at_ms <= turn.policy.late_grace_ms
        if not in_time or interaction.occurred_at_ms >= latest.closed_at_ms // _SECOND_MS * _SECOND_MS:
            return None
        rule = "joined_closed_late"
    row = turn.row(conversation_key(latest.conversation_id))
    return (row, rule) if isinstance(row, Conversation) and row.status == "closed" else None


def _join(turn: Turn, to: Conversation, field: str, message: InteractionEvent, rule: Rule) -> None:
    interaction = clamp_clock(message.interaction, turn.log_time_ms)
    turn.add(to, entry=field, event=_event_name(message), interaction=interaction, rule=rule)


def _event_name(message: InteractionEvent) -> str:
    """Return what makes two events of an interaction the same; a long id by its digest, since the row keeps them all."""
    event_id = message.event_id or ""
    return f"{message.interaction.status}/{event_id if len(event_id) <= _LONG_ID else digest(event_id).hex()}"


def _event_of_known(turn: Turn, known: Entry, field: str, message: InteractionEvent) -> None:
    """An event of an interaction that has its place: update it where it is."""
    if known.to is not None:
        _send_on(turn, message, known.to, named=True)
        return
    conversation = turn.here(known.conversation_id)
    name = _event_name(message)
    if conversation.status == "erased" or known.interaction is None or name in known.seen:
        return
    event = clamp_clock(message.interaction, turn.log_time_ms)
    named_at = known.agent_named_at_ms
    names_agent = event.agent_id is not None and (named_at is None or event.occurred_at_ms > named_at)
    after = with_event(known.interaction, event, names_agent=names_agent)
    at = event.occurred_at_ms if names_agent else None
    turn.emit(InteractionUpdated(standing(conversation, "event_of_known"), field, name, after, at))
