"""What the router tells its subscribers: updates, conversations as they stand and dead letters (7 to 9 of the contract).

All are views of outcomes: the same outcome gives the same bytes, ids and times included.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias, assert_never

import orjson

from interaction_router.domain.errors import RejectedError
from interaction_router.domain.events import (
    AliasMade,
    Closed,
    Conflicted,
    ConversationEvent,
    Erased,
    InteractionAdded,
    InteractionUpdated,
    Linked,
    Opened,
    Outcome,
    Refusal,
    RowGone,
    RowPut,
    Unlinked,
)
from interaction_router.domain.ids import Place, contact_update_id, update_id
from interaction_router.domain.messages import Raw
from interaction_router.domain.names import topic_name
from interaction_router.domain.rows import Conversation
from interaction_router.ports import Outgoing
from interaction_router.wire.interaction_json import interaction_json
from interaction_router.wire.times import spell_time
from interaction_router.wire.trimming import trimmed

LOG_STREAM: Final = "internal.log"
DeadLetterStage: TypeAlias = Literal["intake", "assignment", "receive"]

_CONTENT_TYPE: Final = ("content-type", b"application/json")
_SPEC_VERSION: Final = ("ce_specversion", b"1.0")
_TYPE_HEADERS: Final = {
    kind: ("ce_type", f"{kind}.v1".encode())
    for kind in (
        "conversation.opened",
        "conversation.interaction_added",
        "conversation.interaction_updated",
        "conversation.linked",
        "conversation.unlinked",
        "conversation.closed",
        "conversation.erased",
        "contact.conflict",
        "contact.merged",
    )
}

_ROWS_ALONE: Final = (RowPut, RowGone)
"""Events of no concern to subscribers."""

_OF_CONTACTS: Final = (Conflicted, AliasMade)

Fields: TypeAlias = dict[str, Any]  # Any: what orjson takes, fragments too


class Update(NamedTuple):
    """An update for `NS.conversations.v1`; one of a contact names no conversation."""

    conversation_id: str | None
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class UpdateWriter:
    """Writes the updates of outcomes that stand on one partition of a namespace."""

    def __init__(self, namespace: str, partition: int, inputs: str | None = None) -> None:
        """`inputs` is the namespace of the raw records where it is another. Nothing of an outcome is kept."""
        self._namespace, self._inputs = namespace, inputs
        self._partition = partition
        self._topics: dict[str, str] = {}
        self._source = ("ce_source", f"/{namespace}".encode())

    def records(self, outcome: Outcome) -> list[Update]:
        """Return the updates of an outcome, in their order.

        Where no record from outside is the cause, as of a timer, it is the log record that the outcome is of.
        """
        return [
            self._of_contact(event, outcome)
            if isinstance(event, _OF_CONTACTS)
            else self._of_conversation(event, outcome)
            for event in outcome.decision.events
            if not isinstance(event, _ROWS_ALONE)
        ]

    def _of_conversation(self, event: ConversationEvent, outcome: Outcome) -> Update:
        conversation_id, seq, contact_id, endpoint, status, rule = event.now
        kind, own = _particulars(event)
        update, at = update_id(conversation_id, seq), spell_time(outcome.decision.log_time_ms)
        fields = {
            "type": kind,
            "id": update,
            "tenant": outcome.tenant,
            "conversation_id": conversation_id,
            "seq": seq,
            "at": at,
            "contact_id": contact_id,
            "endpoint": endpoint,
            "status": status,
            **own,
            "cause": self._cause(outcome, rule),
        }
        key = conversation_id.encode()
        headers = [_SPEC_VERSION, ("ce_id", update.encode()), _TYPE_HEADERS[kind], ("ce_subject", key)]
        headers += self._last_headers(outcome, at)
        return Update(conversation_id, key, trimmed(orjson.dumps(fields)), headers)

    def _of_contact(self, event: Conflicted | AliasMade, outcome: Outcome) -> Update:
        kind, rule, own = _particulars_of_contact(event)
        tenant, contact_id, at = outcome.tenant, event.contact_id, spell_time(outcome.decision.log_time_ms)
        stream, *place = self._place(outcome)
        update = contact_update_id(kind, tenant, contact_id, *own.values(), stream, *map(str, place))
        fields = {
            "type": kind,
            "id": update,
            "tenant": tenant,
            "at": at,
            "contact_id": contact_id,
            **own,
            "cause": self._cause(outcome, rule),
        }
        headers = [_SPEC_VERSION, ("ce_id", update.encode()), _TYPE_HEADERS[kind], *self._last_headers(outcome, at)]
        return Update(None, f"{tenant}|{contact_id}".encode(), trimmed(orjson.dumps(fields)), headers)

    def _place(self, outcome: Outcome) -> Place:
        return outcome.cause or Place(LOG_STREAM, self._partition, outcome.offset)

    def _cause(self, outcome: Outcome, rule: str) -> Fields:
        stream, partition, offset = self._place(outcome)
        topic = self._topics.get(stream)
        if topic is None:
            topic = self._topics[stream] = topic_name(self._namespace, stream, self._inputs)
        return {"topic": topic, "partition": partition, "offset": offset, "rule": rule}

    def _last_headers(self, outcome: Outcome, at: str) -> Sequence[tuple[str, bytes]]:
        headers = (("ce_time", at.encode()), self._source, _CONTENT_TYPE)
        return headers if outcome.trace is None else (*headers, ("traceparent", outcome.trace.encode()))


def update_records(outcome: Outcome, *, partition: int, namespace: str, inputs: str | None = None) -> list[Update]:
    """Return the updates of one outcome, as `UpdateWriter` does."""
    return UpdateWriter(namespace, partition, inputs).records(outcome)


def _particulars(event: ConversationEvent) -> tuple[str, Fields]:
    match event:
        case InteractionAdded():
            return "conversation.interaction_added", {"interaction": interaction_json(event.interaction)}
        case InteractionUpdated():
            return "conversation.interaction_updated", {"interaction": interaction_json(event.interaction)}
        case Opened():
            linked = event.now.contact_id is not None
            return "conversation.opened", {"linked": linked, "previous_conversation_id": event.previous}
        case Linked():
            return "conversation.linked", {"by": event.by}
        case Unlinked():
            return "conversation.unlinked", {"by": "hand"}
        case Closed():
            into = {} if event.into is None else {"into": event.into}
            return "conversation.closed", {"reason": event.reason, **into}
        case Erased():
            return "conversation.erased", {}
        case _:
            assert_never(event)


def _particulars_of_contact(event: Conflicted | AliasMade) -> tuple[str, str, dict[str, str]]:
    if isinstance(event, Conflicted):
        return "contact.conflict", "saved", {"owner_contact_id": event.owner_contact_id, "endpoint": event.endpoint}
    return "contact.merged", "merged", {"into": event.into}


def state_record(conversation: Conversation, stamp_ms: int | None = None) -> Outgoing:
    """Return the conversation as it stands, for the compacted topic; a tombstone of an erased one.

    Without `stamp_ms` it is stamped when it is appended.
    """
    key = conversation.conversation_id.encode()
    if conversation.status == "erased":
        return Outgoing(key, None, timestamp_ms=stamp_ms)
    last_ms, closed_ms = conversation.last_interaction_at_ms, conversation.closed_at_ms
    fields = {
        "tenant": conversation.tenant,
        "conversation_id": conversation.conversation_id,
        "seq": conversation.seq,
        "status": conversation.status,
        "contact_id": conversation.contact_id,
        "endpoint": conversation.endpoint,
        "opened_at": spell_time(conversation.opened_at_ms),
        "closed_at": None if closed_ms is None else spell_time(closed_ms),
        "close_reason": conversation.close_reason,
        "previous_conversation_id": conversation.previous,
        "interaction_count": conversation.interaction_count,
        "channels": conversation.channels,
        "last_interaction_at": None if last_ms is None else spell_time(last_ms),
    }
    return Outgoing(key, trimmed(orjson.dumps(fields)), (), stamp_ms)


def refusal_of(error: RejectedError) -> Refusal:
    """Return what the dead letter of a rejected record says."""
    return Refusal(error.code, error.cause, error.field)


def dead_letter(raw: Raw, refusal: Refusal, *, stage: DeadLetterStage, place: Place, topic: str) -> Outgoing:
    """Return the refused record, bytes intact, with why and from where; what it came with stands before."""
    return Outgoing(
        raw.key,
        raw.value,
        (
            *raw.headers,
            *_reasons(refusal, stage),
            ("dlq_topic", topic.encode()),
            ("dlq_partition", str(place.partition).encode()),
            ("dlq_offset", str(place.offset).encode()),
        ),
    )


def unread_payload(raw: Raw, refusal: Refusal, *, source: str) -> Outgoing:
    """Return an authentic payload that a receiver cannot read; `source` is `gateways/<vendor>/<tenant>`."""
    return Outgoing(raw.key, raw.value, (*raw.headers, *_reasons(refusal, "receive"), ("dlq_topic", source.encode())))


def _reasons(refusal: Refusal, stage: DeadLetterStage) -> tuple[tuple[str, bytes], ...]:
    message = refusal.message if refusal.field is None else f"{refusal.field}: {refusal.message}"
    return (
        ("dlq_code", refusal.code.encode()),
        ("dlq_message", message.encode()),
        ("dlq_stage", stage.encode()),
    )
