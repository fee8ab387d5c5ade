"""A bench to tell a history to the naive model in few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.naive import NaiveRouter
from tests.model.steps import (
    CloseConversation,
    DeleteContact,
    Direction,
    EraseContact,
    Fields,
    InteractionEvent,
    LinkConversation,
    MergeContact,
    SaveAgent,
    SaveContact,
    Step,
    Tick,
    Timed,
    UnlinkConversation,
)
from tests.model.updates import Recorded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.model.state import Policy
    from tests.model.updates import StepResult

TENANT = "acme"
PHONE = "tel:+27821234567"
START_MS = 1_795_334_400_000


class Bench:
    """A router, a clock that ticks 1 ms a step, and the history of what was told."""

    def __init__(self, *, policy: Policy) -> None:
        """Start at a whole second."""
        self.router = NaiveRouter(policy=policy)
        self.now_ms = START_MS
        self.history: list[Recorded] = []
        self._commands = 0

    def tell(self, step: Step) -> StepResult:
        """Do a step, 1 ms after the one before."""
        self.now_ms += 1
        result = self.router.step(step, at_ms=self.now_ms)
        recorded = Recorded(timed=Timed(step=step, at_ms=self.now_ms), result=result)
        self.history.append(recorded)
        return result

    def wait(self, span_ms: int) -> None:
        """Let time pass."""
        self.now_ms += span_ms

    def event(
        self,
        interaction_id: str,
        status: str = "received",
        *,
        channel: str = "sms",
        endpoint: str | None = PHONE,
        direction: Direction = "inbound",
        occurred_at_ms: int | None = None,
        event_id: str | None = None,
        agent_id: str | None = None,
        auto_response: bool = False,
        fields: Fields | None = None,
        tenant: str = TENANT,
    ) -> StepResult:
        """Tell an event, by default of an inbound SMS that occurs as it arrives."""
        occurred = self.now_ms + 1 if occurred_at_ms is None else occurred_at_ms
        return self.tell(
            InteractionEvent(
                tenant=tenant,
                channel=channel,
                direction=direction,
                interaction_id=interaction_id,
                endpoint=endpoint,
                status=status,
                occurred_at_ms=occurred,
                event_id=event_id,
                agent_id=agent_id,
                auto_response=auto_response,
                fields=fields or Fields(),
            )
        )

    def call(self, interaction_id: str, status: str, *, endpoint: str | None = PHONE) -> StepResult:
        """Tell an event of an inbound call."""
        return self.event(interaction_id, status, channel="voice", endpoint=endpoint)

    def save(self, contact_id: str, *endpoints: str, tenant: str = TENANT) -> StepResult:
        """Save a contact with these endpoints and no others."""
        return self.tell(SaveContact(tenant=tenant, contact_id=contact_id, endpoints=endpoints))

    def delete(self, contact_id: str) -> StepResult:
        """Delete a contact."""
        return self.tell(DeleteContact(tenant=TENANT, contact_id=contact_id))

    def merge(self, contact_id: str, into: str) -> StepResult:
        """Merge a contact into another."""
        return self.tell(MergeContact(tenant=TENANT, contact_id=contact_id, into=into))

    def close(self, conversation: int, *, command_id: str | None = None) -> StepResult:
        """Close a conversation by command."""
        command_id = command_id or self._new_command_id()
        return self.tell(CloseConversation(tenant=TENANT, conversation=conversation, command_id=command_id))

    def link(self, conversation: int, contact_id: str) -> StepResult:
        """Link a conversation by hand."""
        return self.tell(
            LinkConversation(
                tenant=TENANT,
                conversation=conversation,
                contact_id=contact_id,
                command_id=self._new_command_id(),
            )
        )

    def unlink(self, conversation: int) -> StepResult:
        """Undo a link by hand."""
        command_id = self._new_command_id()
        return self.tell(UnlinkConversation(tenant=TENANT, conversation=conversation, command_id=command_id))

    def erase(self, contact_id: str) -> StepResult:
        """Erase a contact."""
        command_id = self._new_command_id()
        return self.tell(EraseContact(tenant=TENANT, contact_id=contact_id, command_id=command_id))

    def agent(self, agent_id: str, *channels: str) -> StepResult:
        """Save an agent; without channels it is gone."""
        qualified = frozenset(channels) if channels else None
        return self.tell(SaveAgent(tenant=TENANT, agent_id=agent_id, channels=qualified))

    def tick(self) -> StepResult:
        """Let what is idle close."""
        return self.tell(Tick())

    def _new_command_id(self) -> str:
        self._commands += 1
        return f"command-{self._commands}"


def told(result: StepResult) -> list[tuple[object, ...]]:
    """Show the updates of a step in short.

    Each is conversation, kind, rule and contact, then what else it names: the conversation that
    it was closed into or the previous one, the contact that owns the endpoint or survives.
    """
    return [
        (
            each.conversation,
            each.type.removeprefix("conversation."),
            each.rule,
            each.contact_id,
            *_special(each.into, each.previous, each.owner_contact_id, each.into_contact_id),
        )
        for each in result.updates
    ]


def _special(*values: object) -> Sequence[object]:
    return [value for value in values if value is not None]
