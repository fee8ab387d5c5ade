"""What vendors call a status, in the words of raw interactions. A word that is not here is no event that we know."""

from typing import Final

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
