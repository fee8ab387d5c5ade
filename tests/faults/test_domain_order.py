"""The protocol between homes: all that is asked at once, in any order of arrival, some of it twice."""

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from interaction_router.domain import forgetting, turn
from interaction_router.domain.ids import Entity, home
from interaction_router.domain.interactions import Interaction
from interaction_router.domain.messages import (
    ContactDeleted,
    ContactMerged,
    ContactMoved,
    ContactSaved,
    EraseAsked,
    InteractionEvent,
    LogRecord,
    Message,
)
from interaction_router.domain.rows import Policy
from tests.faults.concurrent import MOST_STEPS, ConcurrentDriver, ConcurrentWorld
from tests.faults.quiet import faults_at_rest, faults_where_all_is_forgotten
from tests.model.steps import Timed
from tests.model.strategies import MAILBOX, PHONES, POLICY, histories
from tests.unit.against_model import COMMANDS, CONTACTS
from tests.unit.world import START_MS

EXAMPLES = 1500 if os.environ.get("CI") else 150
_SMS = Interaction("i1", "sms", "inbound", "received", START_MS, PHONES[1], (), None, (), {"text": "text-1"})


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories(), st.integers(0, 2**32), st.sampled_from((1, 2, 4, 16)))
def test_whatever_the_order_of_arrival_the_promises_hold(history: list[Timed], seed: int, partitions: int) -> None:
    driver = ConcurrentDriver(POLICY, seed=seed, partitions=partitions)
    ends = driver.run(history)
    for each in driver.busy.seen:
        note(f"{each.event} because of {each.cause}")
    assert ends, "something is sent round for ever"
    assert faults_at_rest(driver.busy) == []


