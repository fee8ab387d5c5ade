"""The naive model against the acceptance cases, by number: conversations, lifecycles, time."""

from __future__ import annotations

import pytest

from tests.model.bench import START_MS, Bench, told
from tests.model.promises import check_promises
from tests.model.state import HOUR_MS, MINUTE_MS, Policy
from tests.model.steps import Fields
from tests.model.updates import Refusal, StepResult

SECOND_MS = 1000
ANN = "mailto:ann@example.com"
IDLE = Policy(idle_close_ms={"voice": 10 * MINUTE_MS, "sms": 20 * MINUTE_MS, "email": 20 * MINUTE_MS})


@pytest.fixture
def bench() -> Bench:
    """Give a bench on which contact `c` is saved with a phone and a mailbox."""
    bench = Bench(policy=IDLE)
    bench.save("c", "tel:+27821234567", ANN)
    return bench


def conversation_of(result: StepResult) -> object:
    """Tell the one conversation that a step was about."""
    (conversation,) = {each.conversation for each in result.updates}
    return conversation


def kinds(result: StepResult) -> list[str]:
    """Tell what happened, in short."""
    return [each.type.removeprefix("conversation.") for each in result.updates]


def rule(result: StepResult) -> str:
    """Tell the rule of the last update."""
    return result.updates[-1].rule


def test_01_first_message_opens_one(bench: Bench) -> None:
    """The first SMS of a contact opens its conversation, seq 1, and is in it, seq 2."""
    result = bench.event("m1")
    assert told(result) == [
        (0, "opened", "opened_for_contact", "c"),
        (0, "interaction_added", "opened_for_contact", "c"),
    ]
    assert [each.seq for each in result.updates] == [1, 2]
    assert result.updates[0].linked is True


def test_02_all_channels_join_it(bench: Bench) -> None:
    """SMS, call, e-mail and chat of a contact are one conversation."""
    bench.save("c", "tel:+27821234567", ANN, "chat:v1")
    results = [
        bench.event("m1"),
        bench.call("call1", "ringing"),
        bench.event("mail1", channel="email", endpoint=ANN),
        bench.event("chat1", channel="chat", endpoint="chat:v1"),
    ]
    assert {conversation_of(result) for result in results} == {0}
    assert {rule(result) for result in results[1:]} == {"joined_open_conversation"}


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_04_05_after_a_close_a_new_one(bench: Bench, direction: str) -> None:
    """After a close either direction opens a new one that names the previous one."""
    bench.event("m1")
    bench.close(0)
    result = bench.event("m2", direction="inbound" if direction == "inbound" else "outbound")
    assert kinds(result) == ["opened", "interaction_added"]
    assert result.updates[0].conversation == 1
    assert result.updates[0].previous == 0


def test_06_reply_joins_what_an_outbound_opened(bench: Bench) -> None:
    """An outbound message opens, and the reply joins."""
    bench.event("m1", "sent", direction="outbound")
    assert told(bench.event("m2")) == [(0, "interaction_added", "joined_open_conversation", "c")]


def test_08_close_twice(bench: Bench) -> None:
    """The second close is refused; the first one said again changes nothing."""
    bench.event("m1")
    assert told(bench.close(0, command_id="k")) == [(0, "closed", "requested", "c")]
    assert bench.close(0).refusal == Refusal.CONVERSATION_CLOSED
    assert bench.close(0, command_id="k") == StepResult()


def test_09_close_of_an_unknown_id(bench: Bench) -> None:
    """A close of an id that is not of the tenant is refused, and its command id is not seen."""
    assert bench.close(0, command_id="k").refusal == Refusal.CONVERSATION_UNKNOWN
    bench.event("m1", tenant="globex")
    assert bench.close(0, command_id="k").refusal == Refusal.CONVERSATION_UNKNOWN
    bench.event("m1")
    assert kinds(bench.close(1, command_id="k")) == ["closed"]


