"""Sessions with telephone switches: recorded, or composed from the fields that they document."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from interaction_router.channels.unsent import events_of

Event = Mapping[str, str]
AT_MS = 1_795_335_330_000
AGENT, OTHER_AGENT = "101", "102"
CUSTOMER, OWN = "0821234567", "0110000000"


def ami(event: str, **fields: str) -> Event:
    return {"event": event, **{name.lower(): value for name, value in fields.items()}}


def channel(leg: str, call: str, name: str, *, state: str = "0", caller: str = "", exten: str = "") -> Event:
    return ami(
        "Newchannel", Uniqueid=leg, Linkedid=call, Channel=name, ChannelState=state, CallerIDNum=caller, Exten=exten
    )


def dial(leg: str, to: str, call: str, name: str, *, number: str = "", string: str = "") -> Event:
    return ami(
        "DialBegin", Uniqueid=leg, Linkedid=call, DestUniqueid=to, DestLinkedid=call, DestChannel=name,
        DestCallerIDNum=number, DialString=string,
    )  # fmt: skip


def dial_end(leg: str, to: str, call: str, name: str, status: str) -> Event:
    return ami(
        "DialEnd", Uniqueid=leg, Linkedid=call, DestUniqueid=to, DestLinkedid=call, DestChannel=name, DialStatus=status
    )


def enters(leg: str, call: str, bridge: str, name: str = "PJSIP/x-1") -> Event:
    return ami("BridgeEnter", Uniqueid=leg, Linkedid=call, BridgeUniqueid=bridge, BridgeType="basic", Channel=name)


def leaves(leg: str, call: str, bridge: str) -> Event:
    return ami("BridgeLeave", Uniqueid=leg, Linkedid=call, BridgeUniqueid=bridge)


def hangup(leg: str, call: str, cause: str = "16", text: str = "Normal Clearing") -> Event:
    return ami("Hangup", **{"Uniqueid": leg, "Linkedid": call, "Cause": cause, "Cause-txt": text})


INBOUND: Sequence[Event] = (
    channel("1", "1", "PJSIP/carrier-00000001", state="4", caller=CUSTOMER, exten=OWN),
    channel("2", "1", "PJSIP/101-00000002", exten="s"),
    dial("1", "2", "1", "PJSIP/101-00000002", number="s", string="101/sip:101@10.0.0.9"),
    channel("3", "1", "PJSIP/102-00000003", exten="s"),
    dial("1", "3", "1", "PJSIP/102-00000003", string="102"),
    dial_end("1", "3", "1", "PJSIP/102-00000003", "CANCEL"),
    dial_end("1", "2", "1", "PJSIP/101-00000002", "ANSWER"),
    hangup("3", "1", "26", "Answered elsewhere"),
    enters("2", "1", "b"),
    enters("1", "1", "b"),
    leaves("1", "1", "b"),
    hangup("2", "1"),
    hangup("1", "1"),
)
OUTBOUND: Sequence[Event] = (
    channel("1", "1", "PJSIP/101-00000001", state="4", caller=AGENT, exten=CUSTOMER),
    channel("2", "1", "PJSIP/carrier-00000002"),
    dial("1", "2", "1", "PJSIP/carrier-00000002", number=CUSTOMER, string=f"{CUSTOMER}@carrier"),
    dial_end("1", "2", "1", "PJSIP/carrier-00000002", "ANSWER"),
    hangup("2", "1"),
    hangup("1", "1"),
)
CLICK_TO_CALL: Sequence[Event] = (
    channel("1", "1", "PJSIP/101-00000001"),
    ami(
        "DialBegin", Uniqueid="", DestUniqueid="1", DestLinkedid="1", DestChannel="PJSIP/101-00000001", DialString="101"
    ),
    ami("DialEnd", Uniqueid="", DestUniqueid="1", DestLinkedid="1", DestChannel="PJSIP/101-1", DialStatus="ANSWER"),
    channel("2", "1", "PJSIP/carrier-00000002"),
    dial("1", "2", "1", "PJSIP/carrier-00000002", string=f"carrier/{CUSTOMER}"),
    enters("1", "1", "b"),
    enters("2", "1", "b"),
    hangup("2", "1"),
    hangup("1", "1"),
)
BLIND_TRANSFER: Sequence[Event] = (
    *INBOUND[:10],
    ami("BlindTransfer", TransfererUniqueid="2", TransfererLinkedid="1", Extension=OTHER_AGENT),
    leaves("2", "1", "b"),
    hangup("2", "1"),
    channel("4", "1", "PJSIP/102-00000004"),
    dial("1", "4", "1", "PJSIP/102-00000004"),
    dial_end("1", "4", "1", "PJSIP/102-00000004", "ANSWER"),
    hangup("4", "1"),
    hangup("1", "1"),
)
# The agent asks a colleague in a call of their own, which becomes the customer's.
ATTENDED_TRANSFER: Sequence[Event] = (
    *INBOUND[:10],
    channel("5", "5", "PJSIP/101-00000005", state="4", caller=AGENT, exten=OTHER_AGENT),
    channel("6", "5", "PJSIP/102-00000006"),
    dial("5", "6", "5", "PJSIP/102-00000006"),
    dial_end("5", "6", "5", "PJSIP/102-00000006", "ANSWER"),
    ami("AttendedTransfer", OrigTransfererUniqueid="2", OrigTransfererLinkedid="1", Result="Success"),
    enters("6", "1", "b"),
    hangup("5", "5"),
    leaves("2", "1", "b"),
    hangup("2", "1"),
    hangup("6", "1"),
    hangup("1", "1"),
)
# The customer calls an agent who has asked a colleague before, and is handed on to that colleague.
CONSULTED_BEFORE: Sequence[Event] = (
    channel("1", "1", "PJSIP/101-00000001", state="4", caller=AGENT, exten=OTHER_AGENT),
    channel("2", "1", "PJSIP/102-00000002"),
    dial("1", "2", "1", "PJSIP/102-00000002"),
    dial_end("1", "2", "1", "PJSIP/102-00000002", "ANSWER"),
    enters("2", "1", "a"),
    enters("1", "1", "a"),
    channel("3", "3", "PJSIP/carrier-00000003", state="4", caller=CUSTOMER, exten=OWN),
    channel("4", "3", "PJSIP/101-00000004"),
    dial("3", "4", "3", "PJSIP/101-00000004"),
    dial_end("3", "4", "3", "PJSIP/101-00000004", "ANSWER"),
    enters("4", "3", "b"),
    enters("3", "3", "b"),
    leaves("3", "3", "b"),
    leaves("1", "1", "a"),
    enters("3", "1", "a"),
    ami("AttendedTransfer", OrigTransfererUniqueid="4", OrigTransfererLinkedid="3", Result="Success"),
    leaves("4", "3", "b"),
    hangup("1", "1"),
    hangup("4", "3"),
    hangup("2", "1"),
    hangup("3", "1"),
)


def esl(event: str, leg: str, **fields: str) -> Event:
    return {
        "event-name": event,
        "unique-id": leg,
        **{name.lower().replace("_", "-"): value for name, value in fields.items()},
    }


def created(leg: str, direction: str, caller: str, callee: str, **more: str) -> Event:
    return esl(
        "CHANNEL_CREATE", leg, Call_Direction=direction, Caller_Caller_ID_Number=caller,
        Caller_Destination_Number=callee, **more,
    )  # fmt: skip


def answered(leg: str, direction: str, callee: str = "", **more: str) -> Event:
    return esl("CHANNEL_ANSWER", leg, Call_Direction=direction, Caller_Destination_Number=callee, **more)


def bridged(leg: str, other: str) -> Event:
    return esl("CHANNEL_BRIDGE", leg, Other_Leg_Unique_ID=other, Bridge_A_Unique_ID=leg, Bridge_B_Unique_ID=other)


def complete(leg: str, cause: str = "NORMAL_CLEARING") -> Event:
    return esl("CHANNEL_HANGUP_COMPLETE", leg, Hangup_Cause=cause)


ESL_INBOUND: Sequence[Event] = (
    created("a", "inbound", CUSTOMER, OWN),
    answered("a", "inbound"),
    created("b", "outbound", CUSTOMER, AGENT, Channel_Call_UUID="a"),
    created("c", "outbound", CUSTOMER, OTHER_AGENT, Other_Leg_Unique_ID="a"),
    answered("b", "outbound", AGENT, Channel_Call_UUID="a"),
    complete("c", "LOSE_RACE"),
    bridged("a", "b"),
    complete("b"),
    complete("a"),
)
ESL_OUTBOUND: Sequence[Event] = (
    created("a", "inbound", AGENT, CUSTOMER),
    created("b", "outbound", OWN, CUSTOMER, Channel_Call_UUID="a"),
    answered("b", "outbound", CUSTOMER, Channel_Call_UUID="a"),
    bridged("a", "b"),
    complete("b"),
    complete("a"),
)
ESL_CLICK_TO_CALL: Sequence[Event] = (
    created("a", "outbound", OWN, AGENT, Channel_Call_UUID="a"),
    answered("a", "outbound", AGENT, Channel_Call_UUID="a"),
    created("b", "outbound", AGENT, CUSTOMER, Channel_Call_UUID="a"),
    answered("b", "outbound", CUSTOMER, Channel_Call_UUID="a"),
    bridged("a", "b"),
    complete("b"),
    complete("a"),
)
ESL_BLIND_TRANSFER: Sequence[Event] = (
    *ESL_INBOUND[:7],
    complete("b", "BLIND_TRANSFER"),
    created("d", "outbound", CUSTOMER, OTHER_AGENT, Other_Leg_Unique_ID="a"),
    answered("d", "outbound", OTHER_AGENT, Channel_Call_UUID="a"),
    bridged("a", "d"),
    complete("d"),
    complete("a"),
)
ESL_ATTENDED_TRANSFER: Sequence[Event] = (
    *ESL_INBOUND[:7],
    created("e", "inbound", AGENT, OTHER_AGENT),
    created("f", "outbound", AGENT, OTHER_AGENT, Channel_Call_UUID="e"),
    bridged("e", "f"),
    bridged("a", "f"),
    complete("e", "ATTENDED_TRANSFER"),
    complete("b"),
    complete("f"),
    complete("a"),
)


def recorded(name: str) -> Sequence[Event]:
    """Return what a real switch said, but for the fields that nobody reads."""
    return [*events_of((Path(__file__).parent / "sessions" / f"{name}.txt").read_bytes())]


def running_after(events: Sequence[Event]) -> list[Event]:
    """Return what a switch lists once the events have been."""
    return _legs_after(events) if "event-name" in events[0] else _channels_after(events)


def _channels_after(events: Iterable[Event]) -> list[Event]:
    """Return the rows of Asterisk's CoreShowChannels."""
    rows: dict[str, dict[str, str]] = {}
    for event in events:
        leg = event.get("destuniqueid") or event.get("uniqueid", "")
        match event["event"]:
            case "Newchannel":
                names = ("uniqueid", "linkedid", "channel", "channelstate", "calleridnum", "exten")
                rows[leg] = {name: event[name] for name in names}
            case "DialBegin":
                number = max(re.findall(r"\d+", event["dialstring"]), key=len, default="")
                rows[leg] |= {"channelstate": "5", "calleridnum": number}
            case "DialEnd" if event["dialstatus"] == "ANSWER":
                rows[leg]["channelstate"] = "6"
            case "BridgeEnter":
                rows[leg] |= {"bridgeid": event["bridgeuniqueid"], "linkedid": event["linkedid"]}
                together = [row for row in rows.values() if row.get("bridgeid") == event["bridgeuniqueid"]]
                oldest = min(
                    (row["linkedid"] for row in together), key=lambda it: [int(part) for part in it.split(".")]
                )
                for row in together:
                    row["linkedid"] = oldest
            case "BridgeLeave":
                rows[leg].pop("bridgeid", None)
            case "Hangup":
                rows.pop(leg)
            case _:
                pass
    return [*rows.values()]


