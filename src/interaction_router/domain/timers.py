"""Closing what is idle: only a tick in the log closes, so that a replay closes at the same place."""

from dataclasses import replace

from interaction_router.domain.messages import PolicyIndexed, PolicySet, Tick
from interaction_router.domain.rows import POLICY, Conversation, Policy, conversation_key
from interaction_router.domain.turn import Turn

CALL_LIMIT_MS = 12 * 3_600_000
"""A call that has not ended keeps its conversation open for so long."""


def due_at_ms(row: Conversation, policy: Policy) -> int | None:
    """Return the log time at which an open conversation is idle, None where nothing ever makes it so."""
    if row.status != "open" or not row.activity:
        return None
    due = 0
    for channel, at_ms in row.activity.items():
        span = policy.idle_close_ms.get(channel)
        if span is None:
            return None
        due = max(due, at_ms + span)
    return max(due, *(began + CALL_LIMIT_MS for began in row.calls.values())) if row.calls else due


def tick(turn: Turn, message: Tick) -> None:
    """Close those of the conversations that are idle by now and here.

    The others were named by an index that a change of the policy has left behind: their rows are put again as they
    are, which brings the index up to date.
    """
    turn.need(map(conversation_key, message.conversations))
    rows = [turn.row(conversation_key(each)) for each in message.conversations]
    turn.need(key for row in rows if isinstance(row, Conversation) for key in turn.keys_of_owner(row))
    for conversation_id in message.conversations:
        row = turn.row(conversation_key(conversation_id))
        if not isinstance(row, Conversation):
            continue
        due = due_at_ms(row, turn.policy)
        if due is not None and due <= turn.log_time_ms:
            turn.close(row, "idle")
        else:
            turn.put(conversation_key(conversation_id), row)


def policy_set(turn: Turn, message: PolicySet) -> None:
    """The settings that decide are these from here on."""
    turn.put(POLICY, message.policy)


def policy_indexed(turn: Turn, message: PolicyIndexed) -> None:
    """The index of what is due is of these settings, unless others have come since."""
    if turn.policy.pending == message.pending:
        turn.put(POLICY, replace(turn.policy, pending=""))
