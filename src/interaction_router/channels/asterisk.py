"""Asterisk's manager events to calls: one interaction for all channels of one `Linkedid`.

Takes the events of Asterisk 12 and later (DialBegin, BridgeEnter), and those of before (Dial, Bridge), which have no
`Linkedid`: there, channels that dial one another are one call, by the oldest. Names of fields are in lower case, since
versions differ in theirs.

Source: docs.asterisk.org, AMI events of versions 16 to 21, seen 2026-11-24; Asterisk 16.28 and 22.10, heard 2026-11-25.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Final

from interaction_router.channels.calls import Calls, Failure, Line, RunningLeg, usable
from interaction_router.wire.strict_json import JsonObject

Event = Mapping[str, str]
Handler = Callable[[Event, int], list[JsonObject]]

_RING: Final = "4"
"""The state of a channel on which somebody calls the switch."""
_CALLED: Final = frozenset({"3", "5"})
"""The states of channels on which the switch calls somebody."""
_UP: Final = "6"
_NO_NUMBERS: Final = frozenset({"s", "h", "i", "t", "o", "e"})
"""Names of extensions that are steps of a dialplan."""
_DIAL_FAILURES: Final[Mapping[str, Failure]] = {
    "BUSY": "missed",
    "NOANSWER": "missed",
    "CANCEL": "cancelled",
    "CONGESTION": "failed",
    "CHANUNAVAIL": "failed",
    "INVALIDARGS": "failed",
}
_MISSED_CAUSES: Final = frozenset({"17", "18", "19", "20", "21"})
# 127 is all that PJSIP says of a call that its caller gave up.
_NO_FAILURES: Final = frozenset({"", "0", "16", "26", "31", "127"})
_DISPOSITIONS: Final[Mapping[str, str]] = {
    "ANSWERED": "ended",
    "NO ANSWER": "missed",
    "BUSY": "missed",
    "FAILED": "failed",
    "CONGESTION": "failed",
}
_RECORD_WAITS_MS: Final = 10_000
"""The switch's records do not wait in line behind its other events: under load they are ahead of them."""
_RECORDS_LIMIT: Final = 1_000
_BRIDGES_LIMIT: Final = 20_000
_TALKING: Final = 2
_AGE: Final = re.compile(r"(?:.*-)?(\d{1,10})(?:\.(\d{1,10}))?", re.ASCII)
_NUMBER: Final = re.compile(r"\+?\d{2,20}")
_CHANNEL: Final = re.compile(r"(?P<technology>[^/]+)/(?P<peer>.+)-[0-9a-f]+(?:;[12])?(?:<\w+>)?")
_DURATION: Final = re.compile(r"(\d{1,6}):(\d\d):(\d\d)")