def test_12_a_call_of_an_unsaved_party_is_one_interaction() -> None:
    """Ring, answer and end of an unsaved caller are one interaction in one conversation."""
    bench = Bench(policy=IDLE)
    assert kinds(bench.call("x", "ringing")) == ["opened", "interaction_added"]
    assert kinds(bench.call("x", "answered")) == ["interaction_updated"]
    assert kinds(bench.call("x", "ended")) == ["interaction_updated"]


def test_31_tenants_never_meet(bench: Bench) -> None:
    """The same ids in another tenant are other ids."""
    bench.event("m1")
    other = bench.event("m1", tenant="globex")
    assert told(other)[0] == (1, "opened", "opened_unlinked", None)


def test_32_a_call_is_updated(bench: Bench) -> None:
    """A call that rings, is answered and ends is added once and updated twice."""
    results = [bench.call("x", status) for status in ("ringing", "answered", "ended")]
    added = [kind for result in results for kind in kinds(result)]
    assert added == ["opened", "interaction_added", "interaction_updated", "interaction_updated"]
    assert rule(results[2]) == "event_of_known"


def test_33_ended_before_ringing(bench: Bench) -> None:
    """Ended stays ended; of the late ringing the fields that were null are taken."""
    bench.event("x", "ended", channel="voice", fields=Fields(duration_s=42))
    late = Fields(duration_s=0, text="press 1")
    interaction = bench.event("x", "ringing", channel="voice", fields=late).updates[0].interaction
    assert interaction is not None
    assert interaction.status == "ended"
    assert interaction.fields == Fields(duration_s=42, text="press 1")


@pytest.mark.parametrize(
    ("statuses", "stands"),
    [
        (["delivered", "sent", "read"], "read"),
        (["read", "delivered", "sent"], "read"),
        (["sent", "received"], "sent"),
        (["delivered", "failed"], "delivered"),
        (["queued", "sent", "failed"], "failed"),
    ],
)
def test_34_status_never_goes_back(bench: Bench, statuses: list[str], stands: str) -> None:
    """In any order the furthest status stands; of equals the first."""
    views = [bench.event("m", status).updates[-1].interaction for status in statuses]
    assert views[-1] is not None
    assert views[-1].status == stands


def test_35_receipt_after_the_close(bench: Bench) -> None:
    """A receipt updates its interaction in the closed conversation and opens nothing."""
    bench.event("m1", "sent", direction="outbound")
    bench.close(0)
    result = bench.event("m1", "delivered", direction="outbound")
    assert told(result) == [(0, "interaction_updated", "event_of_known", "c")]
    assert result.updates[0].status == "closed"


def test_36_37_a_call_belongs_where_it_began(bench: Bench) -> None:
    """A call that spans the close, and its recording, stay in the closed conversation."""
    bench.call("x", "answered")
    bench.close(0)
    bench.event("m1")
    assert conversation_of(bench.call("x", "ended")) == 0
    recording = Fields(recording_url="https://example.com/r")
    result = bench.event("x", "ended", channel="voice", event_id="r", fields=recording)
    assert result.updates[0].interaction is not None
    assert result.updates[0].interaction.fields == recording
    assert conversation_of(result) == 0


def test_11_38_45_the_same_event_changes_nothing(bench: Bench) -> None:
    """An event repeated changes nothing; with another event id it is another event."""
    bench.event("m1")
    bench.event("m2")
    assert bench.event("m1") == StepResult()
    assert kinds(bench.event("m1", event_id="e")) == ["interaction_updated"]
    assert bench.event("m1", event_id="e") == StepResult()


def test_39_happened_before_the_close(bench: Bench) -> None:
    """A minute late joins the closed one; eleven, or in the second of the close, opens."""
    bench.event("m1")
    bench.wait(5 * SECOND_MS)
    bench.close(0)
    closed_second_ms = bench.now_ms // 1000 * 1000
    bench.wait(MINUTE_MS)
    late = bench.event("m2", occurred_at_ms=closed_second_ms - 1)
    assert told(late) == [(0, "interaction_added", "joined_closed_late", "c")]
    same_second = bench.event("m3", occurred_at_ms=closed_second_ms)
    assert told(same_second)[0] == (1, "opened", "opened_for_contact", "c", 0)


