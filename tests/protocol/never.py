"""What must never be, whatever is under way: two places of one thing, a gap in `seq`, what is closed open again."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from interaction_router.domain.events import AliasMade, Conflicted, Decision, RowGone, RowPut
from interaction_router.domain.messages import (
    Adopted,
    Carried,
    ContactMoved,
    ConversationReturned,
    HandLinked,
    HandUnlinked,
    LogRecord,
)
from interaction_router.domain.rows import Conversation, Row, RowKey, conversation_key

_OF_NO_CONVERSATION = (RowPut, RowGone, Conflicted, AliasMade)


class Held(NamedTuple):
    """What can be in one place only: conversations, interactions by their fields, and contacts of which one is open."""

    conversations: frozenset[str]
    interactions: tuple[str, ...]
    open: tuple[tuple[str, str], ...]
    """The contact, and its open conversation."""


def parts_of(record: LogRecord) -> tuple[Carried, ...]:
    """Return the conversations that a record carries."""
    message = record.message
    if isinstance(message, Adopted | ContactMoved | ConversationReturned):
        return message.carried
    return (message.carried,) if isinstance(message, HandLinked | HandUnlinked) else ()


def held_in(conversations: Iterable[Conversation], interactions: Sequence[str]) -> Held:
    """Return what some conversations, and some interactions' fields, are held as."""
    rows = list(conversations)
    still_open = ((row.contact_id, row.conversation_id) for row in rows if row.status == "open" and row.contact_id)
    return Held(frozenset(row.conversation_id for row in rows), tuple(interactions), tuple(still_open))


def wrong_places(held: Sequence[Held], carried: Sequence[Held]) -> str | None:
    """Return what is in two places; of a conversation that comes in parts the first part brings it."""
    here = [each for home in held for each in home.conversations]
    if len(set(here)) != len(here):
        return "a conversation lives in two homes"
    interactions = [field for each in (*held, *carried) for field in each.interactions]
    if len(set(interactions)) != len(interactions):
        return "an interaction is in two places"
    still_open = {pair for home in held for pair in home.open}
    still_open |= {pair for each in carried for pair in each.open if pair[1] not in here}
    if len({contact for contact, _ in still_open}) != len(still_open):
        return "a contact has two open conversations"
    return None


def wrong_events(rows: Mapping[RowKey, Row], decision: Decision, changes: Mapping[RowKey, Row | None]) -> str | None:
    """Return what a decision does to a conversation that nothing may do."""
    seqs: dict[str, int] = {}
    for now in (event.now for event in decision.events if not isinstance(event, _OF_NO_CONVERSATION)):
        row = rows.get(conversation_key(now.conversation_id))
        before = seqs.get(now.conversation_id, row.seq if isinstance(row, Conversation) else None)
        if before is not None and now.seq != before + 1:
            return f"{now.conversation_id} goes from seq {before} to {now.seq}"
        seqs[now.conversation_id] = now.seq
    for key, row in changes.items():
        was = rows.get(key)
        was_over = isinstance(was, Conversation) and was.status != "open"
        if was_over and isinstance(row, Conversation) and row.status == "open":
            return f"{row.conversation_id} was over and is open again"
    return None
