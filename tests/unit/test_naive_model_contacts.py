"""The naive model against the acceptance cases, by number: saving, linking, merging, erasing."""

from __future__ import annotations

import pytest

from tests.model.bench import PHONE, START_MS, Bench, told
from tests.model.state import HOUR_MS, MINUTE_MS, Policy
from tests.model.updates import Refusal, StepResult

OTHER = "tel:+27821234568"
ANN = "mailto:ann@example.com"


@pytest.fixture
def bench() -> Bench:
    """Give a bench on which nobody is saved."""
    return Bench(policy=Policy(idle_close_ms={"sms": 20 * MINUTE_MS}))


def test_10_11_unsaved_interactions_stay_apart(bench: Bench) -> None:
    """Three interactions of an unsaved number are three; one repeated does not make four."""
    opened = [told(bench.event(each))[0] for each in ("m1", "m2", "m3")]
    assert opened == [(n, "opened", "opened_unlinked", None) for n in range(3)]
    assert bench.event("m2") == StepResult()


def test_13_withheld_parties(bench: Bench) -> None:
    """Two calls of a withheld party are two, which no save links; by hand it can be done."""
    for each in ("x", "y"):
        bench.call(each, "ringing", endpoint=None)
    assert bench.save("c", PHONE) == StepResult()
    assert told(bench.link(1, "c")) == [(1, "linked", "by_hand", "c")]
    assert told(bench.unlink(1)) == [(1, "unlinked", "by_hand", None)]


def test_14_one_open_unlinked_becomes_the_contacts(bench: Bench) -> None:
    """It is linked, and the next interaction joins it."""
    bench.event("m1")
    linked = bench.save("c", PHONE)
    assert told(linked) == [(0, "linked", "saved", "c")]
    assert linked.updates[0].by == "save"
    assert told(bench.event("m2"))[0][:3] == (0, "interaction_added", "joined_open_conversation")


def test_15_of_three_open_the_newest_survives(bench: Bench) -> None:
    """The others are closed into it and linked; it is linked last; over all endpoints saved."""
    bench.event("m1")
    bench.event("m2", endpoint=ANN, channel="email")
    bench.event("m3")
    assert told(bench.save("c", ANN, PHONE)) == [
        (0, "closed", "superseded", None, 2),
        (0, "linked", "saved", "c"),
        (1, "closed", "superseded", None, 2),
        (1, "linked", "saved", "c"),
        (2, "linked", "saved", "c"),
    ]


def test_16_the_contacts_own_open_one_survives(bench: Bench) -> None:
    """Unlinked ones become history, open ones closed into the one that the contact has."""
    bench.save("c", ANN)
    bench.event("mail", endpoint=ANN, channel="email")
    bench.event("m1")
    bench.close(1)
    bench.event("m2")
    assert told(bench.save("c", ANN, PHONE)) == [
        (1, "linked", "saved", "c"),
        (2, "closed", "superseded", None, 0),
        (2, "linked", "saved", "c"),
    ]
    bench.close(0)
    assert told(bench.event("m3"))[0] == (3, "opened", "opened_for_contact", "c", 0)


def test_rule_2_history_counts_by_its_close_where_there_is_no_other(bench: Bench) -> None:
    """Of unlinked ones that were closed before the save, the one closed last is previous."""
    bench.event("m1")
    bench.event("m2")
    bench.close(1)
    bench.close(0)
    bench.save("c", PHONE)
    opened = bench.event("m3")
    assert told(opened)[0] == (2, "opened", "opened_for_contact", "c", 0)
    bench.event("m4", endpoint=OTHER)
    bench.close(2)
    bench.close(3)
    bench.save("c", PHONE, OTHER)
    assert told(bench.event("m5"))[0] == (4, "opened", "opened_for_contact", "c", 2)


def test_18_an_endpoint_claimed_twice(bench: Bench) -> None:
    """It stays with its owner, the conflict is told at each save, the others are saved."""
    bench.save("a", PHONE)
    for _ in range(2):
        conflict = bench.save("b", PHONE, ANN)
        assert told(conflict) == [(None, "contact.conflict", "saved", "b", "a")]
        assert conflict.updates[0].endpoint == PHONE
    assert bench.router.endpoints_of("acme", "b") == {ANN}
    bench.save("a")
    assert told(bench.event("m1"))[0] == (0, "opened", "opened_unlinked", None)


