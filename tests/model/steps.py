"""The inputs of the naive model: one dataclass a kind of record, parsed and canonical."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["inbound", "outbound"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The optional fields of an interaction that a later event may fill in."""

    text: str | None = None
    subject: str | None = None
    duration_s: int | None = None
    recording_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionEvent:
    """One event of an interaction; `endpoint` is the party, None where it is withheld."""

    tenant: str
    channel: str
    direction: Direction
    interaction_id: str
    endpoint: str | None
    status: str
    occurred_at_ms: int
    event_id: str | None = None
    agent_id: str | None = None
    auto_response: bool = False
    fields: Fields = Fields()
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveContact:
    """`contact.saved`: the whole contact as it is saved now."""

    tenant: str
    contact_id: str
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteContact:
    """`contact.deleted`."""

    tenant: str
    contact_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeContact:
    """`contact.merged`: `contact_id` goes on as an alias of `into`."""

    tenant: str
    contact_id: str
    into: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseConversation:
    """`conversation.close`.

    `conversation` is the place in order of opening, of all tenants together, from 0; a negative
    one counts from the latest, -1, and means what `NaiveRouter.aim` makes of it.
    """

    tenant: str
    conversation: int
    command_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConversation:
    """`conversation.link`, by hand."""

    tenant: str
    conversation: int
    contact_id: str
    command_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlinkConversation:
    """`conversation.unlink`, the undoing of a link by hand."""

    tenant: str
    conversation: int
    command_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseContact:
    """`contact.erase`."""

    tenant: str
    contact_id: str
    command_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveAgent:
    """An agent record; `channels` None is the null value: the agent is gone."""

    tenant: str
    agent_id: str
    channels: frozenset[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time has passed: what is idle by now closes."""


ToConversation = CloseConversation | LinkConversation | UnlinkConversation
Command = ToConversation | EraseContact
Step = InteractionEvent | SaveContact | DeleteContact | MergeContact | Command | SaveAgent | Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A step and the log time at which it arrives."""

    step: Step
    at_ms: int
