"""When a conversation of the naive model closes for idleness (rule 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.state import HOUR_MS, Conversation, Interaction

if TYPE_CHECKING:
    from tests.model.state import Policy

LONGEST_CALL_MS = 12 * HOUR_MS
IN_PROGRESS = frozenset({"ringing", "answered"})


def counts_as_activity(interaction: Interaction) -> bool:
    """Tell whether the interaction, and a call's events, reset idle time."""
    # Reading: an automatic response counts only where it opened the conversation itself, and
    # one that does not count makes its channel no used one either.
    return not interaction.auto_response or interaction.opened_conversation


def is_due(conversation: Conversation, *, policy: Policy, now_ms: int) -> bool:
    """Tell whether the conversation has been idle for long enough to close."""
    if not conversation.is_open:
        return False
    for interaction in filter(counts_as_activity, conversation.interactions):
        idle_ms = policy.idle_close_ms.get(interaction.channel)
        if idle_ms is None or now_ms < interaction.last_activity_at_ms + idle_ms:
            return False
        # Reading: the 12 hours count from the log time of the call's first event.
        in_progress = interaction.channel == "voice" and interaction.status in IN_PROGRESS
        if in_progress and now_ms < interaction.first_event_at_ms + LONGEST_CALL_MS:
            return False
    return True
