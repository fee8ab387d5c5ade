"""What the naive model says: updates, results of steps, conversations as they stand."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tests.model.steps import Direction, Fields, Timed

ConversationRef = int | str
"""The model numbers conversations in order of opening; the program's ids are strings."""

Status = Literal["open", "closed"]
InteractionKey = tuple[str, str, str, str | None]
"""Tenant, channel, interaction id, party: what names an interaction (contract 1)."""


class Refusal(StrEnum):
    """The codes of contract 9 that the rules of assignment can give."""

    AGENT_NOT_QUALIFIED = "agent_not_qualified"
    AGENT_UNKNOWN = "agent_unknown"
    INTERACTION_UNKNOWN = "interaction_unknown"
    CONVERSATION_UNKNOWN = "conversation_unknown"
    CONVERSATION_CLOSED = "conversation_closed"
    CONVERSATION_LINKED = "conversation_linked"
    NOT_LINKED_BY_HAND = "not_linked_by_hand"
    CONTACT_UNKNOWN = "contact_unknown"
    CONTACT_MERGE_CYCLE = "contact_merge_cycle"


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error of the model
    """The step is refused; raised before anything has been changed."""

    def __init__(self, code: Refusal) -> None:
        """Keep the code."""
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionView:
    """An interaction as an update shows it, whole; `party` is its canonical endpoint."""

    interaction_id: str
    channel: str
    direction: Direction
    party: str | None
    status: str
    occurred_at_ms: int
    agent_id: str | None
    auto_response: bool
    fields: Fields
    flags: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """An update (contract 7); of `contact.*` updates conversation, seq and status are None."""

    type: str
    tenant: str
    at_ms: int
    rule: str
    conversation: ConversationRef | None = None
    seq: int | None = None
    contact_id: str | None = None
    endpoint: str | None = None
    status: Status | None = None
    linked: bool | None = None
    previous: ConversationRef | None = None
    interaction: InteractionView | None = None
    by: str | None = None
    reason: str | None = None
    into: ConversationRef | None = None
    into_contact_id: str | None = None
    owner_contact_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What one step did; a refused one has its code and no updates."""

    updates: tuple[Update, ...] = ()
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A step with its result, one line of a history."""

    timed: Timed
    result: StepResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationRow:
    """A conversation as it stands (contract 8)."""

    tenant: str
    conversation: ConversationRef
    seq: int
    status: Status
    contact_id: str | None
    endpoint: str | None
    opened_at_ms: int
    closed_at_ms: int | None
    close_reason: str | None
    previous: ConversationRef | None
    interaction_count: int
    channels: dict[str, int]
    last_interaction_at_ms: int
