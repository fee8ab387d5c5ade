"""The rows of the tables as JSON; conversations and index entries, which every interaction writes, by hand."""

from typing import Any, Final

from interaction_router.domain.ids import Entity
from interaction_router.domain.rows import Alias, Contact, Conversation, Endpoint, Entry, Line, Moved, Policy, Row
from interaction_router.wire.interaction_json import interaction_json, read_interaction
from interaction_router.wire.shapes import Tags

ROWS: Final = Tags(
    {
        "contact": Contact,
        "endpoint": Endpoint,
        "alias": Alias,
        "line": Line,
        "conversation": Conversation,
        "moved": Moved,
        "entry": Entry,
        "policy": Policy,
    }
)


def plain_row(row: Row) -> dict[str, Any]:
    """Return the row's JSON object, ready for `shapes.dumps`."""
    if isinstance(row, Conversation):
        return _plain_conversation(row)
    if isinstance(row, Entry):
        return _plain_entry(row)
    return ROWS.plain(row)


def read_row(fields: dict[str, Any]) -> Row:
    """Return the row of its JSON object, which is used up."""
    kind = fields["type"]
    if kind == "conversation":
        return _read_conversation(fields)
    if kind == "entry":
        return _read_entry(fields)
    row: Row = ROWS.read(fields)
    return row


def _plain_conversation(row: Conversation) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "type": "conversation",
        "conversation_id": row.conversation_id,
        "tenant": row.tenant,
        "owner": [*row.owner],
        "seq": row.seq,
        "status": row.status,
        "contact_id": row.contact_id,
        "endpoint": row.endpoint,
        "opened_at_ms": row.opened_at_ms,
        "opened_offset": row.opened_offset,
    }
    if row.previous is not None:
        fields["previous"] = row.previous
    if row.closed_at_ms is not None:
        fields["closed_at_ms"] = row.closed_at_ms
    if row.close_reason is not None:
        fields["close_reason"] = row.close_reason
    if row.linked_by is not None:
        fields["linked_by"] = row.linked_by
    if row.interaction_count:
        fields["interaction_count"] = row.interaction_count
    if row.channels:
        fields["channels"] = row.channels
    if row.last_interaction_at_ms is not None:
        fields["last_interaction_at_ms"] = row.last_interaction_at_ms
    if row.activity:
        fields["activity"] = row.activity
    if row.calls:
        fields["calls"] = row.calls
    if row.commands:
        fields["commands"] = row.commands
    if row.retired:
        fields["retired"] = True
    return fields


def _read_conversation(fields: dict[str, Any]) -> Conversation:
    del fields["type"]
    fields["owner"] = Entity(*fields["owner"])
    if "commands" in fields:
        fields["commands"] = tuple(fields["commands"])
    return Conversation(**fields)


def _plain_entry(row: Entry) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": "entry", "conversation_id": row.conversation_id}
    if row.to is not None:
        fields["to"] = [*row.to]
    if row.seen:
        fields["seen"] = row.seen
    if row.agent_named_at_ms is not None:
        fields["agent_named_at_ms"] = row.agent_named_at_ms
    if row.interaction is not None:
        fields["interaction"] = interaction_json(row.interaction)
    if row.at_ms:
        fields["at_ms"] = row.at_ms
    return fields


def _read_entry(fields: dict[str, Any]) -> Entry:
    to, interaction = fields.get("to"), fields.get("interaction")
    return Entry(
        fields["conversation_id"],
        None if to is None else Entity(*to),
        tuple(fields.get("seen", ())),
        fields.get("agent_named_at_ms"),
        None if interaction is None else read_interaction(interaction),
        fields.get("at_ms", 0),
    )
