"""What vendors call a status, in the words of raw interactions. A word that is not here is no event that we know."""

from collections.abc import Mapping
from typing import Final

from interaction_router.channels.kit import UnreadableError

CALL: Final = {
    "queued": "ringing",
    "initiated": "ringing",
    "started": "ringing",
    "ringing": "ringing",
    "in-progress": "answered",
    "answered": "answered",
    "completed": "ended",
    "no-answer": "missed",
    "unanswered": "missed",
    "timeout": "missed",
    "busy": "missed",
    "rejected": "missed",
    "canceled": "cancelled",
    "cancelled": "cancelled",
    "failed": "failed",
}

MESSAGE: Final = {
    "received": "received",
    "receiving": "received",
    "accepted": "queued",
    "scheduled": "queued",
    "queued": "queued",
    "sending": "queued",
    "buffered": "queued",
    "pending": "queued",
    "processed": "queued",
    "sent": "sent",
    "submitted": "sent",
    "partially_delivered": "sent",
    "delivered": "delivered",
    "read": "read",
    "opened": "read",
    "open": "read",
    "failed": "failed",
    "undelivered": "failed",
    "undeliverable": "failed",
    "rejected": "failed",
    "expired": "failed",
    "bounce": "failed",
    "dropped": "failed",
    "canceled": "failed",
    "cancelled": "failed",
}


def status_of(word: str | None, statuses: Mapping[str, str], name: str) -> str:
    """Return the status that a vendor's word stands for; `name` is the field that it was in.

    Raises:
        UnreadableError: it is none that is known.
    """
    status = None if word is None else statuses.get(word)
    if status is None:
        raise UnreadableError(f"{name} is none that is known")
    return status
