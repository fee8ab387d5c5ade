"""Kannel: SMS in and delivery reports, as `get-url`, `post-url` and `dlr-url` are set up to send them (docs/channels.md).

Source: the Kannel user guide, sections on SMS services and delivery reports.
"""

import re
from typing import Final

from interaction_router.channels.bodies import Form, form_of
from interaction_router.channels.kit import (
    FORM,
    MULTIPART,
    Event,
    Reading,
    Request,
    Vendor,
    plain,
    read_each,
    required,
    when,
)
from interaction_router.channels.proofs import LOGIN, bearer_or_basic
from interaction_router.channels.statuses import status_of

_STATUSES: Final = {"1": "delivered", "2": "failed", "4": "queued", "8": "sent", "16": "failed"}
_WHOLE_NUMBER: Final = re.compile(r"[1-9]\d{9,14}", re.ASCII)
"""Digits that can only be a number with its country code; shorter ones may be national, or a short code."""


def read(request: Request) -> Reading:
    """Return the message, or the report, that a query or a form tells."""

    def one(form: Form) -> Event | None:
        word = form.get("status")
        status = "received" if word is None else status_of(word.strip(), _STATUSES, "status")
        fields = plain(
            channel="sms",
            direction="inbound" if word is None else "outbound",
            interaction_id=required(form.get("id"), "id"),
            status=status,
            occurred_at=when(request.received_at_ms, form.get("ts")),
            from_=_address(form.get("from")),
            to=_address(form.get("to")),
            text=form.get("text") if word is None else None,
            provider="kannel",
        )
        return Event(fields)

    return read_each([form_of(request)], one)


def _address(address: str | None) -> str | None:
    text = None if address is None else address.strip()
    return f"+{text}" if text and _WHOLE_NUMBER.fullmatch(text) else text


VENDOR: Final = Vendor(
    keys=frozenset({"username", "password"}),
    media_types=frozenset({FORM, MULTIPART}),
    needs=lambda _: LOGIN,
    check=bearer_or_basic,
    read=read,
    gets=True,
    # What is answered to a message, Kannel sends to the customer.
    answer=("text/plain", b""),
)
