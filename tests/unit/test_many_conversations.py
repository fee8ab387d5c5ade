"""What comes in one record costs as many looks at the tables, and at the index, whether it is little or much."""

from collections.abc import Mapping

import pytest

from interaction_router.domain.decide import decide
from interaction_router.domain.ids import Entity
from interaction_router.domain.interactions import Interaction
from interaction_router.domain.messages import Adopted, ContactSaved, InteractionEvent, LogRecord
from interaction_router.domain.rows import Contact, ContactState, Entry, Head, Row, RowKey, contact_key
from interaction_router.domain.turn import NotLoaded, Turn
from tests.unit.world import START_MS, World

MAILBOX = "mailto:ann@example.com"
CONTACT = Entity("acme", "contact", "c1")


def answer(conversations: int) -> LogRecord:
    """Return what the mailbox answers the contact's claim: so many conversations."""
    world = World(partitions=1)
    for nth in range(conversations):
        what = Interaction(str(nth), "email", "inbound", "received", START_MS, "ann@example.com", (), None, (), {})
        world.tell(Entity("acme", "endpoint", MAILBOX), InteractionEvent(MAILBOX, None, what))
    world.tell(CONTACT, ContactSaved("c1", "Ann", (MAILBOX,)), stream="contacts.v1")
    (record,) = (each for each in world.homes[0].log if isinstance(each.message, Adopted) and each.message.carried)
    return record


class Looks(Turn):
    """Counts how often a whole index is gone through."""

    count = 0

    def index(self, owner: Entity) -> dict[str, Entry]:
        Looks.count += 1
        return super().index(owner)


def looks_to_decide(record: LogRecord, state: ContactState) -> tuple[int, int]:
    """Return how often the tables are asked for rows, and how often the last time an index is gone through."""
    rows: dict[RowKey, Row | None] = {contact_key("acme", "c1"): Contact("acme", "c1", state)}
    buckets: Mapping[str, tuple[str, ...]] = {}
    asked = 0
    while True:
        Looks.count = 0
        try:
            decide(rows, buckets, Head(), record, offset=9)
        except NotLoaded as missing:
            asked += 1
            rows |= dict.fromkeys(missing.keys)
            buckets = {**buckets, **({} if missing.bucket is None else {missing.bucket: ()})}
        else:
            return asked, Looks.count


@pytest.mark.parametrize("state", ["deleted", "erased"])
def test_many_conversations_are_taken_with_no_more_looks_than_two(
    state: ContactState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interaction_router.domain.decide.Turn", Looks)
    assert looks_to_decide(answer(50), state) == looks_to_decide(answer(2), state)
