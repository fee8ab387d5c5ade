"""Log records and what they tell as JSON; the event of an interaction by hand, all others by their types."""

from typing import Any, Final

import orjson

from interaction_router.domain import messages
from interaction_router.domain.ids import Entity, Place
from interaction_router.domain.interactions import Interaction
from interaction_router.domain.messages import InteractionEvent, LogRecord, Message, Origin, Raw, Send
from interaction_router.wire.interaction_json import (
    interaction_bytes,
    interaction_json,
    read_interaction,
    written_interaction,
)
from interaction_router.wire.shapes import Tags, dumps

_EVENT: Final = "interaction_event"

MESSAGES: Final = Tags(
    {
        _EVENT: InteractionEvent,
        "contact_saved": messages.ContactSaved,
        "endpoints_added": messages.EndpointsAdded,
        "contact_deleted": messages.ContactDeleted,
        "contact_merged": messages.ContactMerged,
        "merge_allowed": messages.MergeAllowed,
        "become_alias": messages.BecomeAlias,
        "merge_waits": messages.MergeWaits,
        "edge_stands": messages.EdgeStands,
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
        "policy_indexed": messages.PolicyIndexed,
    }
)


def plain_message(message: Message) -> dict[str, Any]:
    """Return the message's JSON object, ready for `shapes.dumps`."""
    if not isinstance(message, InteractionEvent):
        return MESSAGES.plain(message)
    return {**_plain_event(message), "interaction": interaction_json(message.interaction)}


def _plain_event(message: InteractionEvent) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": _EVENT, "party": message.party, "event_id": message.event_id}
    if message.asked:
        fields["asked"] = message.asked
    return fields


def read_message(fields: dict[str, Any]) -> Message:
    """Return the message of its JSON object, which is used up."""
    if fields["type"] == _EVENT:
        return _read_event(fields, read_interaction(fields["interaction"]))
    message: Message = MESSAGES.read(fields)
    return message


def _read_event(fields: dict[str, Any], interaction: Interaction) -> InteractionEvent:
    asked = fields.get("asked")
    return InteractionEvent(fields["party"], fields["event_id"], interaction, tuple(asked) if asked else ())


def write_record(record: LogRecord) -> bytes:
    """Return the record as JSON; the raw record is not in it.

    The interaction of an event stands on a line of its own behind the rest, since nobody on the way to its subscribers
    changes a byte of it.
    """
    fields: dict[str, Any] = {"to": [*record.to]}
    if record.stamp_ms is not None:
        fields["stamp_ms"] = record.stamp_ms
    add_provenance(fields, record.cause, record.origin, record.trace)
    message = record.message
    if isinstance(message, InteractionEvent):
        fields["message"] = _plain_event(message)
        return orjson.dumps(fields) + b"\n" + interaction_bytes(message.interaction)
    fields["message"] = MESSAGES.plain(message)
    return dumps(fields)


def read_record(value: bytes, raw: Raw | None, arrived_ms: int) -> LogRecord:
    """Return the record of its JSON, of the raw record beside it, and of when the log says that it came."""
    first, _, second = value.partition(b"\n")
    fields = orjson.loads(first)
    told = fields["message"]
    message: Message = _read_event(told, written_interaction(second)) if second else MESSAGES.read(told)
    cause, origin, trace = read_provenance(fields)
    return LogRecord(Entity(*fields["to"]), message, cause, fields.get("stamp_ms", arrived_ms), origin, trace, raw)


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
