"""The cases of joining, saving, lifecycles and time, each as plain values: what comes in, what subscribers hear."""

import pytest

from interaction_router.domain import events
from interaction_router.domain.ids import Entity
from interaction_router.domain.interactions import Interaction
from interaction_router.domain.messages import (
    CloseAsked,
    ContactDeleted,
    ContactMerged,
    ContactSaved,
    EraseAsked,
    InteractionEvent,
    LinkAsked,
    UnlinkAsked,
)
from interaction_router.domain.rows import Conversation, Policy
from tests.unit.world import START_MS, World

PHONE, OTHER, MAIL = "tel:+27821234567", "tel:+27829999999", "mailto:ann@example.com"
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
UNKNOWN = "00000000-0000-8000-8000-000000000000"


class Told:
    """A world, told in the words of the cases."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.world = World(policy=policy or Policy())
        self._count = 0

    def at(self, after_ms: int) -> None:
        """Let it be so long after the start."""
        self.world.now_ms = START_MS + after_ms

    def save(self, *parties: str, contact: str = "c1") -> None:
        saved = ContactSaved(contact, "Ann", parties)
        self.world.tell(Entity("acme", "contact", contact), saved, stream="contacts.v1")

    def delete(self, contact: str = "c1") -> None:
        self.world.tell(Entity("acme", "contact", contact), ContactDeleted(contact), stream="contacts.v1")

    def merge(self, away: str, into: str) -> None:
        self.world.tell(Entity("acme", "aliases", ""), ContactMerged(away, into), stream="contacts.v1")

    def erase(self, contact: str = "c1") -> None:
        self.world.tell(Entity("acme", "contact", contact), EraseAsked(contact, "e1"), stream="commands.v1")

    def close(self, conversation: str, command: str = "m1") -> None:
        to = Entity("acme", "conversation", conversation)
        self.world.tell(to, CloseAsked(conversation, command), stream="commands.v1")

    def link(self, conversation: str, contact: str) -> None:
        asked = LinkAsked(conversation, contact, f"link {conversation}")
        self.world.tell(Entity("acme", "contact", contact), asked, stream="commands.v1")

    def unlink(self, conversation: str) -> None:
        asked = UnlinkAsked(conversation, f"unlink {conversation}")
        self.world.tell(Entity("acme", "conversation", conversation), asked, stream="commands.v1")

    def hear(
        self,
        party: str | None = PHONE,
        *,
        channel: str = "sms",
        name: str | None = None,
        status: str = "received",
        direction: str = "inbound",
        ago_ms: int = 0,
        event_id: str | None = None,
        agent: str | None = None,
        tenant: str = "acme",
        **details: object,
    ) -> str:
        """Tell an event of an interaction, a new one where it is not named; return the interaction's id."""
        self._count += 1
        name = name or f"i{self._count}"
        interaction = Interaction(
            name,
            channel,
            direction,  # type: ignore[arg-type]  # the contract's words
            status,  # type: ignore[arg-type]  # likewise
            self.world.now_ms - ago_ms,
            party,
            (),
            agent,
            (),
            details,  # type: ignore[arg-type]  # JSON
        )
        key = party or f"anonymous/{channel}/{name}"
        self.world.tell(Entity(tenant, "endpoint", key), InteractionEvent(key, event_id, interaction))
        return name

    @property
    def all(self) -> list[Conversation]:
        """The conversations in order of opening."""
        opened = [each for each in self.world.events(events.Opened) if isinstance(each, events.Opened)]
        return [self.world.conversations()[each.now.conversation_id] for each in opened]

    @property
    def open(self) -> list[Conversation]:
        return [each for each in self.all if each.status == "open"]

    @property
    def codes(self) -> list[str]:
        return [each.code for each in self.world.refusals]

    def rules(self) -> list[str]:
        """The rule of every interaction that joined, in order."""
        return [each.now.rule for each in self.world.events() if isinstance(each, events.InteractionAdded)]

    def last_interaction(self) -> Interaction:
        """The interaction of the newest update about one."""
        about = (events.InteractionAdded, events.InteractionUpdated)
        return next(each.interaction for each in reversed(self.world.events()) if isinstance(each, about))