def test_19_20_addresses_come_and_go(bench: Bench) -> None:
    """A second address joins the same conversation; a removed one is unsaved."""
    bench.save("c", PHONE)
    bench.event("m1")
    bench.save("c", PHONE, OTHER)
    assert told(bench.event("m2", endpoint=OTHER))[0][0] == 0
    bench.save("c", PHONE)
    assert told(bench.event("m3", endpoint=OTHER))[0] == (1, "opened", "opened_unlinked", None)


def test_21_a_moved_address_leaves_its_history(bench: Bench) -> None:
    """History and the open conversation stay with the first owner."""
    bench.save("a", PHONE)
    bench.event("m1")
    bench.save("a")
    assert bench.save("b", PHONE) == StepResult()
    assert told(bench.event("m2"))[0] == (1, "opened", "opened_for_contact", "b")
    assert bench.router.open_conversation_of("acme", "a") == 0
    assert bench.event("m1", "read").updates[0].contact_id == "a"


def test_22_saved_twice(bench: Bench) -> None:
    """The same save again changes nothing; the newest stands."""
    bench.save("c", PHONE)
    assert bench.save("c", PHONE) == StepResult()
    bench.save("c", ANN)
    assert bench.router.endpoints_of("acme", "c") == {ANN}


def test_23_deleted_and_saved_again(bench: Bench) -> None:
    """Its open one is closed, its addresses are released; saved again it starts afresh."""
    bench.save("c", PHONE)
    bench.event("m1")
    assert told(bench.delete("c")) == [(0, "closed", "contact_deleted", "c")]
    assert bench.delete("c").refusal == Refusal.CONTACT_UNKNOWN
    bench.event("m2")
    assert told(bench.save("c", PHONE)) == [(1, "linked", "saved", "c")]
    bench.delete("c")
    bench.save("c", PHONE)
    late = bench.event("m3", occurred_at_ms=START_MS - HOUR_MS)
    assert told(late)[0] == (2, "opened", "opened_for_contact", "c")


def test_24_merge_with_both_open(bench: Bench) -> None:
    """The one opened first survives, here the merged-away contact's, and the ids are one."""
    bench.save("a", PHONE)
    bench.save("b", ANN)
    bench.event("m1")
    bench.event("mail", endpoint=ANN, channel="email")
    merged = bench.merge("a", "b")
    assert told(merged) == [
        (None, "contact.merged", "merged", "a", "b"),
        (1, "closed", "merged", "b", 0),
        (0, "linked", "merged", "b"),
    ]
    assert merged.updates[-1].by == "merge"
    assert bench.router.endpoints_of("acme", "a") == {PHONE, ANN}
    assert bench.merge("a", "b") == StepResult()


def test_24_merge_where_the_survivors_is_older(bench: Bench) -> None:
    """The merged-away contact's open one is closed and stays its own, an alias."""
    bench.save("a", PHONE)
    bench.save("b", ANN)
    bench.event("mail", endpoint=ANN, channel="email")
    bench.event("m1")
    assert told(bench.merge("a", "b"))[1:] == [(1, "closed", "merged", "a", 0)]
    bench.close(0)
    assert told(bench.event("m2"))[0] == (2, "opened", "opened_for_contact", "b", 0)


def test_24_an_alias_works(bench: Bench) -> None:
    """A save under it adds and takes nothing away, a link goes to the survivor."""
    bench.save("a", PHONE)
    bench.save("b", ANN)
    bench.merge("a", "b")
    bench.save("a", OTHER)
    assert bench.router.endpoints_of("acme", "b") == {PHONE, ANN, OTHER}
    bench.event("x", endpoint=None)
    assert told(bench.link(0, "a")) == [(0, "linked", "by_hand", "b")]
    assert bench.delete("a") == StepResult()
    assert told(bench.delete("b")) == [(0, "closed", "contact_deleted", "b")]
    assert bench.delete("a").refusal == Refusal.CONTACT_UNKNOWN
    bench.save("a", OTHER)
    assert bench.router.endpoints_of("acme", "a") == {OTHER}
    assert bench.router.endpoints_of("acme", "b") == frozenset()


