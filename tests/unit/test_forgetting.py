"""What is forgotten: closed conversations leave the lists, old interactions the index; and what is not."""

from dataclasses import replace

import pytest

from interaction_router.application.views import writes
from interaction_router.domain import events, forgetting, turn
from interaction_router.domain.ids import Entity, home
from interaction_router.domain.interactions import Interaction
from interaction_router.domain.messages import (
    CloseAsked,
    ContactDeleted,
    ContactSaved,
    EraseAsked,
    IndexGrown,
    InteractionEvent,
    Retire,
)
from interaction_router.domain.rows import Conversation, Entry, Policy, RowKey, conversation_key, index_bucket, is_mark
from tests.unit.world import START_MS, World

PHONE, OTHER = "tel:+27821234567", "tel:+27829999999"
DAY_MS = 86_400_000
CONTACT = Entity("acme", "contact", "c1")
ENDPOINT = Entity("acme", "endpoint", PHONE)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep two interactions of a party, and look through its index whenever one has closed."""
    monkeypatch.setattr(forgetting, "KEPT_INTERACTIONS", 2)
    monkeypatch.setattr(turn, "GROWN_INTERACTIONS", 1)


class Told:
    """A world whose tenant has one contact."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.world = World(policy=policy or Policy())

    def day(self, number: float) -> None:
        self.world.now_ms = START_MS + int(number * DAY_MS)

    def save(self, *parties: str, contact: str = "c1") -> None:
        to = Entity("acme", "contact", contact)
        self.world.tell(to, ContactSaved(contact, "Ann", parties), stream="contacts.v1")

    def hear(
        self,
        name: str,
        *,
        channel: str = "sms",
        status: str = "received",
        to: Entity = ENDPOINT,
        party: str = PHONE,
        ahead_ms: int = 0,
    ) -> None:
        at_ms = self.world.now_ms + ahead_ms
        what = Interaction(name, channel, "inbound", status, at_ms, party, (), None, (), {})  # type: ignore[arg-type]
        self.world.tell(to, InteractionEvent(party, None, what))

    def close(self) -> str:
        """Close what is open."""
        (row,) = (each for each in self.world.conversations().values() if each.status == "open")
        to = Entity("acme", "conversation", row.conversation_id)
        self.world.tell(to, CloseAsked(row.conversation_id, f"close {row.conversation_id}"), stream="commands.v1")
        return row.conversation_id

    def exchange(self, name: str) -> str:
        self.hear(name)
        return self.close()

    @property
    def opened(self) -> int:
        return len(self.world.events(events.Opened))

    def index(self, owner: Entity) -> dict[str, Entry]:
        rows = self.world.homes[home(owner, len(self.world.homes))].rows
        bucket = index_bucket(owner)
        return {key.field: row for key, row in rows.items() if key.bucket == bucket and isinstance(row, Entry)}

    def marks(self, owner: Entity) -> set[str]:
        return {row.conversation_id for field, row in self.index(owner).items() if is_mark(field)}

    def known(self, owner: Entity) -> int:
        return sum(not is_mark(field) for field in self.index(owner))


@pytest.mark.usefixtures("few")
def test_an_old_interaction_beyond_the_newest_is_forgotten() -> None:
    """Its repeat is a new one; those within the window, or among the newest, stay known."""
    told = Told()
    told.save(PHONE)
    for day, name in enumerate(("a", "b", "c")):
        told.day(day)
        told.exchange(name)
    told.day(7.5)
    told.exchange("d")
    assert (told.known(CONTACT), len(told.marks(CONTACT))) == (3, 1)
    opened = told.opened
    for name in ("b", "c", "d"):
        told.hear(name)
    assert told.opened == opened
    told.hear("a")
    assert told.opened == opened + 1


@pytest.mark.usefixtures("few")
def test_open_conversations_calls_and_the_erased_are_not_forgotten() -> None:
    told = Told()
    told.save(PHONE, OTHER)
    told.hear("call", channel="voice", status="ringing")
    told.close()
    for name in ("a", "b", "c"):
        told.hear(name)
    told.day(0.4)
    told.world.tell(CONTACT, IndexGrown())
    assert told.known(CONTACT) == 4
    told.day(8)
    told.world.tell(CONTACT, IndexGrown())
    assert told.known(CONTACT) == 3, "the call is taken for ended after so long"
    told.close()
    told.world.tell(CONTACT, EraseAsked("c1", "e1"), stream="commands.v1")
    told.world.tell(CONTACT, IndexGrown())
    assert told.known(CONTACT) == 2


@pytest.mark.usefixtures("few")
def test_a_call_in_progress_is_not_forgotten_for_a_while() -> None:
    told = Told(Policy(dedup_window_ms=1000))
    told.save(PHONE)
    told.hear("call", channel="voice", status="ringing")
    told.close()
    told.day(0.1)
    for name in ("a", "b", "c"):
        told.exchange(name)
    opened = told.opened
    told.hear("call", channel="voice", status="ended")
    assert told.opened == opened


@pytest.mark.usefixtures("few")
def test_a_conversation_without_known_interactions_is_found_to_be_erased() -> None:
    told = Told()
    told.save(PHONE)
    conversations = set()
    for day, name in enumerate(("a", "b", "c")):
        told.day(day)
        conversations.add(told.exchange(name))
    told.day(30)
    conversations.add(told.exchange("d"))
    assert told.marks(CONTACT)
    told.world.tell(CONTACT, EraseAsked("c1", "e1"), stream="commands.v1")
    erased = {event.now.conversation_id for event in told.world.events(events.Erased)}  # type: ignore[union-attr]
    assert erased == conversations


