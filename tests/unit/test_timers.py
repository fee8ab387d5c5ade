"""Idle closing: a tick closes what is due, and mends the index where the policy has changed."""

from interaction_router.application.views import DUE, writes
from interaction_router.domain.events import RowPut
from interaction_router.domain.ids import Entity
from interaction_router.domain.interactions import Interaction
from interaction_router.domain.messages import InteractionEvent, PolicySet
from interaction_router.domain.rows import Conversation, Policy, conversation_key
from tests.unit.world import START_MS, World

ENDPOINT = Entity("acme", "endpoint", "tel:+27821234567")
HOUR_MS = 3_600_000


def _world(policy: Policy) -> tuple[World, Conversation]:
    world = World(partitions=1, policy=policy)
    interaction = Interaction("SM1", "sms", "inbound", "received", START_MS, "082", (), None, (), {})
    world.tell(ENDPOINT, InteractionEvent(ENDPOINT.key, None, interaction))
    (row,) = world.conversations().values()
    return world, row


def test_a_tick_closes_what_is_due() -> None:
    """Not a moment before its time, and once."""
    world, row = _world(Policy(idle_close_ms={"sms": HOUR_MS}))
    world.now_ms = START_MS + HOUR_MS - 1
    world.tick()
    assert world.conversations()[row.conversation_id].status == "open"
    world.now_ms += 1
    world.tick()
    world.tick()
    closed = world.conversations()[row.conversation_id]
    assert (closed.status, closed.close_reason, closed.closed_at_ms) == ("closed", "idle", START_MS + HOUR_MS)


def test_an_index_that_the_policy_left_behind_is_mended() -> None:
    """What is no longer due leaves the index, so that no tick is written for it again and again."""
    world, row = _world(Policy(idle_close_ms={"sms": HOUR_MS}))
    world.tell(Entity("", "partition", "0"), PolicySet(Policy()))
    world.now_ms = START_MS + 2 * HOUR_MS
    key = conversation_key(row.conversation_id)
    put = RowPut(key, row)
    before = {key: row}
    batch = writes({put.key: put.row}, before, Policy())
    assert batch.unscores >= {(DUE, f"acme/{row.conversation_id}")}
    again = writes({put.key: put.row}, before, Policy(idle_close_ms={"sms": HOUR_MS}))
    assert again.scores[DUE, f"acme/{row.conversation_id}"] == START_MS + HOUR_MS