def test_24_circles_chains_and_strangers(bench: Bench) -> None:
    """Into itself or round a circle is refused; an alias merged on takes its survivor along."""
    for each in ("a", "b", "c", "d"):
        bench.save(each, f"mailto:{each}@example.com")
    assert bench.merge("a", "a").refusal == Refusal.CONTACT_MERGE_CYCLE
    bench.merge("a", "b")
    bench.merge("b", "c")
    assert bench.merge("c", "a").refusal == Refusal.CONTACT_MERGE_CYCLE
    assert bench.merge("b", "a").refusal == Refusal.CONTACT_MERGE_CYCLE
    assert bench.merge("a", "c") == StepResult()
    assert bench.merge("nobody", "c").refusal == Refusal.CONTACT_UNKNOWN
    assert bench.merge("c", "nobody").refusal == Refusal.CONTACT_UNKNOWN
    assert told(bench.merge("a", "d")) == [(None, "contact.merged", "merged", "c", "d")]
    assert bench.router.endpoints_of("acme", "a") == {f"mailto:{each}@example.com" for each in ("a", "b", "c", "d")}


def test_25_erased(bench: Bench) -> None:
    """Each conversation, the open one closed first, forgets who; later events change nothing."""
    bench.save("c", PHONE)
    bench.event("m1")
    bench.close(0)
    bench.event("m2")
    erased = bench.erase("c")
    assert told(erased) == [
        (1, "closed", "contact_deleted", "c"),
        (0, "erased", "erased", None),
        (1, "erased", "erased", None),
    ]
    assert {each.endpoint for each in erased.updates[1:]} == {None}
    assert bench.router.rows() == {0: None, 1: None}
    assert bench.event("m1", "read") == StepResult()
    assert bench.close(1).refusal == Refusal.CONVERSATION_UNKNOWN
    assert bench.erase("c") == StepResult()
    assert bench.erase("nobody").refusal == Refusal.CONTACT_UNKNOWN
    bench.save("c", PHONE)
    assert told(bench.event("m3"))[0] == (2, "opened", "opened_for_contact", "c")


@pytest.mark.parametrize("delete_first", [True, False])
def test_25_erased_with_its_aliases(bench: Bench, delete_first: bool) -> None:  # noqa: FBT001
    """The history of an alias goes with the survivor's, also where that was deleted before."""
    bench.save("a", PHONE)
    bench.event("m1")
    bench.close(0)
    bench.save("b", ANN)
    bench.merge("a", "b")
    if delete_first:
        bench.delete("b")
    assert told(bench.erase("b")) == [(0, "erased", "erased", None)]


def test_25_an_alias_erased_is_its_survivor_erased(bench: Bench) -> None:
    """Erasing by an alias reaches the survivor's conversations."""
    bench.save("a", PHONE)
    bench.save("b", ANN)
    bench.merge("a", "b")
    bench.event("m1")
    erased = bench.erase("a")
    assert told(erased) == [(0, "closed", "contact_deleted", "b"), (0, "erased", "erased", None)]
    assert told(bench.event("m2"))[0] == (1, "opened", "opened_unlinked", None)


def test_43_a_reply_goes_by_its_sender(bench: Bench) -> None:
    """Not by the conversation that it refers to: another sender, another contact."""
    bench.save("a", ANN)
    bench.save("b", "mailto:bob@example.com")
    bench.event("mail1", endpoint=ANN, channel="email")
    bench.close(0)
    reply = bench.event("mail2", endpoint="mailto:bob@example.com", channel="email")
    assert told(reply)[0] == (1, "opened", "opened_for_contact", "b")