@pytest.fixture
def told() -> Told:
    return Told()


def test_01_the_first_sms_opens_one(told: Told) -> None:
    told.save(PHONE)
    told.hear()
    assert [(each.contact_id, each.seq, each.interaction_count) for each in told.all] == [("c1", 2, 1)]
    assert told.rules() == ["opened_for_contact"]


def test_02_every_channel_joins_the_same(told: Told) -> None:
    told.save(PHONE, MAIL)
    for channel, party, status in (("sms", PHONE, "received"), ("voice", PHONE, "ended"), ("email", MAIL, "received")):
        told.hear(party, channel=channel, status=status)
    assert [each.channels for each in told.all] == [{"sms": 1, "voice": 1, "email": 1}]
    assert told.rules() == ["opened_for_contact", "joined_open_conversation", "joined_open_conversation"]


@pytest.mark.parametrize("seed", range(20))
def test_03_fifty_at_once_are_in_one(seed: int) -> None:
    told = Told()
    told.world = world = World(seed=seed)
    told.save(PHONE, MAIL, OTHER)
    for number in range(50):
        party, channel = ((PHONE, "sms"), (MAIL, "email"), (OTHER, "whatsapp"))[number % 3]
        what = Interaction(f"i{number}", channel, "inbound", "received", START_MS, party, (), None, (), {})
        to = Entity("acme", "endpoint", party) if number % 2 else Entity("acme", "contact", "c1")
        world.give(to, InteractionEvent(party, None, what))
    world.settle()
    assert [(each.interaction_count, each.seq) for each in told.all] == [(50, 51)]


@pytest.mark.parametrize("direction", ["inbound", "outbound"], ids=["04", "05"])
def test_04_05_after_a_close_a_new_one_with_the_previous(told: Told, direction: str) -> None:
    told.save(PHONE)
    told.hear()
    told.close(told.all[0].conversation_id)
    told.at(MINUTE)
    told.hear(direction=direction, status="sent" if direction == "outbound" else "received")
    first, second = told.all
    assert (first.status, second.status, second.previous) == ("closed", "open", first.conversation_id)


def test_06_a_reply_joins_what_was_opened_outbound(told: Told) -> None:
    told.save(PHONE)
    told.hear(direction="outbound", status="sent")
    told.hear()
    assert [each.interaction_count for each in told.all] == [2]


@pytest.mark.parametrize("seed", range(20))
def test_07_a_close_that_races_has_one_order(seed: int) -> None:
    told = Told()
    told.world = World(seed=seed)
    told.save(PHONE)
    told.hear()
    told.at(MINUTE)
    key = told.all[0].conversation_id
    told.world.give(Entity("acme", "conversation", key), CloseAsked(key, "m1"), stream="commands.v1")
    told.hear()
    closed_at = next(n for n, each in enumerate(told.world.of(key)) if isinstance(each, events.Closed))
    assert not any(isinstance(each, events.InteractionAdded) for each in told.world.of(key)[closed_at:])
    assert sum(each.interaction_count for each in told.all) == 2


def test_08_closing_twice_is_refused_once(told: Told) -> None:
    told.save(PHONE)
    told.hear()
    key = told.all[0].conversation_id
    told.close(key, "m1")
    told.close(key, "m2")
    told.close(key, "m1")
    assert len(told.world.events(events.Closed)) == 1
    assert told.codes == ["conversation_closed"]


def test_09_closing_what_is_unknown_is_refused(told: Told) -> None:
    told.close(UNKNOWN)
    assert told.codes == ["conversation_unknown"]


def test_10_11_each_of_an_unsaved_number_has_its_own_a_repeat_none(told: Told) -> None:
    names = [told.hear() for _ in range(3)]
    told.hear(name=names[1])
    assert [(each.contact_id, each.interaction_count) for each in told.all] == [(None, 1)] * 3
    assert told.rules() == ["opened_unlinked"] * 3


def test_12_ring_answer_end_of_an_unsaved_caller_is_one(told: Told) -> None:
    for status in ("ringing", "answered", "ended"):
        told.hear(channel="voice", name="call", status=status)
    assert [(each.interaction_count, each.seq) for each in told.all] == [(1, 4)]


