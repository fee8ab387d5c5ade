"""Calls as a switch tells of them, leg by leg, to the events of one interaction a call.

Pure: what happened goes in, with its time, and raw interactions come out. A vendor's file knows the switch's words;
here is what they mean. The party of a call and its direction are fixed when it is first told of, so that all its
events are of one interaction.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, Literal

from interaction_router.domain.interactions import Direction, Status
from interaction_router.wire.schema import TEXT_LIMIT
from interaction_router.wire.strict_json import JsonObject
from interaction_router.wire.times import spell_time

CHANNEL: Final = "voice"
_CALLS_LIMIT: Final = 20_000
"""Calls that are remembered at once; of more, the oldest is taken to have ended unnoticed."""
_PAST_LEGS_LIMIT: Final = 20_000
_LEGS_LIMIT: Final = 1_000
_END_NOT_SEEN: Final = "its end was not seen"
_PART_NOT_SEEN: Final = "a part of it was not seen"

Failure = Literal["missed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Line:
    """Whose switch it is, and which of its numbers are extensions; `agents` are by their extensions."""

    tenant: str
    provider: str
    internal: re.Pattern[str]
    internal_calls: bool = True
    agents: Mapping[str, str] = field(default_factory=dict)

    def is_internal(self, number: str | None) -> bool:
        """Return whether the number is an extension's."""
        return number is not None and self.internal.fullmatch(number) is not None


@dataclass(frozen=True, slots=True)
class RunningLeg:
    """A leg that a switch lists as running: the numbers are those of its call where it began the call."""

    call_id: str
    leg_id: str
    caller: str | None
    callee: str | None
    number: str | None
    began_at_ms: int
    talking: bool
    from_outside: bool
    """Whether it came to the switch, rather than that the switch made it."""


@dataclass(slots=True)
class _Call:
    call_id: str
    began_at_ms: int
    caller: str | None = None
    callee: str | None = None
    calling_leg: str | None = None
    """The leg of whoever the switch called first, so that they call another."""
    direction: Direction | None = None
    silent: bool = False
    legs: dict[str, str | None] = field(default_factory=dict)
    """The numbers of the legs that have not been hung up."""
    answered: set[str] = field(default_factory=set)
    answered_at_ms: int | None = None
    agent: str | None = None
    """Who was told last to have it."""
    failure: Failure | None = None
    cause: str | None = None
    notes: dict[str, str] = field(default_factory=dict)


def usable(value: str | None) -> str | None:
    """Return a number or an id that a record can hold; a switch's words for none are None."""
    text = (value or "").strip()
    if text.lower() in {"", "<unknown>", "unknown", "_undef_", "<null>"}:
        return None
    return text if len(text) <= TEXT_LIMIT and text.isprintable() else None


