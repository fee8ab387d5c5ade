"""Infobip: SMS in and delivery reports. Source: www.infobip.com/docs/api/channels/sms, 2026."""

from functools import partial
from typing import Final

from interaction_router.channels.bodies import json_of
from interaction_router.channels.kit import (
    JSON,
    Event,
    Json,
    Reading,
    Request,
    UnreadableError,
    Vendor,
    first,
    inner,
    international,
    plain,
    read_each,
    required,
    when,
    words,
)
from interaction_router.channels.proofs import LOGIN_OR_TOKEN, bearer_or_basic
from interaction_router.channels.statuses import MESSAGE, status_of


def read(request: Request) -> Reading:
    """Return what every result tells."""
    results = inner(json_of(request.body), "results")
    if not isinstance(results, list):
        raise UnreadableError("there is no list `results`")
    return read_each(results, partial(_one, received_at_ms=request.received_at_ms))


def _one(told: Json, *, received_at_ms: int) -> Event | None:
    if not isinstance(told, dict):
        raise UnreadableError("a result is no object")
    message = required(words(told.get("messageId")), "messageId")
    report = told.get("status")
    word = first(inner(report, "groupName"), report) or ""
    status = "received" if report is None else status_of(word.lower(), MESSAGE, "status.groupName")
    error = words(inner(told, "error", "name")) if status == "failed" else None
    fields = plain(
        channel="sms",
        direction="inbound" if report is None else "outbound",
        interaction_id=message,
        status=status,
        occurred_at=when(received_at_ms, told.get("receivedAt"), told.get("doneAt"), told.get("sentAt")),
        from_=international(first(told.get("from"), told.get("sender"))),
        to=international(first(told.get("to"), told.get("destination"))),
        text=first(told.get("text"), told.get("cleanText")),
        provider="infobip",
        metadata=None if error is None else {"error": error},
    )
    return Event(fields)


VENDOR: Final = Vendor(
    keys=frozenset({"username", "password", "token"}),
    media_types=frozenset({JSON}),
    needs=lambda _: LOGIN_OR_TOKEN,
    check=bearer_or_basic,
    read=read,
)
