"""`decide(rows, record) -> decision`: the one place where anything is decided."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from interaction_router.domain import assign, commands, contacts, endpoints, forgetting, merges, messages, timers
from interaction_router.domain.events import Decision
from interaction_router.domain.messages import InteractionEvent, LogRecord, Message
from interaction_router.domain.rows import (
    Contact,
    Conversation,
    Entry,
    Head,
    Row,
    RowKey,
    aliases_key,
    contact_key,
    conversation_key,
    endpoint_key,
)
from interaction_router.domain.turn import Turn

# Any: a handler takes the one message type that it stands beside; `decide` pairs them.
_HANDLERS: Mapping[type[Message], Callable[[Turn, Any], None]] = MappingProxyType(
    {
        messages.ContactSaved: contacts.saved,
        messages.EndpointsAdded: contacts.added,
        messages.ContactDeleted: contacts.deleted,
        messages.AliasEnded: contacts.alias_ended,
        messages.Adopted: contacts.adopted,
        messages.SettleContinued: contacts.settle_on,
        messages.EraseAsked: contacts.erased,
        messages.ContactMerged: merges.merged,
        messages.MergeAllowed: merges.allowed,
        messages.BecomeAlias: merges.become_alias,
        messages.MergeWaits: merges.waits,
        messages.EdgeStands: merges.edge_stands,
        messages.EdgeStruck: merges.edge_struck,
        messages.AliasMoved: merges.alias_moved,
        messages.ContactMoved: merges.moved,
        messages.ConversationReturned: merges.returned,
        messages.EndpointClaimed: endpoints.claimed,
        messages.EndpointReleased: endpoints.released,
        messages.HandUnlinked: endpoints.hand_unlinked,
        messages.CloseAsked: commands.close_asked,
        messages.LinkAsked: commands.link_asked,
        messages.LinkAllowed: commands.link_allowed,
        messages.HandLinked: commands.hand_linked,
        messages.UnlinkAsked: commands.unlink_asked,
        messages.Tick: timers.tick,
        messages.Retire: forgetting.retire,
        messages.IndexGrown: forgetting.forget,
        messages.PolicySet: timers.policy_set,
        messages.PolicyIndexed: timers.policy_indexed,
    }
)


def decide(
    rows: Mapping[RowKey, Row | None],
    buckets: Mapping[str, tuple[str, ...]],
    head: Head,
    record: LogRecord,
    *,
    offset: int,
) -> tuple[Decision, Mapping[RowKey, Row | None]]:
    """Return the decision of the log record at `offset`, and the rows that it changes.

    `rows` are those that are loaded, None for one that is not there; `buckets` the fields of whole buckets.

    Raises: NotLoaded, naming rows that it needs besides; nothing has changed then.
    """
    log_time_ms = max(head.log_time_ms, record.stamp_ms or 0)
    if record.origin is not None and repeats(head, record):
        return Decision(log_time_ms), {}
    message = record.message
    if isinstance(message, InteractionEvent) and record.to.kind == "contact":
        joined = assign.joined_at_once(rows, record, message, log_time_ms)
        if joined is not None:
            event, changes = joined
            return Decision(log_time_ms, (event,)), changes
    turn = Turn(rows, buckets, record, offset=offset, log_time_ms=log_time_ms)
    if isinstance(message, InteractionEvent):
        if record.to.kind == "contact":
            assign.at_contact(turn, message)
        else:
            assign.at_endpoint(turn, message)
    else:
        _HANDLERS[type(message)](turn, message)
    return Decision(log_time_ms, tuple(turn.events), tuple(turn.sends), turn.refusal), turn.changes


def repeats(head: Head, record: LogRecord) -> bool:
    """Return whether the record was taken before: its origin is not above the highest of its stream."""
    origin = record.origin
    if origin is None:
        return False
    highest = head.watermarks.get((origin.stream, origin.partition))
    return highest is not None and (origin.offset, origin.nth) <= highest


def first_rows(record: LogRecord) -> list[RowKey]:
    """Return the rows that deciding the record begins with, besides the partition's policy."""
    to, message = record.to, record.message
    if to.kind == "contact" and isinstance(message, InteractionEvent):
        return [contact_key(to.tenant, to.key), assign.entry_key(record, message)]
    keys: list[RowKey] = []
    if to.kind == "contact":
        keys.append(contact_key(to.tenant, to.key))
    elif to.kind == "conversation":
        keys.append(conversation_key(to.key))
    elif to.kind == "aliases" and isinstance(
        message, messages.ContactMerged | messages.EdgeStands | messages.EdgeStruck
    ):
        keys.append(aliases_key(to.tenant, message.contact_id))
    if isinstance(message, InteractionEvent):
        if to.kind == "endpoint" and not message.withheld:
            keys.append(endpoint_key(to.tenant, message.party))
        keys.append(assign.entry_key(record, message))
    elif to.kind == "endpoint":
        keys.append(endpoint_key(to.tenant, to.key))
    elif isinstance(message, messages.CloseAsked | messages.UnlinkAsked | messages.LinkAllowed):
        keys.append(conversation_key(message.conversation_id))
    return keys


def next_rows(row: Row | None) -> list[RowKey]:
    """Return the rows that a decision on the row is likely to need next."""
    if isinstance(row, Contact):
        latest = row.last or row.history
        named = row.open or (latest.conversation_id if latest is not None else None)
        return [] if named is None else [conversation_key(named)]
    if isinstance(row, Entry):
        return [] if row.to is not None else [conversation_key(row.conversation_id)]
    if isinstance(row, Conversation) and row.owner.kind == "contact":
        return [contact_key(row.owner.tenant, row.owner.key)]
    return []
