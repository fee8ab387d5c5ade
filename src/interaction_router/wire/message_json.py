"""Log records and what they tell as JSON; the event of an interaction by hand, all others by their types."""

from typing import Any, Final

from interaction_router.domain import messages
from interaction_router.domain.ids import Entity, Place
from interaction_router.domain.messages import InteractionEvent, LogRecord, Message, Origin, Raw, Send
from interaction_router.wire.interaction_json import interaction_json, read_interaction
from interaction_router.wire.shapes import Tags

MESSAGES: Final = Tags(
    {
        "interaction_event": InteractionEvent,
        "contact_saved": messages.ContactSaved,
        "endpoints_added": messages.EndpointsAdded,
        "contact_deleted": messages.ContactDeleted,
        "contact_merged": messages.ContactMerged,
        "merge_allowed": messages.MergeAllowed,
        "become_alias": messages.BecomeAlias,
        "edge_struck": messages.EdgeStruck,
        "alias_ended": messages.AliasEnded,
        "alias_moved": messages.AliasMoved,
        "contact_moved": messages.ContactMoved,
        "conversation_returned": messages.ConversationReturned,
        "endpoint_claimed": messages.EndpointClaimed,
        "endpoint_released": messages.EndpointReleased,
        "adopted": messages.Adopted,
        "settle_continued": messages.SettleContinued,
        "close_asked": messages.CloseAsked,
        "link_asked": messages.LinkAsked,
        "link_allowed": messages.LinkAllowed,
        "hand_linked": messages.HandLinked,
        "unlink_asked": messages.UnlinkAsked,
        "hand_unlinked": messages.HandUnlinked,
        "erase_asked": messages.EraseAsked,
        "tick": messages.Tick,
        "retire": messages.Retire,
        "index_grown": messages.IndexGrown,
        "policy_set": messages.PolicySet,
    }
)


def plain_message(message: Message) -> dict[str, Any]:
    """Return the message's JSON object, ready for `shapes.dumps`."""
    if not isinstance(message, InteractionEvent):
        return MESSAGES.plain(message)
    fields: dict[str, Any] = {
        "type": "interaction_event",
        "party": message.party,
        "event_id": message.event_id,
        "interaction": interaction_json(message.interaction),
    }
    if message.asked:
        fields["asked"] = message.asked
    return fields


def read_message(fields: dict[str, Any]) -> Message:
    """Return the message of its JSON object, which is used up."""
    if fields["type"] == "interaction_event":
        asked = fields.get("asked")
        return InteractionEvent(
            fields["party"],
            fields["event_id"],
            read_interaction(fields["interaction"]),
            tuple(asked) if asked else (),
        )
    message: Message = MESSAGES.read(fields)
    return message


def plain_record(record: LogRecord) -> dict[str, Any]:
    """Return the record's JSON object; the raw record is not in it."""
    fields: dict[str, Any] = {"to": [*record.to]}
    if record.stamp_ms is not None:
        fields["stamp_ms"] = record.stamp_ms
    add_provenance(fields, record.cause, record.origin, record.trace)
    fields["message"] = plain_message(record.message)
    return fields


def read_record(fields: dict[str, Any], raw: Raw | None, arrived_ms: int) -> LogRecord:
    """Return the record of its JSON object, of the raw record beside it, and of when the log says that it came."""
    cause, origin, trace = read_provenance(fields)
    stamp_ms = fields.get("stamp_ms", arrived_ms)
    return LogRecord(Entity(*fields["to"]), read_message(fields["message"]), cause, stamp_ms, origin, trace, raw)


def add_provenance(fields: dict[str, Any], cause: Place | None, origin: Origin | None, trace: str | None) -> None:
    """Add where a record comes from to its JSON object, what there is of it."""
    if cause is not None:
        fields["cause"] = [*cause]
    if origin is not None:
        fields["origin"] = [*origin]
    if trace is not None:
        fields["trace"] = trace


def read_provenance(fields: dict[str, Any]) -> tuple[Place | None, Origin | None, str | None]:
    """Return what `add_provenance` was given."""
    cause, origin = fields.get("cause"), fields.get("origin")
    return None if cause is None else Place(*cause), None if origin is None else Origin(*origin), fields.get("trace")


def plain_send(send: Send) -> dict[str, Any]:
    """Return the JSON object of a record for another home."""
    return {"to": [*send.to], "message": plain_message(send.message)}


def read_send(fields: dict[str, Any]) -> Send:
    """Return what `plain_send` was given."""
    return Send(Entity(*fields["to"]), read_message(fields["message"]))
