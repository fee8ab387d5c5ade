"""What an event makes of the rows; nothing else changes them."""

from collections.abc import Callable, Mapping
from typing import TypeAlias, assert_never

from interaction_router.domain.events import (
    AliasMade,
    Closed,
    Conflicted,
    Erased,
    Event,
    InteractionAdded,
    InteractionUpdated,
    Linked,
    Opened,
    RowGone,
    RowPut,
    Unlinked,
)
from interaction_router.domain.ids import Entity
from interaction_router.domain.interactions import VOICE
from interaction_router.domain.rows import (
    Contact,
    Conversation,
    Entry,
    Last,
    LinkedBy,
    Row,
    RowKey,
    contact_key,
    conversation_key,
    index_bucket,
)
from interaction_router.domain.values import replace

Change: TypeAlias = tuple[RowKey, Row | None]
Get: TypeAlias = Callable[[RowKey], Row | None]

_REASONS_OF_THE_LAST = frozenset({"requested", "idle"})
_PASSED_OVER = frozenset({"superseded", "merged"})


def touched(event: Event) -> list[RowKey]:
    """Return the rows that `evolve` reads or replaces, as far as the event alone names them."""
    if isinstance(event, (RowPut, RowGone)):
        return [event.key]
    if isinstance(event, (Conflicted, AliasMade)):
        return []
    keys = [conversation_key(event.now.conversation_id)]
    if isinstance(event, Opened) and event.owner.kind == "contact":
        keys.append(contact_key(event.owner.tenant, event.owner.key))
    return keys


def evolve(get: Get, event: Event, *, log_time_ms: int, offset: int) -> list[Change]:
    """Return the rows as the event, decided at `log_time_ms` of the record at `offset`, leaves them."""
    match event:
        case InteractionAdded():
            return _added(get, event, log_time_ms)
        case InteractionUpdated():
            return _updated(get, event, log_time_ms)
        case Opened():
            return _opened(get, event, log_time_ms, offset)
        case Closed():
            return _closed(get, event, log_time_ms)
        case Linked():
            return _linked(get, event)
        case Unlinked():
            return _unlinked(get, event)
        case Erased():
            return _erased(get, event)
        case RowPut():
            return [(event.key, event.row)]
        case RowGone():
            return [(event.key, None)]
        case Conflicted() | AliasMade():
            return []
        case _:
            assert_never(event)


def _conversation(get: Get, conversation_id: str) -> Conversation:
    row = get(conversation_key(conversation_id))
    if not isinstance(row, Conversation):
        raise TypeError(f"the log has an event of the conversation {conversation_id}, which is not here")
    return row


def _contact(get: Get, owner: Entity) -> Contact | None:
    row = get(contact_key(owner.tenant, owner.key)) if owner.kind == "contact" else None
    return row if isinstance(row, Contact) else None


def _opened(get: Get, event: Opened, log_time_ms: int, offset: int) -> list[Change]:
    now, owner = event.now, event.owner
    row = Conversation(
        conversation_id=now.conversation_id,
        tenant=owner.tenant,
        owner=owner,
        seq=now.seq,
        status=now.status,
        contact_id=now.contact_id,
        endpoint=now.endpoint,
        opened_at_ms=log_time_ms,
        opened_offset=offset,
        previous=event.previous,
    )
    changes: list[Change] = [(conversation_key(now.conversation_id), row)]
    contact = _contact(get, owner)
    if contact is not None:
        changes.append(
            (contact_key(owner.tenant, owner.key), replace(contact, open=now.conversation_id)),
        )
    return changes


def _added(get: Get, event: InteractionAdded, log_time_ms: int) -> list[Change]:
    row, entry = with_interaction(_conversation(get, event.now.conversation_id), event, log_time_ms)
    return [(conversation_key(row.conversation_id), row), (RowKey(index_bucket(row.owner), event.entry), entry)]


def with_interaction(row: Conversation, event: InteractionAdded, log_time_ms: int) -> tuple[Conversation, Entry]:
    """Return the conversation's row and the index entry as an interaction that joins leaves them."""
    interaction = event.interaction
    channel, occurred_at_ms, last_ms = interaction.channel, interaction.occurred_at_ms, row.last_interaction_at_ms
    keeps_open = not interaction.auto_response or not row.interaction_count
    # Every interaction comes through here, and `replace` takes three times as long.
    row_after = Conversation(
        row.conversation_id,
        row.tenant,
        row.owner,
        event.now.seq,
        row.status,
        row.contact_id,
        row.endpoint,
        row.opened_at_ms,
        row.opened_offset,
        row.previous,
        row.closed_at_ms,
        row.close_reason,
        row.linked_by,
        row.interaction_count + 1,
        {**row.channels, channel: row.channels.get(channel, 0) + 1},
        occurred_at_ms if last_ms is None or last_ms < occurred_at_ms else last_ms,
        {**row.activity, channel: log_time_ms} if keeps_open else row.activity,
        {**row.calls, event.entry: log_time_ms} if interaction.in_progress else row.calls,
        row.commands,
        row.retired,
    )
    named_at_ms = None if interaction.agent_id is None else occurred_at_ms
    return row_after, Entry(row.conversation_id, None, (event.event,), named_at_ms, interaction, log_time_ms)