class Calls:
    """The calls of one switch that are under way, each by the id that all its legs share."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._calls: OrderedDict[str, _Call] = OrderedDict()
        self._legs: dict[str, str] = {}
        self._past: OrderedDict[str, None] = OrderedDict()
        self._unconfirmed: set[str] = set()

    def call_of(self, leg_id: str) -> str | None:
        """Return the id of a leg's call, None where it is not under way."""
        return self._legs.get(leg_id)

    def knows(self, leg_id: str) -> bool:
        """Return whether a leg is under way, or was not long ago; or the call of that id, which its first leg has too."""
        return leg_id in self._legs or leg_id in self._calls or leg_id in self._past

    def number_of(self, leg_id: str) -> str | None:
        """Return a leg's number."""
        call = self._calls.get(self._legs.get(leg_id, ""))
        return None if call is None else call.legs.get(leg_id)

    def is_a_customers(self, call_id: str) -> bool:
        """Return whether a call that has been told is one with somebody outside."""
        call = self._calls.get(call_id)
        if call is None or call.direction is None:
            return False
        return call.direction == "outbound" or not self._line.is_internal(call.caller)

    def leg(self, call_id: str, leg_id: str, *, at_ms: int, number: str | None = None) -> list[JsonObject]:
        """A leg is part of a call, by a transfer perhaps of another one than before."""
        told = self._leave(leg_id, at_ms) if self._legs.get(leg_id, call_id) != call_id else []
        call = self._calls.get(call_id)
        if call is None:
            told += self._make_room(at_ms)
            call = self._calls[call_id] = _Call(call_id, at_ms)
        if len(call.legs) < _LEGS_LIMIT:
            self._legs[leg_id] = call_id
            call.legs[leg_id] = number or call.legs.get(leg_id)
        return told

    def join(self, call_id: str, leg_id: str, *, at_ms: int) -> list[JsonObject]:
        """A leg of another call is of this one from now on, since the two have come together; its own may end so."""
        before = self._calls.get(self._legs.get(leg_id, ""))
        if before is None or before.call_id == call_id:
            return []
        before.notes["joined"] = call_id
        return self.leg(call_id, leg_id, at_ms=at_ms, number=before.legs.get(leg_id))

    def ring(self, call_id: str, *, caller: str | None, callee: str | None, at_ms: int) -> list[JsonObject]:
        """A call has come to the switch; the first word of it stands."""
        call = self._calls.get(call_id)
        return [] if call is None or call.direction is not None else self._begin(call, caller, callee, at_ms)

    def dial(self, call_id: str, leg_id: str, number: str | None, *, at_ms: int) -> list[JsonObject]:
        """The switch calls somebody: of a call that it began itself, an extension first, then the other side."""
        call = self._calls.get(call_id)
        if call is None or call.direction is not None or call.calling_leg == leg_id:
            return []
        if call.caller is None and self._line.is_internal(number):
            call.caller, call.calling_leg = number, leg_id
            return []
        if number is None:
            return []
        return self._begin(call, call.caller, number, at_ms, from_inside=True)

    def answer(self, call_id: str, leg_id: str, *, at_ms: int) -> list[JsonObject]:
        """Somebody has answered; whoever answers after a transfer is told of as well."""
        call = self._calls.get(call_id)
        if call is None or call.direction is None or leg_id in call.answered or len(call.answered) >= _LEGS_LIMIT:
            return []
        if leg_id == call.calling_leg:
            return []
        call.answered.add(leg_id)
        call.answered_at_ms = call.answered_at_ms or at_ms
        return self._told(call, "answered", at_ms, agent=self._agent(call, leg_id), event_id=f"answered:{leg_id}")

    def talk(self, leg_ids: Iterable[str], *, at_ms: int) -> list[JsonObject]:
        """Legs hear one another: those of a call whose other side is among them have been answered.

        An agent who asks a colleague, while the other side waits, is not handing the call over yet.
        """
        told: list[JsonObject] = []
        for leg_id in leg_ids:
            call = self._calls.get(self._legs.get(leg_id, ""))
            if call is not None and leg_id != call.call_id and not self._other_side(call).isdisjoint(leg_ids):
                told += self.answer(call.call_id, leg_id, at_ms=at_ms)
        return told

    def fail(self, call_id: str, failure: Failure) -> None:
        """Somebody who was dialled did not answer; of a call from outside that says nothing, others may be asked."""
        call = self._calls.get(call_id)
        if call is not None and call.direction == "outbound":
            call.failure = failure

    def note(self, call_id: str, name: str, text: str) -> None:
        """Keep something for the metadata of the call's end."""
        if (call := self._calls.get(call_id)) is not None:
            call.notes[name] = text

    def hang_up(
        self, leg_id: str, *, at_ms: int, failure: Failure | None = None, cause: str | None = None
    ) -> list[JsonObject]:
        """A leg has ended; a call has ended with its last one. `failure` is why, where nobody had answered."""
        call = self._calls.get(self._legs.get(leg_id, ""))
        self._unconfirmed.discard(leg_id)
        if call is None:
            self._pass(leg_id)
            return []
        if leg_id == call.call_id or call.cause is None:
            call.cause = cause
        if leg_id == call.call_id:
            call.failure = call.failure or failure
        elif call.direction == "outbound":
            call.failure = failure or call.failure
        return self._leave(leg_id, at_ms)

    def snapshot(self) -> JsonObject:
        """Return the calls that are under way, and legs that were, for where the program is started again."""
        calls = [{**asdict(call), "answered": sorted(call.answered)} for call in self._calls.values()]
        return {"under_way": calls, "past": list(self._past)}

    def restore(self, kept: JsonObject) -> None:
        """Go on with what `snapshot` returned; whether the calls still run has to be asked."""
        for row in kept["under_way"]:
            call = _Call(**{**row, "answered": set(row["answered"])})
            self._calls[call.call_id] = call
            self._legs.update(dict.fromkeys(call.legs, call.call_id))
        self._past = OrderedDict.fromkeys(kept["past"])

    def begin_resume(self) -> None:
        """What runs is about to be listed, after the connection to the switch was lost."""
        self._unconfirmed = set(self._legs)

    def end_resume(self, running: Iterable[RunningLeg], *, at_ms: int) -> list[JsonObject]:
        """Take what the switch listed: legs that are not in it ended meanwhile, calls that are new in it began.

        A call of which anything was missed says so when it ends.
        """
        told: list[JsonObject] = []
        # The leg that began a call tells whose it is; it comes first.
        rows = sorted(running, key=lambda row: (row.leg_id != row.call_id, row.began_at_ms))
        rows = [row for row in rows if row.leg_id in self._legs or row.leg_id not in self._past]
        for row in rows:
            self._unconfirmed.discard(row.leg_id)
            told += self._listed(row)
        for row in rows:
            if row.talking and (row.leg_id != row.call_id or not row.from_outside):
                answered = self.answer(row.call_id, row.leg_id, at_ms=at_ms)
                if answered:
                    self.note(row.call_id, "gap", _PART_NOT_SEEN)
                told += answered
        for leg_id in sorted(self._unconfirmed):
            if (call := self._calls.get(self._legs.get(leg_id, ""))) is not None:
                call.notes["gap"] = _END_NOT_SEEN if len(call.legs) == 1 else _PART_NOT_SEEN
                told += self._leave(leg_id, at_ms)
        self._unconfirmed = set()
        return told

    def _listed(self, row: RunningLeg) -> list[JsonObject]:
        """Take a leg that runs; one that is known, of a call that has not been told, was not seen to come from outside."""
        before = self._legs.get(row.leg_id)
        if before not in {None, row.call_id}:
            self.note(before or "", "gap", _PART_NOT_SEEN)
        told = self.leg(row.call_id, row.leg_id, at_ms=row.began_at_ms, number=row.number)
        if before != row.call_id or self._calls[row.call_id].answered_at_ms is None:
            self.note(row.call_id, "gap", _PART_NOT_SEEN)
        if row.from_outside and row.leg_id == row.call_id and before is None:
            return told + self.ring(row.call_id, caller=row.caller, callee=row.callee, at_ms=row.began_at_ms)
        return told + self.dial(row.call_id, row.leg_id, row.number, at_ms=row.began_at_ms)

    def _begin(
        self, call: _Call, caller: str | None, callee: str | None, at_ms: int, *, from_inside: bool = False
    ) -> list[JsonObject]:
        call.caller, call.callee = caller, callee
        from_inside = from_inside or self._line.is_internal(caller)
        to_inside = self._line.is_internal(callee)
        call.direction = "outbound" if from_inside and callee is not None and not to_inside else "inbound"
        call.silent = from_inside and (to_inside or callee is None) and not self._line.internal_calls
        call.began_at_ms = at_ms
        return self._told(call, "ringing", at_ms)

    def _make_room(self, at_ms: int) -> list[JsonObject]:
        if len(self._calls) < _CALLS_LIMIT:
            return []
        oldest = next(iter(self._calls.values()))
        oldest.notes["gap"] = _END_NOT_SEEN
        return [event for leg_id in list(oldest.legs) for event in self._leave(leg_id, at_ms)] or self._end(
            oldest, at_ms
        )

    def _leave(self, leg_id: str, at_ms: int) -> list[JsonObject]:
        call = self._calls[self._legs.pop(leg_id)]
        call.legs.pop(leg_id, None)
        self._pass(leg_id)
        return [] if call.legs else self._end(call, at_ms)

    def _pass(self, leg_id: str) -> None:
        self._past[leg_id] = None
        if len(self._past) > _PAST_LEGS_LIMIT:
            self._past.popitem(last=False)

    def _end(self, call: _Call, at_ms: int) -> list[JsonObject]:
        self._calls.pop(call.call_id, None)
        self._pass(call.call_id)
        if call.direction is None:
            return []
        notes = {**call.notes, **({"cause": call.cause} if call.cause else {})}
        if call.answered_at_ms is not None or "joined" in notes:
            seconds = max(0, at_ms - (call.answered_at_ms or at_ms)) / 1000
            return self._told(call, "ended", at_ms, duration_s=seconds, metadata=notes or None)
        return self._told(call, _failure(call), at_ms, metadata=notes or None)

    def _other_side(self, call: _Call) -> set[str]:
        """Return the legs of whoever is no extension; where all are, the one that began the call."""
        outside = {leg for leg, number in call.legs.items() if number and not self._line.is_internal(number)}
        return outside or {call.call_id}

    def _agent(self, call: _Call, leg_id: str) -> str | None:
        """Return who has the call: at the extension that began it, or that answered."""
        number = call.legs.get(leg_id)
        if call.direction == "outbound" and not self._line.is_internal(number):
            number = call.caller
        return self._line.agents.get(number or "")

    def _told(
        self, call: _Call, status: Status, at_ms: int, *, agent: str | None = None, **more: object
    ) -> list[JsonObject]:
        if call.silent:
            return []
        if agent is None and call.direction == "outbound":
            agent = call.agent or self._line.agents.get(call.caller or "")
        call.agent = agent or call.agent
        fields = {
            "tenant": self._line.tenant,
            "channel": CHANNEL,
            "direction": call.direction,
            "interaction_id": call.call_id,
            "status": status,
            "occurred_at": spell_time(at_ms),
            "from": call.caller,
            "to": call.callee,
            "agent_id": agent,
            "provider": self._line.provider,
            **more,
        }
        return [{name: value for name, value in fields.items() if value is not None or name in {"from", "to"}}]


def _failure(call: _Call) -> Failure:
    """Return what became of a call that nobody answered: a caller who gives up was missed."""
    if call.direction == "outbound":
        return call.failure or "cancelled"
    return "failed" if call.failure == "failed" and not call.notes.get("gap") else "missed"


def party_of(fields: JsonObject) -> str | None:
    """Return the customer's number."""
    number = fields["from"] if fields["direction"] == "inbound" else fields["to"]
    return number if isinstance(number, str) else None
