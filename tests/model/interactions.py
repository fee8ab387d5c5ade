"""What the events of one interaction make of it in the naive model (rule 5)."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from tests.model.idle import counts_as_activity
from tests.model.state import MINUTE_MS, Conversation, Interaction, Policy
from tests.model.steps import Fields, InteractionEvent
from tests.model.updates import InteractionView, Refusal, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

CLOCK_AHEAD_MS = 5 * MINUTE_MS
RECEIPTS = frozenset({"delivered", "read"})
VOICE_RANKS = {"ringing": 0, "answered": 1, "ended": 2, "missed": 2, "failed": 2, "cancelled": 2}
MESSAGE_RANKS = {"queued": 0, "sent": 1, "received": 1, "failed": 2, "delivered": 3, "read": 4}


def flags_for_agent(event: InteractionEvent, *, agents: Mapping[str, frozenset[str]], policy: Policy) -> frozenset[str]:
    """Check the agent (contract 5); `agents` are those of the tenant that live, with channels.

    Raises:
        Refused: an outbound one by an agent that may not.

    """
    if not agents or event.agent_id is None:
        return frozenset()
    channels = agents.get(event.agent_id)
    if channels is not None and event.channel in channels:
        return frozenset()
    code = Refusal.AGENT_UNKNOWN if channels is None else Refusal.AGENT_NOT_QUALIFIED
    if event.direction == "outbound" and policy.unqualified == "reject":
        raise Refused(code)
    return frozenset({code.value})


def clamped(event: InteractionEvent, *, now_ms: int) -> InteractionEvent:
    """Set back the clock of an event that is too far ahead of the log's (rule 9)."""
    if event.occurred_at_ms <= now_ms + CLOCK_AHEAD_MS:
        return event
    return replace(event, occurred_at_ms=now_ms, flags=event.flags | {"clock_ahead"})


def interaction_of(event: InteractionEvent, conversation: Conversation, *, now_ms: int) -> Interaction:
    """Make the interaction that its first event tells of."""
    return Interaction(
        interaction_id=event.interaction_id,
        channel=event.channel,
        direction=event.direction,
        party=event.endpoint,
        status=event.status,
        occurred_at_ms=event.occurred_at_ms,
        agent_id=event.agent_id,
        agent_named_at_ms=event.occurred_at_ms,
        auto_response=event.auto_response,
        fields=event.fields,
        flags=event.flags,
        seen={(event.status, event.event_id)},
        conversation=conversation,
        first_event_at_ms=now_ms,
        last_activity_at_ms=now_ms,
        opened_conversation=not conversation.interactions,
    )


def take_later_event(known: Interaction, event: InteractionEvent, *, now_ms: int) -> None:
    """Change the interaction by an event that is not its first; `occurred_at` stays the first's."""
    known.seen.add((event.status, event.event_id))
    ranks = VOICE_RANKS if event.channel == "voice" else MESSAGE_RANKS
    if ranks[event.status] > ranks[known.status]:
        known.status = event.status
    filling = {name: value for name, value in asdict(event.fields).items() if value is not None}
    present = {name: value for name, value in asdict(known.fields).items() if value is not None}
    known.fields = Fields(**(filling | present))
    known.flags |= event.flags
    # Reading: the present agent named again, later, is named by the later event from then on.
    if event.agent_id is not None and (known.agent_id is None or event.occurred_at_ms > known.agent_named_at_ms):
        known.agent_id = event.agent_id
        known.agent_named_at_ms = event.occurred_at_ms
    if known.channel == "voice" and counts_as_activity(known):
        known.last_activity_at_ms = now_ms


def view_of(interaction: Interaction) -> InteractionView:
    """Show the interaction as it is now."""
    return InteractionView(
        interaction_id=interaction.interaction_id,
        channel=interaction.channel,
        direction=interaction.direction,
        party=interaction.party,
        status=interaction.status,
        occurred_at_ms=interaction.occurred_at_ms,
        agent_id=interaction.agent_id,
        auto_response=interaction.auto_response,
        fields=interaction.fields,
        flags=interaction.flags,
    )