@pytest.mark.parametrize(("after_ms", "joins"), [(0, True), (1, False)])
def test_39_grace_ends(bench: Bench, after_ms: int, joins: bool) -> None:  # noqa: FBT001
    """At ten minutes exactly it still joins, a millisecond later it opens."""
    bench.event("m1")
    bench.close(0)
    bench.wait(10 * MINUTE_MS - 1 + after_ms)
    result = bench.event("m2", occurred_at_ms=START_MS - SECOND_MS)
    assert (rule(result) == "joined_closed_late") is joins


def test_rule_7_gives_way_to_an_open_one(bench: Bench) -> None:
    """Where the contact has an open conversation again, a late message joins that."""
    bench.event("m1")
    bench.close(0)
    bench.event("m2")
    late = bench.event("m3", occurred_at_ms=START_MS - SECOND_MS)
    assert told(late) == [(1, "interaction_added", "joined_open_conversation", "c")]


@pytest.mark.parametrize(("ahead_ms", "flagged"), [(5 * MINUTE_MS, False), (HOUR_MS, True)])
def test_40_clock_ahead(bench: Bench, ahead_ms: int, flagged: bool) -> None:  # noqa: FBT001
    """More than 5 minutes ahead is set back to the log time, and flagged."""
    told_ms = bench.now_ms + 1 + ahead_ms
    view = bench.event("m1", occurred_at_ms=told_ms).updates[1].interaction
    assert view is not None
    assert view.flags == (frozenset({"clock_ahead"}) if flagged else frozenset())
    assert view.occurred_at_ms == (bench.now_ms if flagged else told_ms)


def test_42_idle_only_when_every_channel_is(bench: Bench) -> None:
    """Voice idle and SMS not: open; both: closed, once."""
    bench.call("x", "ended")
    bench.event("m1")
    bench.wait(11 * MINUTE_MS)
    assert bench.tick() == StepResult()
    bench.wait(9 * MINUTE_MS)
    assert told(bench.tick()) == [(0, "closed", "idle", "c")]
    assert bench.tick() == StepResult()


def test_42_a_channel_without_a_time_keeps_it_open(bench: Bench) -> None:
    """Chat has no idle time, so a conversation that used it never idles."""
    bench.event("m1")
    bench.event("m2", channel="chat")
    bench.wait(100 * HOUR_MS)
    assert bench.tick() == StepResult()


def test_42_automatic_answers(bench: Bench) -> None:
    """An out-of-office answer does not keep it open, nor open one where there is a closed one."""
    bench.event("m1")
    bench.wait(20 * MINUTE_MS - 1)
    bench.event("auto1", channel="email", endpoint=ANN, auto_response=True)
    assert told(bench.tick()) == [(0, "closed", "idle", "c")]
    bench.wait(HOUR_MS)
    second = bench.event("auto2", channel="email", endpoint=ANN, auto_response=True)
    assert told(second) == [(0, "interaction_added", "joined_closed_auto", "c")]


def test_42_an_automatic_answer_opens_where_there_is_none(bench: Bench) -> None:
    """The first of all opens a conversation, and then counts for its idle time."""
    opened = bench.event("auto", channel="email", endpoint=ANN, auto_response=True)
    assert kinds(opened) == ["opened", "interaction_added"]
    assert bench.tick() == StepResult()
    bench.wait(20 * MINUTE_MS)
    assert told(bench.tick()) == [(0, "closed", "idle", "c")]


def test_42_what_resets_idle_time(bench: Bench) -> None:
    """A receipt does not reset it; an event of a call does, even one after its end."""
    bench.event("m1", "sent", direction="outbound")
    bench.wait(19 * MINUTE_MS)
    bench.event("m1", "delivered", direction="outbound")
    bench.wait(MINUTE_MS)
    assert kinds(bench.tick()) == ["closed"]
    bench.call("x", "ended")
    bench.wait(9 * MINUTE_MS)
    bench.event("x", "ended", channel="voice", event_id="recording")
    bench.wait(9 * MINUTE_MS)
    assert bench.tick() == StepResult()
    bench.wait(MINUTE_MS)
    assert kinds(bench.tick()) == ["closed"]


