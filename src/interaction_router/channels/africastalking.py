"""Africa's Talking: SMS in and delivery reports. Source: developers.africastalking.com, 2026."""

from typing import Final

from interaction_router.channels.bodies import Form, form_of
from interaction_router.channels.kit import (
    FORM,
    MULTIPART,
    Event,
    Reading,
    Request,
    Vendor,
    international,
    plain,
    read_each,
    required,
    when,
)
from interaction_router.channels.proofs import LOGIN_OR_TOKEN, bearer_or_basic
from interaction_router.channels.statuses import MESSAGE, status_of

_STATUSES: Final = {**MESSAGE, "success": "delivered", "absentsubscriber": "failed"}


def read(request: Request) -> Reading:
    """Return the message, or the report, that a form tells."""

    def one(form: Form) -> Event | None:
        word = form.get("status")
        status = "received" if word is None else status_of(word.lower(), _STATUSES, "status")
        reason = form.get("failureReason")
        fields = plain(
            channel="sms",
            direction="inbound" if word is None else "outbound",
            interaction_id=required(form.get("id"), "id"),
            status=status,
            occurred_at=when(request.received_at_ms, form.get("date")),
            from_=international(form.get("from")),
            to=international(form.get("phoneNumber") or form.get("to")),
            text=form.get("text"),
            provider="africastalking",
            metadata=None if reason is None else {"error": reason},
        )
        return Event(fields)

    return read_each([form_of(request)], one)


VENDOR: Final = Vendor(
    keys=frozenset({"username", "password", "token"}),
    media_types=frozenset({FORM, MULTIPART}),
    needs=lambda _: LOGIN_OR_TOKEN,
    check=bearer_or_basic,
    read=read,
)
