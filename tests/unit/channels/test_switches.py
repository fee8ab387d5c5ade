"""Telephone switches: sessions, and the interactions that they are."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from interaction_router.channels.asterisk import Asterisk
from interaction_router.channels.calls import Calls, Line, party_of
from interaction_router.channels.freeswitch import FreeSwitch
from interaction_router.channels.unsent import events_of
from interaction_router.settings import AmiSettings
from interaction_router.wire.interactions import parse_interaction
from tests.unit.channels import switches as sw
from tests.unit.channels.switches import AGENT, AT_MS, CUSTOMER, OTHER_AGENT, OWN, Event

SAMPLES = Path(os.environ.get("PAYLOADS", Path(__file__).parents[4] / "shared" / "payloads"))
LINE = Line("acme", "asterisk", re.compile(r"\d{2,6}"), agents={AGENT: "thandi", OTHER_AGENT: "ben"})
IN, OUT = ("inbound", CUSTOMER, OWN), ("outbound", AGENT, CUSTOMER)
Machine = Asterisk | FreeSwitch
_FINAL = {"ended", "missed", "failed", "cancelled"}


def take(machine: Machine, events: Sequence[Event], *, at_ms: int = AT_MS) -> list[dict[str, Any]]:
    """Give a session to a machine, an event a second."""
    told = [fields for index, event in enumerate(events) for fields in machine.take(event, at_ms + index * 1000)]
    return checked(told)


def checked(told: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every record is one that intake takes, and names the party that its call had from the start."""
    parties: dict[str, object] = {}
    for fields in told:
        parse_interaction(orjson.dumps(fields), channel_of_topic="voice")
        party = (fields["direction"], party_of(fields))
        assert parties.setdefault(fields["interaction_id"], party) == party
    return list(told)


def steps(told: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str | None]]:
    return [(fields["interaction_id"], fields["status"], fields.get("agent_id")) for fields in told]


_SESSIONS: list[tuple[type[Machine], Sequence[Event], tuple[str, str, str], list[tuple[str, str | None]]]] = [
    (Asterisk, sw.INBOUND, IN, [("ringing", None), ("answered", "thandi"), ("ended", None)]),
    (Asterisk, sw.OUTBOUND, OUT, [("ringing", "thandi"), ("answered", "thandi"), ("ended", "thandi")]),
    (Asterisk, sw.CLICK_TO_CALL, OUT, [("ringing", "thandi"), ("answered", "thandi"), ("ended", "thandi")]),
    (
        Asterisk, sw.BLIND_TRANSFER, IN,
        [("ringing", None), ("answered", "thandi"), ("answered", "ben"), ("ended", None)],
    ),
    (FreeSwitch, sw.ESL_INBOUND, IN, [("ringing", None), ("answered", "thandi"), ("ended", None)]),
    (FreeSwitch, sw.ESL_OUTBOUND, OUT, [("ringing", "thandi"), ("answered", "thandi"), ("ended", "thandi")]),
    (FreeSwitch, sw.ESL_CLICK_TO_CALL, OUT, [("ringing", "thandi"), ("answered", "thandi"), ("ended", "thandi")]),
    (
        FreeSwitch, sw.ESL_BLIND_TRANSFER, IN,
        [("ringing", None), ("answered", "thandi"), ("answered", "ben"), ("ended", None)],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "session", "sides", "expected"), _SESSIONS)
def test_a_call_is_one_interaction(
    kind: type[Machine], session: Sequence[Event], sides: tuple[str, str, str], expected: list[tuple[str, str | None]]
) -> None:
    told = take(kind(LINE), session)
    call_id = "1" if kind is Asterisk else "a"
    assert steps(told) == [(call_id, status, agent) for status, agent in expected]
    assert {(fields["direction"], fields["from"], fields["to"]) for fields in told} == {sides}
    assert told[-1]["duration_s"] > 0
    assert take(kind(LINE), session) == told
    twice = [event for event in session for _ in range(2)]
    assert steps(take(kind(LINE), twice)) == steps(told)