@pytest.mark.usefixtures("few")
def test_a_conversation_without_known_interactions_is_linked_by_a_save() -> None:
    """Of an unsaved party each interaction has one; the marks move with them."""
    told = Told()
    conversations = set()
    for day, name in enumerate(("a", "b", "c")):
        told.day(day)
        conversations.add(told.exchange(name))
    told.day(30)
    conversations.add(told.exchange("d"))
    assert len(told.marks(ENDPOINT)) == 2
    told.save(PHONE)
    linked = {event.now.conversation_id for event in told.world.events(events.Linked)}  # type: ignore[union-attr]
    assert linked == conversations
    assert len(told.marks(CONTACT)) == 2


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("hint", ["c1", "c2", "c3", None])
def test_an_event_that_is_led_to_who_has_forgotten_it_comes_to_rest(hint: str | None) -> None:
    """The endpoint and its new owner still lead to the former one; the event opens one conversation, its repeat none."""
    told = Told()
    told.save(PHONE, OTHER)
    told.exchange("a")
    told.save(OTHER)
    told.save(PHONE, contact="c2")
    told.day(30)
    for name in ("x", "y", "z"):
        told.hear(name, to=CONTACT, party=OTHER)
    told.close()
    rows = told.world.homes[home(CONTACT, 4)].rows
    for field in told.index(CONTACT):
        if told.index(CONTACT)[field].at_ms < START_MS + DAY_MS:
            del rows[RowKey(index_bucket(CONTACT), field)]
    opened = told.opened
    to = ENDPOINT if hint is None else Entity("acme", "contact", hint)
    told.hear("a", to=to)
    told.hear("a", to=Entity("acme", "contact", "c1"))
    told.hear("a", to=ENDPOINT)
    assert told.opened == opened + 1


def test_the_index_is_gone_through_once_in_500_closed_interactions() -> None:
    told = Told(Policy(dedup_window_ms=1))
    told.save(PHONE)
    for number in range(turn.GROWN_INTERACTIONS):
        told.hear(f"i{number}")
    told.close()
    grown = [
        record.message for each in told.world.homes for record in each.log if isinstance(record.message, IndexGrown)
    ]
    assert len(grown) == 1
    assert told.known(CONTACT) == turn.GROWN_INTERACTIONS, "1,000 are kept"


@pytest.mark.parametrize("owner", [CONTACT, ENDPOINT])
@pytest.mark.parametrize("ahead_ms", [0, 400 * DAY_MS])
def test_a_record_that_opened_a_conversation_opens_none_when_it_is_read_again_long_after(
    owner: Entity, ahead_ms: int
) -> None:
    """Also one whose gateway had a clock far ahead."""
    told = Told()
    if owner == CONTACT:
        told.save(PHONE)
    told.hear("a", to=owner, ahead_ms=ahead_ms)
    told.close()
    told.day(30)
    here = told.world.homes[home(owner, 4)]
    for field in told.index(owner):
        del here.rows[RowKey(index_bucket(owner), field)]
    opening = next(record for record in here.log if isinstance(record.message, InteractionEvent) and record.to == owner)
    here.log.append(replace(opening, stamp_ms=told.world.now_ms))
    told.world.settle()
    assert told.opened == 1


def test_a_long_closed_conversation_leaves_the_lists() -> None:
    """By log time, and no moment earlier; it is still what a later one goes on from."""
    told = Told(Policy(closed_retention_ms=DAY_MS))
    told.save(PHONE)
    first = told.exchange("a")
    partition = home(CONTACT, 4)
    for day, retired in ((0.99, False), (1, True)):
        told.day(day)
        told.world.tell(Entity("acme", "partition", str(partition)), Retire((first, "unknown")))
        assert told.world.conversations()[first].retired is retired
    told.hear("b")
    last = told.world.events(events.Opened)[-1]
    assert isinstance(last, events.Opened)
    assert last.previous == first


def test_an_open_conversation_does_not_leave_the_lists() -> None:
    told = Told(Policy(closed_retention_ms=1))
    told.hear("a")
    (row,) = told.world.conversations().values()
    told.day(1)
    told.world.tell(Entity("acme", "partition", str(home(ENDPOINT, 4))), Retire((row.conversation_id,)))
    assert told.world.conversations()[row.conversation_id] == row


def test_a_retired_row_is_in_no_list() -> None:
    row = Conversation("k", "acme", CONTACT, 3, "closed", "c1", PHONE, START_MS, 1, closed_at_ms=START_MS, retired=True)
    batch = writes({conversation_key("k"): row}, {conversation_key("k"): None}, Policy())
    assert not batch.scores
    assert {name.partition(":")[0] for name, _ in batch.unscores} == {"open", "closed", "of", "due"}


def test_forgotten_of_a_contact_that_is_deleted_meanwhile() -> None:
    """The record that goes through the index may come to a contact that is gone."""
    told = Told()
    told.save(PHONE)
    told.exchange("a")
    told.world.tell(CONTACT, ContactDeleted("c1"), stream="contacts.v1")
    told.world.tell(CONTACT, IndexGrown())
    assert told.known(CONTACT) == 1
