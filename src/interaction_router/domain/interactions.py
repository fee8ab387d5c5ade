"""One exchange over one channel, and how its later events change it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Literal, TypeAlias

from interaction_router.domain.values import dataclass, replace

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
Direction = Literal["inbound", "outbound"]
Status = Literal[
    "ringing", "answered", "ended", "missed", "failed", "cancelled", "received", "queued", "sent", "delivered", "read"
]
Flag = Literal["address_opaque", "agent_not_qualified", "agent_unknown", "clock_ahead"]

VOICE = "voice"
CLOCK_AHEAD_LIMIT_MS = 5 * 60_000
BYTES_LIMIT = 3 << 19
"""How long an interaction may be as JSON: the topics behind it take 2 MiB, and an update says more than this."""

_SMALL_CHARACTERS = 4_096

_VOICE_RANK: Mapping[str, int] = {"ringing": 0, "answered": 1, "ended": 2, "missed": 2, "failed": 2, "cancelled": 2}
_MESSAGE_RANK: Mapping[str, int] = {"queued": 0, "sent": 1, "received": 1, "failed": 2, "delivered": 3, "read": 4}
_RECEIPTS = frozenset({"delivered", "read"})


@dataclass(frozen=True, slots=True)
class Interaction:
    """An interaction as its events so far have told it.

    `sender` and `recipients` are `from` and `to` as they came: a string, an object of address and name, or null.
    `details` holds what is only carried: subject, text, html, attachments, references, duration_s, recording_url,
    auto_response, provider, metadata, and `extra` for what the contract does not name. A field that nobody gave, or
    gave as null, is not in it. `written` is what the wire has made of it, for the wire alone; a changed interaction
    begins without.
    """

    interaction_id: str
    channel: str
    direction: Direction
    status: Status
    occurred_at_ms: int
    sender: Json
    recipients: Sequence[Json]
    agent_id: str | None
    flags: tuple[Flag, ...]
    details: Mapping[str, Json]
    written: bytes | None = field(init=False, compare=False, repr=False, default=None)

    @property
    def auto_response(self) -> bool:
        """Whether a machine answered: it keeps nothing open."""
        return self.details.get("auto_response") is True

    @property
    def in_progress(self) -> bool:
        """Whether this is a call that has not ended."""
        return self.channel == VOICE and self.status in {"ringing", "answered"}


def rank(channel: str, status: Status) -> int:
    """Return how far `status` is on; of two, the higher one stands, of equals the first."""
    return (_VOICE_RANK if channel == VOICE else _MESSAGE_RANK)[status]


def is_receipt(channel: str, status: Status) -> bool:
    """Return whether the status tells of another event's message, and so is no interaction without a party."""
    return channel != VOICE and status in _RECEIPTS


def clamp_clock(interaction: Interaction, log_time_ms: int) -> Interaction:
    """Return the interaction with a provider's clock that runs ahead of the log's set back and flagged."""
    if interaction.occurred_at_ms <= log_time_ms + CLOCK_AHEAD_LIMIT_MS:
        return interaction
    return replace(interaction, occurred_at_ms=log_time_ms, flags=_united(interaction.flags, ("clock_ahead",)))


def with_event(known: Interaction, event: Interaction, *, names_agent: bool) -> Interaction:
    """Return `known` after a later event of it: status never goes back, null fields are filled in.

    `names_agent`: the event happened after the one that named the present agent.
    """
    agent = event.agent_id if event.agent_id is not None and (names_agent or known.agent_id is None) else known.agent_id
    further = rank(known.channel, event.status) > rank(known.channel, known.status)
    told = _told_only_by(event, known)
    return replace(
        known,
        status=event.status if further else known.status,
        sender=event.sender if "from" in told else known.sender,
        recipients=event.recipients if "to" in told else known.recipients,
        agent_id=agent,
        flags=_united(known.flags, event.flags),
        details=_filled(known.details, event.details, told),
    )


def _told_only_by(event: Interaction, known: Interaction) -> Mapping[str, Json]:
    """Return the fields that are null until the event, as far as the topics hold the interaction with them."""
    told = {name: value for name, value in event.details.items() if name not in known.details}
    if known.sender is None and event.sender is not None:
        told["from"] = event.sender
    if not known.recipients and event.recipients:
        told["to"] = event.recipients
    if not all(map(_is_small, told.values())):
        size = _json_bytes([known.sender, known.recipients, known.details, told])
        for name in sorted(told, key=lambda each: _json_bytes(told[each]), reverse=True):
            if size <= BYTES_LIMIT:
                break
            size -= _json_bytes(told.pop(name))
    return told


def _filled(known: Mapping[str, Json], event: Mapping[str, Json], told: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the known details with those of the event that are `told`, in the event's order."""
    if told.keys().isdisjoint(event):
        return known
    taken = {name: value for name, value in event.items() if name in known or name in told}
    return {**taken, **known}


def _is_small(value: Json) -> bool:
    """Return whether all fields of this size together stay far under the limit."""
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= _SMALL_CHARACTERS)


def _json_bytes(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def _united(first: tuple[Flag, ...], second: tuple[Flag, ...]) -> tuple[Flag, ...]:
    return (*first, *(flag for flag in second if flag not in first))
