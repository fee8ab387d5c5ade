"""FreeSWITCH's events to calls: one interaction for all legs of one A-leg's `Unique-ID`.

A leg that the switch makes (`Call-Direction: outbound`) names the leg that it is made for in `Other-Leg-Unique-ID` or
`Channel-Call-UUID`; one that names none began its call. Names of fields are in lower case.

Source: developer.signalwire.com, FreeSWITCH event list and event headers, seen 2026-11-24.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from interaction_router.channels.calls import Calls, Failure, Line, RunningLeg, usable
from interaction_router.wire.strict_json import JsonObject

Event = Mapping[str, str]

EVENTS: Final = (
    "CHANNEL_CREATE", "CHANNEL_ANSWER", "CHANNEL_BRIDGE", "CHANNEL_HANGUP_COMPLETE", "CHANNEL_DESTROY", "HEARTBEAT",
)  # fmt: skip
"""What to subscribe to; heartbeats tell that the connection lives."""

_MISSED: Final = frozenset(
    {
        "NO_ANSWER", "USER_BUSY", "NO_USER_RESPONSE", "CALL_REJECTED", "SUBSCRIBER_ABSENT", "ALLOTTED_TIMEOUT",
        "PROGRESS_TIMEOUT", "USER_NOT_REGISTERED",
    }
)  # fmt: skip
_NO_FAILURES: Final = frozenset(
    {"", "NONE", "NORMAL_CLEARING", "NORMAL_UNSPECIFIED", "LOSE_RACE", "PICKED_OFF", "ATTENDED_TRANSFER",
     "BLIND_TRANSFER", "SUCCESS"}
)  # fmt: skip
_EPOCH_S: Final = re.compile(r"\d{1,11}", re.ASCII)
_TALKING_STATES: Final = frozenset({"ACTIVE", "HELD"})


class FreeSwitch:
    """One FreeSWITCH's legs; events in their order in, raw interactions out."""

    def __init__(self, line: Line) -> None:
        self._calls = Calls(line)

    def take(self, event: Event, received_at_ms: int) -> list[JsonObject]:
        """Return what an event tells."""
        leg_id = usable(event.get("unique-id"))
        if leg_id is None:
            return []
        at_ms = _at_ms(event, received_at_ms)
        match event.get("event-name", "").upper():
            case "CHANNEL_CREATE":
                return self._create(event, leg_id, at_ms)
            case "CHANNEL_ANSWER":
                return self._answer(event, leg_id, at_ms)
            case "CHANNEL_BRIDGE":
                return self._bridge(event, leg_id, at_ms)
            case "CHANNEL_HANGUP_COMPLETE" | "CHANNEL_DESTROY":
                cause = event.get("hangup-cause", "").upper()
                return self._calls.hang_up(leg_id, at_ms=at_ms, failure=_failure(cause), cause=usable(cause))
            case _:
                return []

    def snapshot(self) -> JsonObject:
        """Return what it knows of calls."""
        return self._calls.snapshot()

    def restore(self, kept: JsonObject) -> None:
        """Go on with what was known before."""
        self._calls.restore(kept)

    def begin_resume(self) -> None:
        """The legs that run are about to be listed."""
        self._calls.begin_resume()

    def end_resume(self, rows: Iterable[Event], received_at_ms: int) -> list[JsonObject]:
        """Take the listed legs (`show channels as json`)."""
        return self._calls.end_resume(
            [leg for row in rows if (leg := self._running(row, received_at_ms)) is not None], at_ms=received_at_ms
        )

    def _create(self, event: Event, leg_id: str, at_ms: int) -> list[JsonObject]:
        caller, callee = _caller(event), usable(event.get("caller-destination-number"))
        if event.get("call-direction", "").lower() != "outbound":
            told = self._calls.leg(leg_id, leg_id, at_ms=at_ms, number=caller)
            return told + self._calls.ring(leg_id, caller=caller, callee=callee, at_ms=at_ms)
        made_for = usable(event.get("other-leg-unique-id")) or usable(event.get("channel-call-uuid")) or leg_id
        call_id = self._calls.call_of(made_for) or made_for
        number = callee or usable(event.get("caller-callee-id-number"))
        told = self._calls.leg(call_id, leg_id, at_ms=at_ms, number=number)
        return told + self._calls.dial(call_id, leg_id, number, at_ms=at_ms)

    def _answer(self, event: Event, leg_id: str, at_ms: int) -> list[JsonObject]:
        """A leg that came to the switch is answered by its dialplan; one that the switch made, by somebody."""
        if event.get("call-direction", "").lower() != "outbound":
            return []
        told = [] if self._calls.knows(leg_id) else self._create(event, leg_id, at_ms)
        return told + self._calls.answer(self._calls.call_of(leg_id) or "", leg_id, at_ms=at_ms)

    def _bridge(self, event: Event, leg_id: str, at_ms: int) -> list[JsonObject]:
        """Legs that talk are of one call; where a transfer brings two together, of the first of the two."""
        other = usable(event.get("bridge-b-unique-id")) or usable(event.get("other-leg-unique-id"))
        first = usable(event.get("bridge-a-unique-id")) or leg_id
        call_id = self._calls.call_of(first)
        if call_id is None or other is None:
            return []
        before, told = self._calls.call_of(other), []
        if before is not None and before != call_id:
            self._calls.note(before, "joined", call_id)
            told = self._calls.leg(call_id, other, at_ms=at_ms, number=self._calls.number_of(other))
        if self._calls.call_of(other) == call_id and other != call_id:
            told += self._calls.answer(call_id, other, at_ms=at_ms)
        return told

    def _running(self, row: Event, received_at_ms: int) -> RunningLeg | None:
        """Return a row of `show channels as json`.

        The switch says whose a leg is that it makes only once it has been answered. Before, an unknown one is left
        out: its answer tells.
        """
        leg_id = usable(row.get("uuid"))
        if leg_id is None:
            return None
        inbound = row.get("direction", "").lower() != "outbound"
        call_id = self._calls.call_of(leg_id) or (leg_id if inbound else usable(row.get("call_uuid")))
        if call_id is None:
            return None
        began = row.get("created_epoch", "")
        caller, callee = usable(row.get("cid_num")), usable(row.get("dest"))
        return RunningLeg(
            call_id=call_id,
            leg_id=leg_id,
            caller=caller,
            callee=callee,
            number=caller if inbound else callee,
            began_at_ms=int(began) * 1000 if _EPOCH_S.fullmatch(began) else received_at_ms,
            talking=row.get("callstate", "").upper() in _TALKING_STATES,
            from_outside=inbound,
        )


def _caller(event: Event) -> str | None:
    if event.get("caller-privacy-hide-number", "").lower() == "true":
        return None
    return usable(event.get("caller-caller-id-number"))


def _at_ms(event: Event, received_at_ms: int) -> int:
    text = event.get("event-date-timestamp", "")
    return int(text) // 1000 if text.isascii() and text.isdigit() and 15 <= len(text) <= 17 else received_at_ms  # noqa: PLR2004 - microseconds, until the year 5138


def _failure(cause: str) -> Failure | None:
    if cause == "ORIGINATOR_CANCEL":
        return "cancelled"
    if cause in _MISSED:
        return "missed"
    return None if cause in _NO_FAILURES else "failed"