def test_linked_by_hand(bench: Bench) -> None:
    """The endpoint stays unsaved; open ones are superseded; undone only where it may be."""
    bench.save("c", ANN)
    bench.event("m1")
    assert bench.link(0, "nobody").refusal == Refusal.CONTACT_UNKNOWN
    assert bench.link(9, "c").refusal == Refusal.CONVERSATION_UNKNOWN
    assert bench.unlink(0).refusal == Refusal.NOT_LINKED_BY_HAND
    assert told(bench.link(0, "c")) == [(0, "linked", "by_hand", "c")]
    assert bench.link(0, "c").refusal == Refusal.CONVERSATION_LINKED
    bench.event("m2")
    assert told(bench.link(1, "c")) == [
        (1, "closed", "superseded", None, 0),
        (1, "linked", "by_hand", "c"),
    ]
    bench.event("mail", endpoint=ANN, channel="email")
    assert bench.unlink(0).refusal == Refusal.NOT_LINKED_BY_HAND
    assert told(bench.unlink(1)) == [(1, "unlinked", "by_hand", None)]


def test_unlinked_where_its_endpoint_was_saved(bench: Bench) -> None:
    """Going back to its endpoint it is at once the owner's."""
    bench.save("a", ANN)
    bench.event("m1")
    bench.link(0, "a")
    bench.save("b", PHONE)
    assert told(bench.unlink(0)) == [
        (0, "unlinked", "by_hand", None),
        (0, "linked", "saved", "b"),
    ]
    assert bench.unlink(0).refusal == Refusal.NOT_LINKED_BY_HAND


def test_events_follow_the_interaction_not_the_owner(bench: Bench) -> None:
    """A call that rings, whose contact is deleted, and that ends, stays one interaction."""
    bench.save("a", PHONE)
    bench.call("x", "ringing")
    bench.delete("a")
    bench.save("b", PHONE)
    assert told(bench.call("x", "ended")) == [
        (0, "interaction_updated", "event_of_known", "a"),
    ]


def test_rows_show_conversations_as_they_stand(bench: Bench) -> None:
    """Counts, times and ends of contract 8; the last interaction is by its first event's time."""
    bench.save("c", PHONE)
    bench.event("m1", occurred_at_ms=START_MS - 5)
    bench.call("x", "ringing")
    rang_ms = bench.now_ms
    bench.call("x", "ended")
    bench.close(0)
    row = bench.router.rows()[0]
    assert row is not None
    assert (row.seq, row.status, row.close_reason) == (5, "closed", "requested")
    assert (row.interaction_count, row.channels) == (2, {"sms": 1, "voice": 1})
    assert (row.opened_at_ms, row.closed_at_ms) == (START_MS + 2, bench.now_ms)
    assert row.last_interaction_at_ms == rang_ms


def test_rule_2_passes_over_superseded(bench: Bench) -> None:
    """Where only a superseded one is left, as the survivor was unlinked, there is no previous one."""
    bench.save("a", ANN)
    bench.event("m1")
    bench.event("m2")
    bench.link(0, "a")
    bench.link(1, "a")
    bench.unlink(0)
    assert told(bench.event("mail", endpoint=ANN, channel="email"))[0] == (2, "opened", "opened_for_contact", "a")


def test_rule_2_passes_over_merged(bench: Bench) -> None:
    """Where only a merged one is left, as the survivor was unlinked, there is no previous one."""
    bench.save("a", ANN)
    bench.save("b", OTHER)
    bench.event("m1")
    bench.event("m2")
    bench.link(0, "a")
    assert told(bench.link(1, "a"))[0] == (1, "closed", "superseded", None, 0)
    bench.event("m3", endpoint=OTHER)
    assert told(bench.merge("a", "b"))[1] == (2, "closed", "merged", "b", 0)
    assert told(bench.unlink(0)) == [(0, "unlinked", "by_hand", None)]
    assert told(bench.event("m4", endpoint=OTHER))[0] == (3, "opened", "opened_for_contact", "b")


def test_31_a_save_links_nothing_of_another_tenant(bench: Bench) -> None:
    """The same number wrote to another tenant."""
    bench.event("m1", tenant="globex")
    assert bench.save("c", PHONE) == StepResult()