@pytest.mark.parametrize(
    ("kind", "session", "customers", "consultation"),
    [(Asterisk, sw.ATTENDED_TRANSFER, "1", "5"), (FreeSwitch, sw.ESL_ATTENDED_TRANSFER, "a", "e")],
)
def test_a_consultation_becomes_the_customers_call(
    kind: type[Machine], session: Sequence[Event], customers: str, consultation: str
) -> None:
    told = take(kind(LINE), session)
    assert [status for call, status, _ in steps(told) if call == consultation] == ["ringing", "answered", "ended"]
    assert [step[1:] for step in steps(told) if step[0] == customers] == [
        ("ringing", None),
        ("answered", "thandi"),
        ("answered", "ben"),
        ("ended", None),
    ]
    quiet = Line("acme", "x", LINE.internal, internal_calls=False, agents=LINE.agents)
    assert {call for call, _, _ in steps(take(kind(quiet), session))} == {customers}


def test_a_colleague_who_is_only_asked_never_has_the_call() -> None:
    told = take(Asterisk(LINE), sw.recorded("asterisk-22-consultation"))
    call = told[0]["interaction_id"]
    assert steps(told) == [(call, "ringing", None), (call, "answered", "thandi"), (call, "ended", None)]


def test_a_call_is_answered_by_who_picks_it_up_elsewhere() -> None:
    told = by_call(take(Asterisk(LINE), sw.recorded("asterisk-16-pickup")))
    customers, picking = told.values()
    assert [step[1:] for step in steps(customers)] == [("ringing", None), ("answered", "ben"), ("ended", None)]
    assert picking[-1]["status"] == "ended"
    assert picking[-1]["metadata"]["joined"] == customers[0]["interaction_id"]


@pytest.mark.parametrize("killed_at", range(len(sw.CONSULTED_BEFORE)))
def test_a_customers_call_goes_on_where_it_comes_to_an_older_one_of_agents(killed_at: int) -> None:
    session, machine = sw.CONSULTED_BEFORE, Asterisk(LINE)
    told = take(machine, session[:killed_at])
    again = Asterisk(LINE)
    again.restore(orjson.loads(orjson.dumps(machine.snapshot())))
    again.begin_resume()
    told += again.end_resume(sw.running_after(session[:killed_at]) if killed_at else [], AT_MS)
    told += take(again, session[killed_at:])
    assert {call: [step[1:] for step in steps(events)] for call, events in by_call(checked(told)).items()} == {
        "1": [("ringing", None), ("answered", "ben"), ("ended", None)],
        "3": [("ringing", None), ("answered", "thandi"), ("answered", "ben"), ("ended", None)],
    }


def test_of_an_outbound_call_that_is_handed_on_the_last_agent_is_told() -> None:
    session = [
        *sw.OUTBOUND[:4],
        sw.enters("1", "1", "b"),
        sw.enters("2", "1", "b"),
        sw.leaves("1", "1", "b"),
        sw.channel("3", "1", "PJSIP/102-00000003"),
        sw.enters("3", "1", "b"),
        *(sw.hangup(leg, "1") for leg in "123"),
    ]
    assert [step[1:] for step in steps(take(Asterisk(LINE), session))] == [
        ("ringing", "thandi"),
        ("answered", "thandi"),
        ("answered", "ben"),
        ("ended", "ben"),
    ]


def test_an_extension_that_shows_another_number_calls_all_the_same() -> None:
    begun = sw.channel("1", "1", "PJSIP/101-00000001", state="4", caller=OWN, exten=CUSTOMER)
    machine = Asterisk(LINE)
    machine.begin_resume()
    for told in (take(Asterisk(LINE), [begun]), checked(machine.end_resume([begun], AT_MS))):
        assert {sides(fields) for fields in told} == {OUT}


@pytest.mark.parametrize(("dialled", "direction"), [("*8102", "inbound"), (f"*67{CUSTOMER}", "outbound")])
def test_a_code_that_is_dialled_within_is_no_customer(dialled: str, direction: str) -> None:
    settings = AmiSettings(host="pbx.example", username="router", secret=SecretStr("s3cret"))
    machine = Asterisk(Line("acme", "asterisk", re.compile(settings.internal_numbers)))
    (told,) = take(machine, [sw.channel("1", "1", "PJSIP/101-1", state="4", caller=AGENT, exten=dialled)])
    assert told["direction"] == direction