def test_13_withheld_twice_are_two_and_no_save_links_them(told: Told) -> None:
    told.hear(None)
    told.hear(None)
    told.save(PHONE)
    assert [(each.contact_id, each.endpoint, each.status) for each in told.all] == [(None, None, "open")] * 2


def test_14_a_save_makes_the_unlinked_open_one_the_contacts(told: Told) -> None:
    told.hear()
    told.save(PHONE)
    told.hear()
    assert [(each.contact_id, each.interaction_count, each.status) for each in told.all] == [("c1", 2, "open")]


def test_15_of_three_the_newest_stays_and_is_linked_last(told: Told) -> None:
    for at in range(3):
        told.at(at)
        told.hear()
    told.save(PHONE)
    newest = told.all[2].conversation_id
    closed = [each for each in told.world.events(events.Closed) if isinstance(each, events.Closed)]
    linked = [each for each in told.world.events(events.Linked) if isinstance(each, events.Linked)]
    assert [(each.reason, each.into) for each in closed] == [("superseded", newest)] * 2
    assert [each.now.conversation_id for each in linked][-1] == newest
    assert [each.contact_id for each in told.all] == ["c1"] * 3
    assert [each.conversation_id for each in told.open] == [newest]


def test_16_beside_an_open_one_unlinked_ones_become_history(told: Told) -> None:
    told.save(MAIL)
    told.hear(MAIL, channel="email")
    told.hear()
    told.save(MAIL, PHONE)
    first, second = told.all
    assert (first.status, second.status, second.close_reason) == ("open", "closed", "superseded")
    assert second.contact_id == "c1"


def test_18_an_address_of_another_is_a_conflict_and_the_others_are_saved(told: Told) -> None:
    told.save(PHONE, contact="c1")
    told.save(PHONE, MAIL, contact="c2")
    told.hear(MAIL, channel="email")
    (conflict,) = told.world.events(events.Conflicted)
    assert conflict == events.Conflicted("c2", "c1", PHONE)
    assert told.all[0].contact_id == "c2"


def test_19_a_second_address_joins_the_same(told: Told) -> None:
    told.save(PHONE)
    told.hear()
    told.save(PHONE, MAIL)
    told.hear(MAIL, channel="email")
    assert [each.interaction_count for each in told.all] == [2]


def test_20_what_comes_from_a_removed_address_is_unlinked(told: Told) -> None:
    told.save(PHONE, MAIL)
    told.save(MAIL)
    told.hear()
    assert [(each.contact_id, each.endpoint) for each in told.all] == [(None, PHONE)]


def test_21_history_stays_with_the_contact_that_had_it(told: Told) -> None:
    told.save(PHONE, contact="a")
    told.hear()
    told.save(contact="a")
    told.save(PHONE, contact="b")
    told.hear()
    assert [each.contact_id for each in told.all] == ["a", "b"]


def test_23_deleted_closed_released_and_afresh(told: Told) -> None:
    told.save(PHONE)
    told.hear()
    told.delete()
    assert told.all[0].close_reason == "contact_deleted"
    told.hear()
    assert told.all[1].contact_id is None
    told.close(told.all[1].conversation_id)
    told.save(MAIL)
    told.hear(MAIL, channel="email")
    assert (told.all[2].contact_id, told.all[2].previous) == ("c1", None)


def test_24_of_two_open_the_earlier_survives_a_merge(told: Told) -> None:
    told.save(PHONE, contact="a")
    told.save(MAIL, contact="b")
    told.hear()
    told.at(1)
    told.hear(MAIL, channel="email")
    told.merge("a", "b")
    first, second = told.all
    assert (first.contact_id, first.status, second.close_reason) == ("b", "open", "merged")
    told.save(OTHER, contact="a")
    for party in (PHONE, MAIL, OTHER):
        told.hear(party)
    assert [each.interaction_count for each in told.all] == [4, 1]
    told.merge("a", "b")
    assert told.codes == []
    told.merge("b", "a")
    told.merge("b", "b")
    assert told.codes == ["contact_merge_cycle"] * 2
    assert len(told.world.events(events.AliasMade)) == 1