def _updated(get: Get, event: InteractionUpdated, log_time_ms: int) -> list[Change]:
    row, interaction = _conversation(get, event.now.conversation_id), event.interaction
    key = RowKey(index_bucket(row.owner), event.entry)
    entry = get(key)
    if not isinstance(entry, Entry):
        raise TypeError(f"the log has an event of an interaction of {row.conversation_id} that is not here")
    row_after = replace(
        row,
        seq=event.now.seq,
        activity={**row.activity, VOICE: log_time_ms} if interaction.channel == VOICE else row.activity,
        calls=row.calls if interaction.in_progress else _without(row.calls, event.entry),
    )
    named_at_ms = entry.agent_named_at_ms if event.names_agent_at_ms is None else event.names_agent_at_ms
    entry_after = Entry(
        conversation_id=row.conversation_id,
        seen=(*entry.seen, event.event),
        agent_named_at_ms=named_at_ms,
        interaction=interaction,
        at_ms=log_time_ms,
    )
    return [(conversation_key(row.conversation_id), row_after), (key, entry_after)]


def _without(calls: Mapping[str, int], entry: str) -> Mapping[str, int]:
    return {key: at for key, at in calls.items() if key != entry} if entry in calls else calls


def _closed(get: Get, event: Closed, log_time_ms: int) -> list[Change]:
    row = _conversation(get, event.now.conversation_id)
    after = replace(
        row, seq=event.now.seq, status="closed", closed_at_ms=log_time_ms, close_reason=event.reason, calls={}
    )
    changes: list[Change] = [(conversation_key(row.conversation_id), after)]
    contact = _contact(get, row.owner)
    if contact is not None and contact.open == row.conversation_id:
        if event.reason in _REASONS_OF_THE_LAST:
            before = _before(contact.last_before, contact.last, row.linked_by)
            contact = replace(contact, last=Last(row.conversation_id, log_time_ms), last_before=before)
        contact = replace(contact, open=None, grown=contact.grown + row.interaction_count)
        changes.append((contact_key(row.owner.tenant, row.owner.key), contact))
    return changes


def _linked(get: Get, event: Linked) -> list[Change]:
    row = _conversation(get, event.now.conversation_id)
    by_hand = event.by == "merge" and row.linked_by == "hand"  # a merge moves it, and it can still be undone
    after = replace(
        row,
        seq=event.now.seq,
        contact_id=event.now.contact_id,
        linked_by=row.linked_by if by_hand else event.by,
    )
    changes: list[Change] = [(conversation_key(row.conversation_id), after)]
    contact = _contact(get, row.owner)
    if contact is None:
        return changes
    arrived = tuple(each for each in contact.arrived if each != row.conversation_id)
    if row.status == "open":
        contact = replace(contact, open=row.conversation_id, arrived=arrived)
    else:
        contact = _with_history(contact, after)
        contact = replace(contact, arrived=arrived, grown=contact.grown + row.interaction_count)
    return [*changes, (contact_key(row.owner.tenant, row.owner.key), contact)]


def _with_history(contact: Contact, row: Conversation) -> Contact:
    history = contact.history
    if row.closed_at_ms is None or row.close_reason in _PASSED_OVER:
        return contact
    if history is not None and history.closed_at_ms > row.closed_at_ms:
        return contact
    before = _before(contact.history_before, history, row.linked_by)
    return replace(contact, history=Last(row.conversation_id, row.closed_at_ms), history_before=before)


def _before(earlier: tuple[Last, ...], last: Last | None, linked_by: LinkedBy | None) -> tuple[Last, ...]:
    """Return what was there before a conversation that may be unlinked again; before another it is of no use."""
    return (*earlier, last) if linked_by == "hand" and last is not None else ()


def _unlinked(get: Get, event: Unlinked) -> list[Change]:
    row = _conversation(get, event.now.conversation_id)
    after = replace(row, seq=event.now.seq, contact_id=None, linked_by=None)
    changes: list[Change] = [(conversation_key(row.conversation_id), after)]
    contact = _contact(get, row.owner)
    if contact is not None:
        last, last_before = _without_undone(contact.last_before, contact.last, row)
        history, history_before = _without_undone(contact.history_before, contact.history, row)
        contact = replace(
            contact,
            open=None if contact.open == row.conversation_id else contact.open,
            last=last,
            last_before=last_before,
            history=history,
            history_before=history_before,
        )
        changes.append((contact_key(row.owner.tenant, row.owner.key), contact))
    return changes


def _without_undone(
    earlier: tuple[Last, ...], last: Last | None, undone: Conversation
) -> tuple[Last | None, tuple[Last, ...]]:
    known = (*earlier, last) if last is not None else ()
    left = tuple(each for each in known if each.conversation_id != undone.conversation_id)
    return (left[-1], left[:-1]) if left else (None, ())


def _erased(get: Get, event: Erased) -> list[Change]:
    row = _conversation(get, event.now.conversation_id)
    after = replace(
        row, seq=event.now.seq, status="erased", contact_id=None, endpoint=None, linked_by=None, activity={}, calls={}
    )
    return [(conversation_key(row.conversation_id), after)]