_UNANSWERED: list[tuple[type[Machine], Sequence[Event], str]] = [
    (Asterisk, [sw.INBOUND[0], sw.hangup("1", "1")], "missed"),
    (Asterisk, [*sw.INBOUND[:3], sw.dial_end("1", "2", "1", "PJSIP/101-2", "BUSY"), sw.hangup("2", "1"), sw.hangup("1", "1", "17")], "missed"),
    (
        Asterisk,
        [*sw.INBOUND[:3], sw.dial_end("1", "2", "1", "PJSIP/101-2", "CHANUNAVAIL"), sw.hangup("2", "1", "20"),
         sw.hangup("1", "1")],
        "missed",
    ),
    (
        Asterisk,
        [*sw.INBOUND[:3], sw.dial_end("1", "2", "1", "PJSIP/101-2", "CANCEL"), sw.hangup("2", "1", "127"),
         sw.hangup("1", "1", "127", "Interworking, unspecified")],
        "missed",
    ),
    (
        Asterisk,
        [*sw.OUTBOUND[:3], sw.dial_end("1", "2", "1", "PJSIP/c-2", "NOANSWER"), sw.hangup("2", "1", "1", "Unallocated"),
         sw.hangup("1", "1", "34")],
        "failed",
    ),
    (Asterisk, [sw.INBOUND[0], sw.hangup("1", "1", "34", "No circuit")], "failed"),
    (Asterisk, [*sw.OUTBOUND[:3], sw.hangup("2", "1"), sw.hangup("1", "1")], "cancelled"),
    *(
        (Asterisk,
         [*sw.OUTBOUND[:3], sw.dial_end("1", "2", "1", "PJSIP/c-2", status), sw.hangup("2", "1"), sw.hangup("1", "1")],
         expected)
        for status, expected in (
            ("BUSY", "missed"), ("NOANSWER", "missed"), ("CANCEL", "cancelled"), ("CONGESTION", "failed"),
        )
    ),
    (FreeSwitch, [sw.ESL_INBOUND[0], sw.complete("a", "ORIGINATOR_CANCEL")], "missed"),
    (FreeSwitch, [*sw.ESL_INBOUND[:3], sw.complete("b", "UNALLOCATED_NUMBER"), sw.complete("a")], "missed"),
    (FreeSwitch, [sw.ESL_INBOUND[0], sw.complete("a", "NO_ROUTE_DESTINATION")], "failed"),
    *(
        (FreeSwitch, [*sw.ESL_OUTBOUND[:2], sw.complete("b", cause), sw.complete("a", cause)], expected)
        for cause, expected in (
            ("USER_BUSY", "missed"), ("NO_ANSWER", "missed"), ("ORIGINATOR_CANCEL", "cancelled"),
            ("NORMAL_CLEARING", "cancelled"), ("NETWORK_OUT_OF_ORDER", "failed"),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "session", "status"), _UNANSWERED)
def test_what_becomes_of_a_call_that_nobody_answers(kind: type[Machine], session: Sequence[Event], status: str) -> None:
    told = take(kind(LINE), session)
    assert [fields["status"] for fields in told] == ["ringing", status]
    assert "duration_s" not in told[-1]


@pytest.mark.parametrize(
    ("machine", "event"),
    [
        (Asterisk(LINE), sw.channel("1", "1", "PJSIP/c-1", state="4", caller="<unknown>", exten="s")),
        (FreeSwitch(LINE), sw.created("a", "inbound", "", "")),
        (FreeSwitch(LINE), sw.created("a", "inbound", CUSTOMER, "", Caller_Privacy_Hide_Number="true")),
    ],
)
def test_a_withheld_number_is_null(machine: Machine, event: Event) -> None:
    (fields,) = take(machine, [event])
    assert (fields["direction"], fields["from"], fields["to"]) == ("inbound", None, None)


def test_a_call_that_the_switch_makes_to_a_customer() -> None:
    session = [
        sw.created("a", "outbound", OWN, CUSTOMER),
        sw.answered("a", "outbound"),
        sw.created("b", "outbound", CUSTOMER, AGENT, Other_Leg_Unique_ID="a"),
        sw.bridged("a", "b"),
        sw.complete("b"),
        sw.complete("a"),
    ]
    told = take(FreeSwitch(LINE), session)
    assert steps(told) == [
        ("a", "ringing", None),
        ("a", "answered", None),
        ("a", "answered", "thandi"),
        ("a", "ended", "thandi"),
    ]
    assert {(fields["direction"], fields["to"]) for fields in told} == {("outbound", CUSTOMER)}


def test_the_switchs_own_time_is_taken() -> None:
    event = {**sw.INBOUND[0], "timestamp": "1795335330.120456"}
    assert take(Asterisk(LINE), [event], at_ms=0)[0]["occurred_at"] == "2026-11-22T08:15:30.120Z"
    event = {**sw.ESL_INBOUND[0], "event-date-timestamp": "1795335330120456"}
    assert take(FreeSwitch(LINE), [event], at_ms=0)[0]["occurred_at"] == "2026-11-22T08:15:30.120Z"


def row(leg: str, call: str, name: str, **more: str) -> Event:
    return {"channel": name, "uniqueid": leg, "linkedid": call, "channelstate": "6", "duration": "00:01:00", **more}


_RUNNING = [
    row("1", "1", "PJSIP/carrier-1", calleridnum=CUSTOMER, exten=OWN, bridgeid="b"),
    row("2", "1", "PJSIP/101-2", calleridnum="101", bridgeid="b"),
]


def test_what_runs_when_the_receiver_comes_is_told() -> None:
    machine = Asterisk(LINE)
    machine.begin_resume()
    told = checked(machine.end_resume(_RUNNING, AT_MS + 60_000))
    assert steps(told) == [("1", "ringing", None), ("1", "answered", "thandi")]
    assert told[0]["occurred_at"] == "2026-11-22T08:15:30.000Z"
    assert steps(take(machine, [sw.hangup("2", "1"), sw.hangup("1", "1")])) == [("1", "ended", None)]


def test_what_ended_while_nobody_heard_ends_with_a_note() -> None:
    machine = Asterisk(LINE)
    take(machine, sw.INBOUND[:10])
    take(machine, [sw.channel("7", "7", "PJSIP/carrier-7", state="4", caller="0831112222", exten=OWN)])
    machine.begin_resume()
    new = sw.channel("8", "8", "PJSIP/carrier-8", state="4", caller="0833333333", exten=OWN)
    assert steps(take(machine, [new])) == [("8", "ringing", None)]
    told = checked(machine.end_resume(_RUNNING, AT_MS + 60_000))
    assert steps(told) == [("7", "missed", None)]
    assert told[0]["metadata"] == {"gap": "its end was not seen"}
    assert steps(take(machine, [sw.hangup("2", "1"), sw.hangup("1", "1"), sw.hangup("8", "8")]))[-1][1] == "missed"


def test_a_leg_that_has_come_over_from_another_call_goes_on_where_it_is_listed() -> None:
    session = sw.recorded("asterisk-16-pickup")
    talking = next(at for at, event in enumerate(session) if event["event"] == "BridgeLeave")
    machine = Asterisk(LINE)
    take(machine, [*session[:talking], session[talking - 2]])
    machine.begin_resume()
    assert machine.end_resume(sw.running_after(session[:talking]), AT_MS) == []
    (ended,) = take(machine, session[talking:])
    assert ended["metadata"] == {"cause": "16 Normal Clearing"}


def test_the_record_of_a_half_of_a_listed_call_says_nothing_new() -> None:
    machine = Asterisk(LINE)
    machine.begin_resume()
    halves = [row("3", "1", "Local/101@phones-0;1", bridgeid="b"), row("4", "1", "Local/101@phones-0;2", bridgeid="c")]
    checked(machine.end_resume([*_RUNNING, *halves], AT_MS))
    ends = [cdr("4", "ANSWERED"), *(sw.hangup(leg, "1") for leg in "4321")]
    assert [step[:2] for step in steps(take(machine, ends))] == [("1", "ended")]


def test_what_ends_while_it_is_listed_stays_ended() -> None:
    machine = Asterisk(LINE)
    machine.begin_resume()
    take(machine, [sw.hangup("1", "1"), sw.hangup("2", "1")])
    assert machine.end_resume(_RUNNING, AT_MS) == []


def test_freeswitch_lists_what_runs() -> None:
    rows = [
        {"uuid": "b", "direction": "outbound", "call_uuid": "a", "cid_num": CUSTOMER, "dest": AGENT, "callstate": "ACTIVE",
         "created_epoch": "1795335330"},
        {"uuid": "a", "direction": "inbound", "call_uuid": "a", "cid_num": CUSTOMER, "dest": OWN, "callstate": "ACTIVE",
         "created_epoch": "1795335320"},
    ]  # fmt: skip
    machine = FreeSwitch(LINE)
    machine.begin_resume()
    told = checked(machine.end_resume(rows, AT_MS + 60_000))
    assert steps(told) == [("a", "ringing", None), ("a", "answered", "thandi")]
    machine.begin_resume()
    assert steps(checked(machine.end_resume([], AT_MS + 90_000))) == [("a", "ended", None)]


_WHOLE = [
    *((Asterisk, session) for session in (
        sw.INBOUND, sw.OUTBOUND, sw.CLICK_TO_CALL, sw.BLIND_TRANSFER, sw.ATTENDED_TRANSFER,
        sw.recorded("asterisk-16-pickup"), sw.recorded("asterisk-22-consultation"))),
    *((FreeSwitch, session) for session in (
        sw.ESL_INBOUND, sw.ESL_OUTBOUND, sw.ESL_CLICK_TO_CALL, sw.ESL_BLIND_TRANSFER, sw.ESL_ATTENDED_TRANSFER)),
]  # fmt: skip


@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize(("kind", "session"), _WHOLE)
def test_wherever_the_receiver_stops_and_starts_a_call_is_one_interaction(
    kind: type[Machine], session: Sequence[Event], *, remembers: bool
) -> None:
    """Heard up to one event, and again from that or a later one on: nothing is told of a call that is not so."""
    whole = by_call(take(kind(LINE), session))
    for until in range(1, len(session) + 1):
        for since in range(until, len(session) + 1):
            first, then = kind(LINE), kind(LINE)
            told = take(first, session[:until])
            if remembers:
                then.restore(orjson.loads(orjson.dumps(first.snapshot())))
            then.begin_resume()
            told += then.end_resume(sw.running_after(session[:since]), AT_MS + since * 1000)
            told += take(then, session[since:], at_ms=AT_MS + since * 1000)
            for call, events in by_call(checked(told)).items():
                assert sides(events[0]) == sides(whole[call][0])
                (*before, last), statuses = events, [fields["status"] for fields in whole[call]]
                assert {fields["status"] for fields in before} <= set(statuses[:-1])
                if remembers or last["status"] in _FINAL:
                    assert last["status"] == statuses[-1] or (last["status"] in _FINAL and last["metadata"]["gap"])


def by_call(told: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return what assignment would take of it, by call: the same told again is not."""
    calls: dict[str, list[dict[str, Any]]] = {}
    for fields in told:
        events = calls.setdefault(fields["interaction_id"], [])
        if all((fields["status"], fields.get("event_id")) != (it["status"], it.get("event_id")) for it in events):
            events.append(fields)
    return calls


def sides(fields: Mapping[str, Any]) -> tuple[object, object, object]:
    return fields["direction"], fields["from"], fields["to"]


def test_a_leg_whose_call_the_switch_does_not_tell_yet_is_its_calls_once_answered() -> None:
    machine = FreeSwitch(LINE)
    machine.begin_resume()
    told = checked(machine.end_resume(sw.running_after(sw.ESL_OUTBOUND[:2]), AT_MS))
    told += take(machine, sw.ESL_OUTBOUND[2:])
    assert [step[:2] for step in steps(told)] == [("a", "ringing"), ("a", "answered"), ("a", "ended")]


def test_a_record_that_comes_after_a_restart_says_nothing_new() -> None:
    before, machine = Asterisk(LINE), Asterisk(LINE)
    take(before, sw.ATTENDED_TRANSFER)
    machine.restore(orjson.loads(orjson.dumps(before.snapshot())))
    assert take(machine, [cdr("1", "ANSWERED"), cdr("6", "ANSWERED")]) == []


def cdr(leg: str, disposition: str, **more: str) -> Event:
    return sw.ami("Cdr", Uniqueid=leg, Source=CUSTOMER, Destination=OWN, Disposition=disposition, **more)


def told_by(*records: Event) -> list[dict[str, Any]]:
    """Return what is told once no channels will come after records any more."""
    machine = Asterisk(LINE)
    assert take(machine, records) == []
    return checked(machine.take({"response": "Success", "ping": "Pong"}, AT_MS + 20_000))


def test_a_call_that_was_not_seen_is_told_by_its_record() -> None:
    told = told_by(cdr("9", "ANSWERED", BillableSeconds="42"))
    assert steps(told) == [("9", "ringing", None), ("9", "answered", None), ("9", "ended", None)]
    assert (told[-1]["duration_s"], told[-1]["metadata"]["gap"]) == (42.0, "told by its record only")
    assert steps(told_by(cdr("9", "NO ANSWER")))[-1] == ("9", "missed", None)


@pytest.mark.parametrize("dispositions", [("NO ANSWER", "ANSWERED"), ("ANSWERED", "NO ANSWER")])
def test_of_several_records_of_a_call_the_answer_counts(dispositions: tuple[str, str]) -> None:
    first, second = dispositions
    told = told_by(
        cdr("9", first, LinkedID="8", Channel="PJSIP/carrier-8"), cdr("10", second, LinkedID="8", Channel="PJSIP/101-9"),
        cdr("11", "NO ANSWER", LinkedID="8", Channel="Local/101@phones-0;2"),
    )  # fmt: skip
    assert steps(told) == [("8", "ringing", None), ("8", "answered", None), ("8", "ended", None)]


def test_a_record_that_is_ahead_of_its_call_says_nothing_new() -> None:
    session = [cdr("1", "NO ANSWER"), *sw.INBOUND]
    assert take(Asterisk(LINE), session, at_ms=AT_MS - 1000) == take(Asterisk(LINE), sw.INBOUND)


def test_the_record_of_a_call_that_was_seen_says_nothing_new() -> None:
    record = cdr("1", "ANSWERED", BillableSeconds="9")
    for session in (sw.INBOUND, sw.INBOUND[:10]):
        assert take(Asterisk(LINE), [*session, record]) == take(Asterisk(LINE), session)


def test_of_too_many_calls_the_oldest_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interaction_router.channels.calls._CALLS_LIMIT", 2)
    calls = Calls(LINE)
    told = []
    for call in "abc":
        told += calls.leg(call, call, at_ms=AT_MS)
        told += calls.ring(call, caller=CUSTOMER, callee=OWN, at_ms=AT_MS)
    assert steps(told)[-2:] == [("a", "missed", None), ("c", "ringing", None)]


@pytest.mark.skipif(not SAMPLES.exists(), reason="the samples are not here")
def test_the_sample_of_an_asterisk_of_before_version_12() -> None:
    """A phone is rung, then dials another: without Linkedid, and through halves of a Local channel."""
    events = list(events_of((SAMPLES / "08_asterisk_ami_originate_call.txt").read_bytes()))
    told = take(Asterisk(LINE), events)
    assert [step[:2] for step in steps(told)] == [
        ("1414510600.0", "ringing"),
        ("1414510600.0", "answered"),
        ("1414510600.0", "ended"),
    ]
    assert {(fields["from"], fields["to"]) for fields in told} == {("259", "254")}


@pytest.mark.skipif(not SAMPLES.exists(), reason="the samples are not here")
def test_the_sample_of_freeswitch() -> None:
    (event, *_) = events_of((SAMPLES / "09_freeswitch_esl_channel_create.txt").read_bytes())
    (fields,) = take(FreeSwitch(LINE), [event])
    assert (fields["interaction_id"], fields["from"], fields["to"]) == (
        "d0b1da34-a727-11e4-9728-6f83a2e5e50a",
        "100",
        "101",
    )
    assert fields["occurred_at"] == "2015-01-28T18:00:44.671Z"