def test_25_erased_nothing_of_the_person_is_left(told: Told) -> None:
    told.save(PHONE)
    call = told.hear(text="my secret", channel="voice", status="answered")
    told.erase()
    key = told.all[0].conversation_id
    assert [type(each).__name__ for each in told.world.of(key)[-2:]] == ["Closed", "Erased"]
    told.hear(name=call, channel="voice", status="ended", text="my secret")
    assert len(told.world.of(key)) == 4
    left = str([row for home in told.world.homes for row in home.rows.items()])
    assert not [word for word in ("my secret", "Ann", PHONE) if word in left]
    told.close(key)
    assert told.codes == ["conversation_unknown"]


def test_31_the_same_ids_in_two_tenants_never_meet(told: Told) -> None:
    told.save(PHONE)
    told.hear(name="same")
    told.hear(name="same", tenant="globex")
    assert [(each.tenant, each.contact_id) for each in told.all] == [("acme", "c1"), ("globex", None)]


def test_32_33_a_call_never_goes_back_and_keeps_the_fields_of_all(told: Told) -> None:
    told.save(PHONE)
    told.hear(channel="voice", name="call", status="ended", duration_s=5)
    told.hear(channel="voice", name="call", status="ringing", recording_url="https://example.com/r")
    assert told.all[0].interaction_count == 1
    call = told.last_interaction()
    assert (call.status, call.details) == ("ended", {"duration_s": 5, "recording_url": "https://example.com/r"})


@pytest.mark.parametrize(
    "order", [("delivered", "sent", "read"), ("read", "delivered", "sent"), ("sent", "read", "failed")]
)
def test_34_receipts_in_any_order_end_as_read(told: Told, order: tuple[str, ...]) -> None:
    told.save(PHONE)
    for status in order:
        told.hear(name="sms", direction="outbound", status=status)
    assert told.last_interaction().status == "read"


@pytest.mark.parametrize("status", ["delivered", "read"])
def test_35_37_what_comes_after_the_close_updates_the_old_one(told: Told, status: str) -> None:
    told.save(PHONE)
    told.hear(name="sms", direction="outbound", status="sent")
    told.close(told.all[0].conversation_id)
    told.at(60 * MINUTE)
    told.hear(name="sms", direction="outbound", status=status, recording_url="https://example.com/r")
    assert [(each.seq, each.status) for each in told.all] == [(4, "closed")]
    assert told.last_interaction().details["recording_url"] == "https://example.com/r"


def test_36_a_call_that_spans_the_close_stays_in_the_old_one(told: Told) -> None:
    told.save(PHONE)
    told.hear(channel="voice", name="call", status="answered")
    told.close(told.all[0].conversation_id)
    told.at(MINUTE)
    told.hear(channel="voice", name="call", status="ended")
    assert [(each.interaction_count, each.seq) for each in told.all] == [(1, 4)]


@pytest.mark.parametrize(
    ("later_ms", "ago_ms", "count"),
    [
        (MINUTE, MINUTE + SECOND, 1),
        (10 * MINUTE, 11 * MINUTE, 1),
        (10 * MINUTE + 1, 11 * MINUTE, 2),
        (MINUTE, MINUTE, 2),
    ],
    ids=["a minute late", "just in time", "eleven minutes late", "in the second of the close"],
)
def test_39_what_happened_before_the_close(told: Told, later_ms: int, ago_ms: int, count: int) -> None:
    told.save(PHONE)
    told.hear()
    told.at(HOUR)
    told.close(told.all[0].conversation_id)
    told.at(HOUR + later_ms)
    told.hear(ago_ms=ago_ms)
    assert len(told.all) == count
    assert told.rules()[-1] == ("joined_closed_late" if count == 1 else "opened_for_contact")


def test_40_a_clock_ahead_is_set_back_and_flagged(told: Told) -> None:
    told.save(PHONE)
    told.hear(ago_ms=-HOUR)
    assert (told.last_interaction().occurred_at_ms, told.last_interaction().flags) == (START_MS, ("clock_ahead",))
    told.hear(ago_ms=-5 * MINUTE)
    assert told.last_interaction().flags == ()