class Asterisk:
    """One Asterisk's channels; events in their order in, raw interactions out."""

    def __init__(self, line: Line) -> None:
        self._calls = Calls(line)
        self._line = line
        self._bridges: dict[str, dict[str, str]] = {}
        """The names of the channels that are in each, by their legs."""
        self._joints: dict[str, str] = {}
        """The bridges of halves of Local channels, by their names."""
        self._halves: dict[str, str] = {}
        self._records: dict[str, tuple[Event, int, int]] = {}
        """Records of calls that were not seen, with the switch's time and ours."""
        self._handlers: Mapping[str, Handler] = {
            "newchannel": self._new_channel,
            "dial": self._old_dial,
            "dialbegin": self._dial,
            "dialend": self._dial_end,
            "bridge": self._old_bridge,
            "bridgeenter": self._bridge_enter,
            "bridgeleave": self._bridge_leave,
            "blindtransfer": self._blind_transfer,
            "attendedtransfer": self._attended_transfer,
            "hangup": self._hang_up,
        }

    def take(self, event: Event, received_at_ms: int) -> list[JsonObject]:
        """Return what an event tells; anything that the switch says tells how late it is."""
        at_ms, kind = _at_ms(event, received_at_ms), event.get("event", "").lower()
        told = self._by_records(received_at_ms) + self._follow(event, at_ms)
        if kind == "cdr":
            self._keep_record(event, at_ms, received_at_ms)
        handle = self._handlers.get(kind)
        return told if handle is None else told + handle(event, at_ms)

    def snapshot(self) -> JsonObject:
        """Return what it knows of calls."""
        return self._calls.snapshot()

    def restore(self, kept: JsonObject) -> None:
        """Go on with what was known before."""
        self._calls.restore(kept)

    def begin_resume(self) -> None:
        """The channels that run are about to be listed."""
        self._calls.begin_resume()

    def end_resume(self, rows: Iterable[Event], received_at_ms: int) -> list[JsonObject]:
        """Take the listed channels (`CoreShowChannel`)."""
        legs: list[RunningLeg] = []
        for row in rows:
            if (leg := self._running(row, received_at_ms)) is not None:
                legs.append(leg)
                if (bridge := usable(row.get("bridgeid"))) is not None:
                    self._put(bridge, leg.leg_id, row.get("channel", ""))
        return self._calls.end_resume(legs, at_ms=received_at_ms)

    def _follow(self, event: Event, at_ms: int) -> list[JsonObject]:
        """Channels that come together get the oldest one's `Linkedid`: the call goes on as that, mostly."""
        told: list[JsonObject] = []
        for side in ("", "dest"):
            leg_id, call_id = event.get(f"{side}uniqueid", ""), usable(event.get(f"{side}linkedid"))
            before = self._calls.call_of(leg_id)
            if call_id is not None and before is not None and self._goes_on(before, call_id) == call_id:
                told += self._calls.join(call_id, leg_id, at_ms=at_ms)
        return told

    def _new_channel(self, event: Event, at_ms: int) -> list[JsonObject]:
        leg_id = usable(event.get("uniqueid"))
        if leg_id is None:
            return []
        call_id = usable(event.get("linkedid")) or self._other_half(event, leg_id) or leg_id
        extension, caller = self._extension(event.get("channel")), _caller(event)
        told = self._calls.leg(call_id, leg_id, at_ms=at_ms, number=extension or caller)
        if leg_id == call_id and event.get("channelstate") == _RING:
            told += self._calls.ring(call_id, caller=extension or caller, callee=_dialled(event), at_ms=at_ms)
        return told

    def _other_half(self, event: Event, leg_id: str) -> str | None:
        """Return the call of the other half of a Local channel, where there is no `Linkedid` to say so."""
        name, semicolon, half = event.get("channel", "").rpartition(";")
        if not semicolon or "linkedid" in event:
            return None
        if half == "1":
            if len(self._halves) > _BRIDGES_LIMIT:
                self._halves.clear()
            self._halves[name] = leg_id
            return None
        return self._calls.call_of(self._halves.pop(name, ""))

    def _old_dial(self, event: Event, at_ms: int) -> list[JsonObject]:
        begins = event.get("subevent", "").lower() == "begin"
        return self._dial(event, at_ms) if begins else self._dial_end(event, at_ms)

    def _dial(self, event: Event, at_ms: int) -> list[JsonObject]:
        leg_id = usable(event.get("destuniqueid"))
        if leg_id is None:
            return []
        call_id = usable(event.get("destlinkedid")) or self._calls.call_of(event.get("uniqueid", "")) or leg_id
        number = (
            self._extension(event.get("destchannel") or event.get("destination"))
            or _number(event.get("destcalleridnum"))
            or self._calls.number_of(leg_id)
            or _number_in(event.get("dialstring"))
        )
        told = self._calls.leg(call_id, leg_id, at_ms=at_ms, number=number)
        if _is_local(event.get("destchannel")):
            return told
        return told + self._calls.dial(call_id, leg_id, number, at_ms=at_ms)

    def _dial_end(self, event: Event, at_ms: int) -> list[JsonObject]:
        status, leg_id = event.get("dialstatus", "").upper(), event.get("destuniqueid")
        call_id = self._calls.call_of(leg_id or event.get("uniqueid", ""))
        if call_id is None:
            return []
        if status == "ANSWER":
            if leg_id is None or _is_local(event.get("destchannel")):
                return []
            # Whom a Local channel dialled may be asked for somebody else: the bridges tell who hears whom.
            asked = _is_local(event.get("channel")) and self._line.is_internal(self._calls.number_of(leg_id))
            return [] if asked else self._calls.answer(call_id, leg_id, at_ms=at_ms)
        if (failure := _DIAL_FAILURES.get(status)) is not None:
            self._calls.fail(call_id, failure)
        return []

    def _bridge_enter(self, event: Event, at_ms: int) -> list[JsonObject]:
        bridge, leg_id = event.get("bridgeuniqueid", ""), event.get("uniqueid", "")
        if self._calls.call_of(leg_id) is None:
            return []
        self._put(bridge, leg_id, event.get("channel", ""))
        told = self._come_together(bridge, at_ms) if event.get("bridgetype") == "basic" else []
        return told + self._talk(self._connected(bridge), at_ms)

    def _put(self, bridge: str, leg_id: str, channel: str) -> None:
        if len(self._bridges) > _BRIDGES_LIMIT:
            self._bridges.clear()
            self._joints.clear()
        self._bridges.setdefault(bridge, {})[leg_id] = channel
        if _is_local(channel):
            self._joints[channel] = bridge

    def _bridge_leave(self, event: Event, _at_ms: int) -> list[JsonObject]:
        bridge = event.get("bridgeuniqueid", "")
        legs = self._bridges.get(bridge, {})
        channel = legs.pop(event.get("uniqueid", ""), "")
        if self._joints.get(channel) == bridge:
            del self._joints[channel]
        if not legs:
            self._bridges.pop(bridge, None)
        return []

    def _come_together(self, bridge: str, at_ms: int) -> list[JsonObject]:
        """Channels in a bridge are one call from now on, but nothing says so until the next event of each."""
        calls = {leg: call for leg in self._bridges[bridge] if (call := self._calls.call_of(leg)) is not None}
        call_id = reduce(self._goes_on, calls.values())
        return [fields for leg in calls for fields in self._calls.join(call_id, leg, at_ms=at_ms)]

    def _goes_on(self, one: str, other: str) -> str:
        """Return which of two calls that come together goes on.

        The switch takes the older `Linkedid`. Where that is a call of agents among themselves, the customer's goes on.
        """
        customers = [call for call in (one, other) if self._calls.is_a_customers(call)]
        return customers[0] if len(customers) == 1 else _older(one, other)

    def _connected(self, bridge: str) -> list[str]:
        """Return who is in a bridge, and in those that Local channels join to it."""
        found: list[str] = []
        todo, seen = [bridge], set()
        while todo:
            if (at := todo.pop()) in seen:
                continue
            seen.add(at)
            for leg_id, channel in self._bridges.get(at, {}).items():
                if _is_local(channel):
                    half = channel[:-1] + ("2" if channel.endswith("1") else "1")
                    todo += [self._joints[half]] if half in self._joints else []
                else:
                    found.append(leg_id)
        return sorted(found)

    def _old_bridge(self, event: Event, at_ms: int) -> list[JsonObject]:
        linked = event.get("bridgestate", "").lower() == "link"
        return self._talk([event.get("uniqueid1", ""), event.get("uniqueid2", "")], at_ms) if linked else []

    def _talk(self, leg_ids: list[str], at_ms: int) -> list[JsonObject]:
        return self._calls.talk(leg_ids, at_ms=at_ms) if len(leg_ids) >= _TALKING else []

    def _blind_transfer(self, event: Event, _at_ms: int) -> list[JsonObject]:
        return self._transferred(event, usable(event.get("transfererlinkedid")), f"blind to {event.get('extension')}")

    def _attended_transfer(self, event: Event, _at_ms: int) -> list[JsonObject]:
        return self._transferred(event, usable(event.get("origtransfererlinkedid")), f"attended, {event.get('result')}")

    def _transferred(self, event: Event, call_id: str | None, text: str) -> list[JsonObject]:
        """Keep it for the end of the call; who has it now is told when they answer."""
        call_id = call_id or self._calls.call_of(event.get("transfereruniqueid", ""))
        if call_id is not None and (note := usable(text)) is not None:
            self._calls.note(call_id, "transfer", note)
        return []

    def _hang_up(self, event: Event, at_ms: int) -> list[JsonObject]:
        cause = event.get("cause", "").strip()
        failure: Failure | None = None
        if cause in _MISSED_CAUSES:
            failure = "missed"
        elif cause not in _NO_FAILURES:
            failure = "failed"
        words = usable(f"{cause} {event.get('cause-txt', '')}")
        return self._calls.hang_up(event.get("uniqueid", ""), at_ms=at_ms, failure=failure, cause=words)

    def _keep_record(self, event: Event, at_ms: int, received_at_ms: int) -> None:
        """Keep the record of a call of which no channel was seen: it may be ahead of them, and one of several.

        There is one for each two that talk; `LinkedID`, which the switch has to be told to give, says of which call.
        """
        call_id = usable(event.get("linkedid")) or usable(event.get("uniqueid"))
        became = _DISPOSITIONS.get(event.get("disposition", "").upper())
        if call_id is None or became is None or self._is_known(event) or _is_local(event.get("channel")):
            return
        if call_id not in self._records or became == "ended":
            self._records[call_id] = (event, at_ms, received_at_ms)

    def _by_records(self, now_ms: int) -> list[JsonObject]:
        """Tell calls of which nothing has come but their records."""
        told: list[JsonObject] = []
        for call_id, (event, at_ms, received_at_ms) in list(self._records.items()):
            if now_ms - received_at_ms < _RECORD_WAITS_MS and len(self._records) <= _RECORDS_LIMIT:
                break
            del self._records[call_id]
            if not self._is_known(event):
                told += self._by_record(call_id, event, at_ms)
        return told

    def _by_record(self, call_id: str, event: Event, at_ms: int) -> list[JsonObject]:
        became, seconds = _DISPOSITIONS[event["disposition"].upper()], event.get("billableseconds", "")
        talked_ms = int(seconds) * 1000 if became == "ended" and re.fullmatch(r"\d{1,7}", seconds, re.ASCII) else 0
        told = self._calls.leg(call_id, call_id, at_ms=at_ms)
        caller, callee = _number(event.get("source")), _number(event.get("destination"))
        told += self._calls.ring(call_id, caller=caller, callee=callee, at_ms=max(0, at_ms - talked_ms))
        if became == "ended":
            told += self._calls.answer(call_id, call_id, at_ms=max(0, at_ms - talked_ms))
        elif became == "failed":
            self._calls.fail(call_id, "failed")
        self._calls.note(call_id, "gap", "told by its record only")
        return told + self._calls.hang_up(call_id, at_ms=at_ms, failure="missed")

    def _is_known(self, record: Event) -> bool:
        return any(self._calls.knows(record.get(name, "")) for name in ("linkedid", "uniqueid"))

    def _extension(self, channel: str | None) -> str | None:
        """Return the extension that a channel's name is that of: `PJSIP/101-0000001a`."""
        found = _CHANNEL.fullmatch(channel or "")
        if found is None or found["technology"] == "Local":
            return None
        return found["peer"] if self._line.is_internal(found["peer"]) else None

    def _running(self, row: Event, received_at_ms: int) -> RunningLeg | None:
        leg_id = usable(row.get("uniqueid"))
        if leg_id is None:
            return None
        before = self._calls.call_of(leg_id)
        linked_id = usable(row.get("linkedid")) or before or leg_id
        call_id = self._goes_on(before or linked_id, linked_id)
        found = _DURATION.fullmatch(row.get("duration", ""))
        seconds = (
            sum(int(part) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True)) if found else 0
        )
        began_at_ms = max(0, received_at_ms - seconds * 1000)
        if _is_local(row.get("channel")):
            return RunningLeg(call_id, leg_id, None, None, None, began_at_ms, talking=False, from_outside=False)
        extension, state = self._extension(row.get("channel")), row.get("channelstate")
        caller, callee = extension or _caller(row), _dialled(row) or _number(row.get("connectedlinenum"))
        return RunningLeg(
            call_id=call_id,
            leg_id=leg_id,
            caller=caller,
            callee=callee,
            number=caller,
            began_at_ms=began_at_ms,
            talking=state == _UP,
            # An extension that has dialled nothing was called.
            from_outside=leg_id == call_id and state not in _CALLED and (extension is None or callee is not None),
        )