@settings(max_examples=EXAMPLES // 10, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck))
@given(histories(), st.integers(0, 2**32), st.sampled_from((2, 16)))
def test_nothing_goes_round_where_everything_is_forgotten_at_once(
    history: list[Timed], seed: int, partitions: int
) -> None:
    """Entries lead everywhere to homes that know nothing any more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forgetting, "KEPT_INTERACTIONS", 1)
        patch.setattr(turn, "GROWN_INTERACTIONS", 1)
        driver = ConcurrentDriver(POLICY, seed=seed, partitions=partitions, dedup_window_ms=0)
        assert driver.run(history), "something is sent round for ever"
    assert faults_where_all_is_forgotten(driver.busy) == []


def _tell_between_the_parts(seed: int, to: Entity, message: Message, stream: str) -> ConcurrentWorld | None:
    """Merge c3, which has an open conversation, into c1, and tell c1 something when only a part of c3 is there.

    None where this order of arrival leaves no moment for it.
    """
    world = ConcurrentWorld(seed=seed, policy=Policy(), partitions=16)
    for contact_id, party in (("c1", PHONES[0]), ("c3", PHONES[1]), ("c2", MAILBOX)):
        world.give(
            Entity("acme", "contact", contact_id),
            ContactSaved(contact_id, f"name-{contact_id[1:]}", (party,)),
            stream=CONTACTS,
        )
    world.advance(MOST_STEPS)
    told = InteractionEvent(PHONES[1], None, _SMS)
    world.give(Entity("acme", "contact", "c3"), told)
    world.advance(MOST_STEPS)
    world.give(Entity("acme", "aliases", ""), ContactMerged("c3", "c1"), stream=CONTACTS)
    survivor = world.homes[home(Entity("acme", "contact", "c1"), 16)]
    while not any(isinstance(record.message, ContactMoved) for record in survivor.log[: survivor.next]):
        assert not world.advance(1), "the merge is over, and no part of it came"
    if any(isinstance(record.message, ContactMoved) for record in survivor.log[survivor.next :]):
        return None
    way = next(way for way, waiting in world._ways.items() if any(isinstance(r.message, ContactMoved) for r in waiting))
    waiting = world._ways.pop(way)
    world.give(to, message, stream=stream)
    world.advance(MOST_STEPS)
    world._ways[way] = waiting
    assert world.advance(MOST_STEPS)
    return world


@pytest.mark.parametrize(
    ("to", "message", "stream"),
    [
        (Entity("acme", "contact", "c1"), EraseAsked("c1", "m1"), COMMANDS),
        (Entity("acme", "contact", "c1"), ContactDeleted("c1"), CONTACTS),
        (Entity("acme", "contact", "c1"), ContactSaved("c1", "name-4", ()), CONTACTS),
        (Entity("acme", "aliases", ""), ContactMerged("c1", "c2"), CONTACTS),
    ],
    ids=["erased", "deleted", "saved", "merged"],
)
def test_something_befalls_the_survivor_between_the_parts_of_a_merge(to: Entity, message: Message, stream: str) -> None:
    worlds = [_tell_between_the_parts(seed, to, message, stream) for seed in range(40)]
    found = [world for world in worlds if world is not None]
    assert found, "no order of arrival left a moment between the parts"
    for world in found:
        assert faults_at_rest(world) == []
        assert len(world.conversations()) == 1


def _hold(world: ConcurrentWorld, contact_id: str, *, to: Entity | None = None) -> Callable[[], None]:
    """Let things happen until all of a merged-away contact is on its way, and hold that way; return its release."""

    def is_it(record: LogRecord) -> bool:
        message = record.message
        return isinstance(message, ContactMoved) and message.contact_id == contact_id and to in {None, record.to}

    while not (held := [way for way, waiting in world._ways.items() if any(map(is_it, waiting))]):
        assert not world.advance(1), "it never was on its way"
    (way,) = held
    waiting = world._ways.pop(way)
    return lambda: world._ways[way].extendleft(reversed(waiting))


@pytest.mark.parametrize("seed", range(5))
def test_the_survivor_begins_anew_while_an_alias_of_its_alias_is_on_its_way(seed: int) -> None:
    """A save under that alias finds the survivor and is not sent round for ever."""
    world = ConcurrentWorld(seed=seed, policy=Policy(), partitions=16)

    def save(contact_id: str, *parties: str) -> None:
        saved = ContactSaved(contact_id, f"name-{contact_id[1:]}", parties)
        world.give(Entity("acme", "contact", contact_id), saved, stream=CONTACTS)

    for contact_id in ("c1", "c2", "c3"):
        save(contact_id)
    world.advance(MOST_STEPS)
    world.give(Entity("acme", "aliases", ""), ContactMerged("c3", "c1"), stream=CONTACTS)
    release = _hold(world, "c3")
    world.give(Entity("acme", "aliases", ""), ContactMerged("c1", "c2"), stream=CONTACTS)
    world.advance(MOST_STEPS)
    release()
    release = _hold(world, "c3", to=Entity("acme", "contact", "c2"))
    world.give(Entity("acme", "contact", "c2"), ContactDeleted("c2"), stream=CONTACTS)
    save("c2")
    world.advance(MOST_STEPS)
    release()
    save("c3", PHONES[0])
    assert world.advance(MOST_STEPS), "something is sent round for ever"
    assert faults_at_rest(world) == []


def test_a_call_does_not_go_round_while_the_survivor_rests() -> None:
    """A call at the alias waits on the way behind what the survivor has to learn, however long nobody decides there."""
    world = ConcurrentWorld(seed=1, policy=Policy(), partitions=64)
    for contact_id, parties in (("c1", (PHONES[1],)), ("c2", ())):
        saved = ContactSaved(contact_id, f"name-{contact_id[1:]}", parties)
        world.give(Entity("acme", "contact", contact_id), saved, stream=CONTACTS)
    world.advance(MOST_STEPS)
    world.give(Entity("acme", "aliases", ""), ContactMerged("c1", "c2"), stream=CONTACTS)
    while not any(isinstance(record.message, ContactMoved) for waiting in world._ways.values() for record in waiting):
        assert not world.advance(1), "it never was on its way"
    world.give(Entity("acme", "contact", "c1"), InteractionEvent(PHONES[1], None, _SMS))
    assert _advance_but_for(world, home(Entity("acme", "contact", "c2"), 64)), "it is sent round for as long"
    assert world.advance(MOST_STEPS)
    assert faults_at_rest(world) == []


def _advance_but_for(world: ConcurrentWorld, resting: int) -> bool:
    """Let everything happen but in one partition; return whether it comes to an end."""
    for _ in range(MOST_STEPS):
        ways = [way for way, waiting in world._ways.items() if waiting and way[1] != resting]
        homes = [at for at, each in enumerate(world.homes) if at != resting and each.next < len(each.log)]
        if not ways and not homes:
            return True
        if ways:
            world._arrive(ways[0])
        else:
            world._decide(homes[0])
    return False