def test_42_idle_when_every_channel_is(told: Told) -> None:
    told = Told(Policy(idle_close_ms={"sms": MINUTE, "voice": 10 * MINUTE}))
    told.save(PHONE)
    told.hear()
    told.hear(channel="voice", status="answered", name="call")
    told.at(20 * MINUTE)
    told.world.tick()
    assert told.open, "a call in progress keeps it open"
    told.hear(channel="voice", status="ended", name="call")
    told.at(29 * MINUTE)
    told.hear(status="delivered", name="i1")
    told.hear(auto_response=True)
    told.at(30 * MINUTE)
    told.world.tick()
    told.world.tick()
    assert [(each.close_reason, each.interaction_count) for each in told.all] == [("idle", 3)]
    told.hear(auto_response=True)
    assert told.rules()[-1] == "joined_closed_auto"
    assert len(told.world.events(events.Closed)) == 1


def test_42_an_unlinked_one_idles_too_and_a_channel_without_a_time_never() -> None:
    told = Told(Policy(idle_close_ms={"sms": MINUTE}))
    told.hear()
    told.hear(MAIL, channel="email")
    told.at(MINUTE - 1)
    told.world.tick()
    assert len(told.open) == 2
    told.at(MINUTE)
    told.world.tick()
    assert [each.endpoint for each in told.open] == [MAIL]


def test_43_a_reply_goes_by_its_sender_and_keeps_its_references(told: Told) -> None:
    told.save(MAIL)
    told.hear(MAIL, channel="email", name="m1")
    told.close(told.all[0].conversation_id)
    told.at(HOUR)
    told.hear(MAIL, channel="email", references=["m1"])
    assert len(told.all) == 2
    assert told.last_interaction().details == {"references": ["m1"]}


def test_45_the_same_mail_twice_is_one(told: Told) -> None:
    told.save(MAIL)
    told.hear(MAIL, channel="email", name="m1")
    told.hear(MAIL, channel="email", name="m1")
    assert [(each.interaction_count, each.seq) for each in told.all] == [(1, 2)]


def test_an_agent_named_at_the_beginning_of_time_is_not_replaced_by_one_of_the_same_moment(told: Told) -> None:
    told.hear(name="CA1", channel="voice", status="ringing")
    for status, agent in (("answered", "thandi"), ("ended", "pieter")):
        told.hear(name="CA1", channel="voice", status=status, agent=agent, ago_ms=told.world.now_ms)
    assert told.last_interaction().agent_id == "thandi"


@pytest.mark.parametrize("saved_first", [True, False], ids=["its own", "history"])
def test_what_a_link_by_hand_stood_before_goes_on_once_it_is_undone(told: Told, *, saved_first: bool) -> None:
    """A conversation that is the contact's no more is what no next one goes on from: the one before it is."""
    if saved_first:
        told.save(PHONE)
    told.hear()
    (before,) = told.all
    told.close(before.conversation_id)
    told.save(PHONE)
    linked = []
    for nth in range(2):
        told.at((nth + 1) * MINUTE)
        told.hear(OTHER)
        row = told.all[-1].conversation_id
        if not saved_first:
            told.close(row, f"close {nth}")
        told.link(row, "c1")
        if saved_first:
            told.close(row, f"close {nth}")
        linked.append(row)
    told.at(HOUR)
    for row in reversed(linked):
        told.unlink(row)
    told.hear()
    assert told.all[-1].previous == before.conversation_id
    assert told.codes == []


def test_of_two_links_by_hand_the_second_goes_on_once_the_first_is_undone(told: Told) -> None:
    told.save(PHONE)
    linked = []
    for nth in range(2):
        told.hear(OTHER)
        linked.append(told.all[-1].conversation_id)
        told.link(linked[nth], "c1")
        told.close(linked[nth], f"close {nth}")
    told.unlink(linked[0])
    told.at(HOUR)
    told.hear()
    assert told.all[-1].previous == linked[1]
    told.close(told.all[-1].conversation_id, "close")
    told.unlink(linked[1])
    told.hear()
    assert told.all[-1].previous == told.all[-2].conversation_id