def test_42_a_call_in_progress_keeps_it_open_for_12_hours(bench: Bench) -> None:
    """From the call's first event, to the millisecond."""
    bench.call("x", "ringing")
    rang_ms = bench.now_ms
    bench.call("x", "answered")
    bench.now_ms = rang_ms + 12 * HOUR_MS - 2
    assert bench.tick() == StepResult()
    assert told(bench.tick()) == [(0, "closed", "idle", "c")]


def test_42_an_unlinked_one_idles_too() -> None:
    """Also one of a withheld party."""
    bench = Bench(policy=IDLE)
    bench.event("m1", endpoint=None)
    bench.wait(20 * MINUTE_MS)
    assert told(bench.tick()) == [(0, "closed", "idle", None)]


def test_rule_5_the_agent_named_last_stands(bench: Bench) -> None:
    """An agent is replaced by an event that occurred later than the one that named it."""
    at_ms = bench.now_ms
    agents = [("thandi", 20), ("pieter", 10), ("zola", 20), ("pieter", 30), (None, 40)]
    views = [
        bench.event(
            "x",
            "ended",
            channel="voice",
            agent_id=agent,
            occurred_at_ms=at_ms + late,
            event_id=f"{n}",
        )
        .updates[-1]
        .interaction
        for n, (agent, late) in enumerate(agents)
    ]
    named = [view.agent_id for view in views if view is not None]
    assert named == ["thandi", "thandi", "thandi", "pieter", "pieter"]
    assert {view.occurred_at_ms for view in views if view is not None} == {at_ms + 20}


def test_rule_6_receipts_of_the_unknown(bench: Bench) -> None:
    """A receipt that names the party is an interaction; of nobody it is refused, and not seen."""
    assert kinds(bench.event("m1", "delivered")) == ["opened", "interaction_added"]
    assert bench.event("m2", "read", endpoint=None).refusal == Refusal.INTERACTION_UNKNOWN
    assert bench.event("m2", "read", endpoint=None).refusal == Refusal.INTERACTION_UNKNOWN
    bench.event("m2", "sent", endpoint=None)
    assert kinds(bench.event("m2", "read", endpoint=None)) == ["interaction_updated"]
    ended = bench.event("x", "ended", channel="voice", endpoint=None)
    assert rule(ended) == "opened_unlinked"


def test_46_agent_that_does_not_qualify(bench: Bench) -> None:
    """Outbound is refused, inbound assigned and flagged."""
    bench.agent("thandi", "email")
    refused = bench.event("m1", "sent", direction="outbound", agent_id="thandi")
    assert refused == StepResult(refusal=Refusal.AGENT_NOT_QUALIFIED)
    view = bench.event("m2", agent_id="thandi").updates[1].interaction
    assert view is not None
    assert view.flags == {"agent_not_qualified"}


def test_47_48_what_is_checked(bench: Bench) -> None:
    """A tenant without agents is not, nor one who is not named; qualification counts when given."""
    first = bench.event("m1", "sent", direction="outbound", agent_id="thandi")
    assert first.refusal is None
    bench.agent("pieter", "sms")
    unknown = bench.event("m2", "sent", direction="outbound", agent_id="thandi")
    assert unknown.refusal == Refusal.AGENT_UNKNOWN
    assert bench.event("m3", "sent", direction="outbound").refusal is None
    bench.agent("thandi", "sms")
    assert bench.event("m2", "sent", direction="outbound", agent_id="thandi").refusal is None
    bench.agent("thandi")
    bench.agent("pieter")
    assert bench.event("m4", "sent", direction="outbound", agent_id="zola").refusal is None


def test_46_flag_in_place_of_refusal() -> None:
    """Where the setting says so, an outbound one is assigned and flagged."""
    bench = Bench(policy=Policy(unqualified="flag"))
    bench.agent("pieter", "sms")
    view = bench.event("m", "sent", direction="outbound", agent_id="zola").updates[1].interaction
    assert view is not None
    assert view.flags == {"agent_unknown"}
    assert check_promises(bench.history) == []
