"""The cases whose point is an order: several homes at once, a crash that repeats, equal times."""

from dataclasses import replace

import pytest

from interaction_router.domain import events
from interaction_router.domain.ids import Entity
from interaction_router.domain.interactions import Interaction
from interaction_router.domain.messages import ContactSaved, InteractionEvent
from interaction_router.domain.rows import Policy
from tests.faults.concurrent import MOST_STEPS, ConcurrentWorld
from tests.faults.quiet import faults_at_rest
from tests.unit.world import START_MS, World

PHONE, OTHER = "tel:+27821234567", "tel:+27829999999"
CONTACT, ENDPOINT = Entity("acme", "contact", "c1"), Entity("acme", "endpoint", PHONE)


def _sms(name: str) -> InteractionEvent:
    what = Interaction(name, "sms", "inbound", "received", START_MS, PHONE, (), None, (), {"text": f"text-{name}"})
    return InteractionEvent(PHONE, None, what)


@pytest.mark.parametrize("seed", range(25))
def test_17_a_save_while_messages_of_the_number_arrive(seed: int) -> None:
    """None is lost or in two; each conversation is the contact's in the end, one of them open."""
    world = ConcurrentWorld(seed=seed, policy=Policy(), partitions=16)
    for number in range(12):
        world.give(CONTACT if number % 3 == 0 else ENDPOINT, _sms(str(number)))
        if number == 5:
            world.give(CONTACT, ContactSaved("c1", "name-1", (PHONE,)), stream="contacts.v1")
        world.advance(seed % 7)
    assert world.advance(MOST_STEPS)
    assert faults_at_rest(world) == []
    rows = world.conversations().values()
    assert sum(row.interaction_count for row in rows) == 12
    assert {row.contact_id for row in rows} == {"c1"}
    assert [row.status for row in rows].count("open") == 1


def test_22_a_save_that_a_crash_repeats_does_not_undo_the_newer_one() -> None:
    """Intake appends again what it had appended; the place of the raw record tells the repeat."""
    world = ConcurrentWorld(seed=1, policy=Policy())
    older, newer = ContactSaved("c1", "name-1", (PHONE,)), ContactSaved("c1", "name-2", (OTHER,))
    for saved in (older, newer):
        world.give(CONTACT, saved, stream="contacts.v1")
    world.advance(MOST_STEPS)
    world._append(world.given[0])
    assert world.advance(MOST_STEPS)
    (row,) = (row for each in world.homes for key, row in each.rows.items() if key.bucket == "contact:acme/c1")
    assert (row.name, list(row.endpoints)) == ("name-2", [OTHER])  # type: ignore[union-attr]
    assert faults_at_rest(world) == []


def test_41_equal_times_keep_the_order_of_the_log() -> None:
    """What happened at one moment is told in log order, and a status that is no further on does not replace the first."""
    world = World()
    world.tell(CONTACT, ContactSaved("c1", "Ann", (PHONE,)), stream="contacts.v1")
    for name in ("b", "a", "c"):
        world.tell(ENDPOINT, _sms(name))
    twin = _sms("a")
    world.tell(ENDPOINT, replace(twin, event_id="e2", interaction=replace(twin.interaction, status="sent")))
    added = [event for event in world.events(events.InteractionAdded) if isinstance(event, events.InteractionAdded)]
    assert [(event.now.seq, event.interaction.interaction_id) for event in added] == [(2, "b"), (3, "a"), (4, "c")]
    (updated,) = world.events(events.InteractionUpdated)
    assert isinstance(updated, events.InteractionUpdated)
    assert updated.interaction.status == "received"