def _at_ms(event: Event, received_at_ms: int) -> int:
    """Return when the switch says that it was (`timestampevents` in manager.conf), else when it was heard of."""
    found = re.fullmatch(r"(\d{9,11})\.(\d{3})\d*", event.get("timestamp", ""), re.ASCII)
    return int(found[1]) * 1000 + int(found[2]) if found else received_at_ms


def _older(one: str, other: str) -> str:
    """Return which of two `Linkedid`s channels get when they come together: that of the one that began first."""
    age, other_age = _age(one), _age(other)
    return one if age is not None and other_age is not None and age < other_age else other


def _age(linked_id: str) -> tuple[int, int] | None:
    """Return when the channel began and its number, of `name-1795335330.7`."""
    found = _AGE.fullmatch(linked_id)
    return None if found is None else (int(found[1]), int(found[2] or 0))


def _caller(event: Event) -> str | None:
    return _number(event.get("calleridnum"))


def _dialled(event: Event) -> str | None:
    return _number(event.get("exten") or event.get("extension"))


def _number(value: str | None) -> str | None:
    text = usable(value)
    return None if text is None or text.lower() in _NO_NUMBERS else text


def _number_in(dial_string: str | None) -> str | None:
    """Return the number in `carrier/0821234567` or `0821234567@carrier`."""
    found = _NUMBER.findall(dial_string or "")
    return max(found, key=len) if found else None


def _is_local(channel: str | None) -> bool:
    """Return whether a channel is one half of a joint within the switch."""
    return (channel or "").startswith("Local/")
