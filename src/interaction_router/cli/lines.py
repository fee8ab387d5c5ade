"""How updates and dead letters read as lines."""

from collections.abc import Mapping
from typing import Any, Final

WIDEST_TEXT: Final = 60

RULES: Final[Mapping[str, str]] = {
    "joined_open_conversation": "the contact's conversation was open",
    "opened_for_contact": "the contact had none open",
    "opened_unlinked": "the party is no saved contact",
    "joined_closed_late": "it happened before the close and came late",
    "joined_closed_auto": "an automatic answer opens nothing",
    "event_of_known": "a later event of the same interaction",
    "saved": "a contact was saved",
    "by_hand": "somebody linked or unlinked it",
    "requested": "somebody closed it",
    "idle": "it was idle on every channel",
    "superseded": "the contact has another one open",
    "merged": "its contact was merged",
    "contact_deleted": "its contact was deleted",
    "erased": "its contact was erased",
}
"""What each rule of an update's cause means, for people."""


def update_line(update: Mapping[str, Any]) -> str:
    """Return an update on one line: when, whose, what, why, and how it stands."""
    conversation = update.get("conversation_id")
    subject = f"{conversation} #{update['seq']}" if conversation else f"contact {update['contact_id']}"
    standing = f" [{standing_of(update)}]" if conversation else ""
    return f"{update['at']} {update['tenant']} {subject} {what_happened(update)}{standing} {cause_of(update)}"


def what_happened(update: Mapping[str, Any]) -> str:
    """Return what an update tells, without where and why."""
    kind = str(update["type"]).partition(".")[2]
    match update["type"]:
        case "conversation.interaction_added" | "conversation.interaction_updated":
            return f"{kind} {interaction_line(update['interaction'])}"
        case "conversation.opened":
            previous = update.get("previous_conversation_id")
            return f"{kind} after {previous}" if previous else kind
        case "conversation.closed":
            into = f" into {update['into']}" if update.get("into") else ""
            return f"{kind} {update['reason']}{into}"
        case "conversation.linked" | "conversation.unlinked":
            return f"{kind} by {update['by']}"
        case "contact.conflict":
            return f"{kind} {update['endpoint']} belongs to {update['owner_contact_id']}"
        case "contact.merged":
            return f"{kind} into {update['into']}"
        case _:
            return kind


def interaction_line(interaction: Mapping[str, Any]) -> str:
    """Return an interaction's channel, direction, status, agent, flags and the beginning of what it says."""
    words = [str(interaction[name]) for name in ("channel", "direction", "status")]
    if interaction.get("agent_id"):
        words.append(f"agent {interaction['agent_id']}")
    words += [f"({flag})" for flag in interaction.get("flags", ())]
    text = " ".join(str(interaction.get("subject") or interaction.get("text") or "").split())
    if text:
        words.append(repr(text if len(text) <= WIDEST_TEXT else text[: WIDEST_TEXT - 1] + "…"))
    return " ".join(words)


def standing_of(update: Mapping[str, Any]) -> str:
    """Return a conversation's status and contact just after an update."""
    return f"{update['status']}, {update['contact_id'] or 'unlinked'}"


def cause_of(update: Mapping[str, Any]) -> str:
    """Return the rule and the record that made it so."""
    cause = update["cause"]
    return f"{cause['rule']} {place_of(cause)}"


def place_of(cause: Mapping[str, Any]) -> str:
    """Return where the record of a cause stands."""
    return f"{cause['topic']}/{cause['partition']}@{cause['offset']}"
