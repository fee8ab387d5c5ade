"""Outcomes as JSON; what an ordinary interaction brings about by hand, all other events by their types."""

from typing import Any, Final

from interaction_router.domain import events
from interaction_router.domain.events import (
    Decision,
    Event,
    InteractionAdded,
    InteractionUpdated,
    Opened,
    Outcome,
    Refusal,
    RowPut,
    Standing,
)
from interaction_router.domain.ids import Entity
from interaction_router.domain.messages import Raw
from interaction_router.domain.rows import RowKey
from interaction_router.wire.interaction_json import interaction_json, read_interaction
from interaction_router.wire.message_json import add_provenance, plain_send, read_provenance, read_send
from interaction_router.wire.row_json import plain_row, read_row
from interaction_router.wire.shapes import Tags, plain_fields

EVENTS: Final = Tags(
    {
        "conversation.opened": Opened,
        "conversation.interaction_added": InteractionAdded,
        "conversation.interaction_updated": InteractionUpdated,
        "conversation.linked": events.Linked,
        "conversation.unlinked": events.Unlinked,
        "conversation.closed": events.Closed,
        "conversation.erased": events.Erased,
        "contact.conflict": events.Conflicted,
        "contact.merged": events.AliasMade,
        "row.put": RowPut,
        "row.gone": events.RowGone,
    }
)


def plain_event(event: Event) -> dict[str, Any]:
    """Return the event's JSON object, ready for `shapes.dumps`."""
    match event:
        case InteractionAdded():
            return {
                "type": "conversation.interaction_added",
                "now": [*event.now],
                "entry": event.entry,
                "event": event.event,
                "interaction": interaction_json(event.interaction),
            }
        case InteractionUpdated():
            return {
                "type": "conversation.interaction_updated",
                "now": [*event.now],
                "entry": event.entry,
                "event": event.event,
                "interaction": interaction_json(event.interaction),
                "names_agent_at_ms": event.names_agent_at_ms,
            }
        case Opened():
            return {
                "type": "conversation.opened",
                "now": [*event.now],
                "owner": [*event.owner],
                "previous": event.previous,
            }
        case RowPut():
            return {"type": "row.put", "key": [*event.key], "row": plain_row(event.row)}
        case _:
            return EVENTS.plain(event)


def read_event(fields: dict[str, Any]) -> Event:
    """Return the event of its JSON object, which is used up."""
    match fields["type"]:
        case "conversation.interaction_added":
            return InteractionAdded(
                Standing(*fields["now"]), fields["entry"], fields["event"], read_interaction(fields["interaction"])
            )
        case "conversation.interaction_updated":
            return InteractionUpdated(
                Standing(*fields["now"]),
                fields["entry"],
                fields["event"],
                read_interaction(fields["interaction"]),
                fields["names_agent_at_ms"],
            )
        case "conversation.opened":
            return Opened(Standing(*fields["now"]), Entity(*fields["owner"]), fields["previous"])
        case "row.put":
            return RowPut(RowKey(*fields["key"]), read_row(fields["row"]))
        case _:
            event: Event = EVENTS.read(fields)
            return event


def plain_outcome(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome's JSON object; the raw record is not in it."""
    decision = outcome.decision
    fields: dict[str, Any] = {
        "offset": outcome.offset,
        "expected": outcome.expected,
        "done": outcome.done,
        "tenant": outcome.tenant,
        "log_time_ms": decision.log_time_ms,
    }
    add_provenance(fields, outcome.cause, outcome.origin, outcome.trace)
    if decision.events:
        fields["events"] = [plain_event(event) for event in decision.events]
    if decision.sends:
        fields["sends"] = [plain_send(send) for send in decision.sends]
    if decision.refusal is not None:
        fields["refusal"] = plain_fields(decision.refusal)
    return fields


def read_outcome(fields: dict[str, Any], raw: Raw | None) -> Outcome:
    """Return the outcome of its JSON object and of the raw record that came beside it."""
    cause, origin, trace = read_provenance(fields)
    refusal = fields.get("refusal")
    decision = Decision(
        fields["log_time_ms"],
        tuple(read_event(event) for event in fields.get("events", ())),
        tuple(read_send(send) for send in fields.get("sends", ())),
        None if refusal is None else Refusal(**refusal),
    )
    return Outcome(
        fields["offset"], fields["expected"], fields["done"], fields["tenant"], cause, origin, trace, decision, raw
    )