def _legs_after(events: Iterable[Event]) -> list[Event]:
    """Return the rows of FreeSWITCH's `show channels as json`; `call_uuid` is empty until a leg has been answered.

    Source: core_event_handler in src/switch_core_sqldb.c, version 1.10, seen 2026-11-25.
    """
    rows: dict[str, dict[str, str]] = {}
    for event in events:
        leg = event["unique-id"]
        match event["event-name"]:
            case "CHANNEL_CREATE":
                rows[leg] = {
                    "uuid": leg,
                    "direction": event["call-direction"],
                    "cid_num": event["caller-caller-id-number"],
                    "dest": event["caller-destination-number"],
                    "callstate": "RINGING",
                    "call_uuid": "",
                }
            case "CHANNEL_ANSWER":
                rows[leg] |= {"callstate": "ACTIVE", "call_uuid": event.get("channel-call-uuid", "")}
            case "CHANNEL_BRIDGE":
                for side in (leg, event["bridge-b-unique-id"]):
                    rows[side] |= {"callstate": "ACTIVE", "call_uuid": leg}
            case "CHANNEL_HANGUP_COMPLETE":
                rows.pop(leg)
            case _:
                pass
    return [*rows.values()]


def written(events: Iterable[Event]) -> bytes:
    """Return a session as it is written down."""
    return "\n".join("".join(f"{name}: {value}\n" for name, value in event.items()) for event in events).encode()
