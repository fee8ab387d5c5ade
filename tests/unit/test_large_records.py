"""What one home sends to another fits the records of the log, and an interaction its update, whatever they hold."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pytest

from interaction_router.adapters.kafka.topics import INTERNAL_RECORD_BYTES, RECORD_BYTES
from interaction_router.application.intake import IntakeSettings
from interaction_router.application.outcomes import PART_BYTES, Counting, outcome_records
from interaction_router.application.views import LOG
from interaction_router.domain.events import Decision, InteractionUpdated, Outcome, Refusal
from interaction_router.domain.ids import Entity
from interaction_router.domain.interactions import Interaction, Json
from interaction_router.domain.messages import Adopted, ContactSaved, InteractionEvent
from interaction_router.domain.rows import Entry
from interaction_router.ports import Outgoing
from interaction_router.wire.codec import encode_log_record, encode_row
from interaction_router.wire.interaction_json import interaction_bytes
from tests.faults.bench import Bench
from tests.unit.world import START_MS, World

MAILBOX = "mailto:ann@example.com"
ENDPOINT = Entity("acme", "endpoint", MAILBOX)
CIRCULAR: tuple[Json, ...] = tuple(
    {"address": f"{n}@example.com", "name": "A member of staff " * 4} for n in range(100)
)
LARGE = "x" * 900_000


def mail(name: str, *, to: tuple[Json, ...] = (), event_id: str | None = None, **more: str) -> InteractionEvent:
    """An event of an e-mail; `more` is what it carries, and `sender` who sent it."""
    sender = more.pop("sender", None)
    named = None if sender is None else {"address": "us@example.com", "name": sender}
    return InteractionEvent(
        MAILBOX, event_id, Interaction(name, "email", "outbound", "sent", START_MS, named, to, None, (), more)
    )


@pytest.mark.parametrize(
    ("recipients", "seen"), [pytest.param(CIRCULAR, 1, id="recipients"), pytest.param((), 14, id="events")]
)
def test_what_an_endpoint_hands_over_fits_the_records_of_the_log(recipients: tuple[Json, ...], seen: int) -> None:
    """However little of it is text: the worker would end, and so the next."""
    world = World(partitions=1)
    for nth in range(500):
        world.tell(ENDPOINT, mail(str(nth), to=recipients))
    rows, events = world.homes[0].rows, tuple(f"sent/{nth:0512}" for nth in range(seen))
    rows |= {key: replace(row, seen=events) for key, row in rows.items() if isinstance(row, Entry)}
    world.tell(Entity("acme", "contact", "c1"), ContactSaved("c1", "Ann", (MAILBOX,)), stream="contacts.v1")
    sent = [(each, each.message) for each in world.homes[0].log if isinstance(each.message, Adopted)]
    assert sum(len(carried.entries) for _, message in sent for carried in message.carried) == 500
    assert max(len(encode_log_record(record).value or b"") for record, _ in sent) <= INTERNAL_RECORD_BYTES


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(mail("m1", event_id="2", sender=LARGE, html=LARGE), id="sender"),
        pytest.param(mail("m1", event_id="2", to=({"address": "ann@example.com", "name": LARGE},)), id="recipients"),
    ],
)
def test_no_field_that_is_filled_in_makes_an_interaction_outgrow_its_update(later: InteractionEvent) -> None:
    world = World(partitions=1)
    for each in (mail("m1", text=LARGE), mail("m1", event_id="1", subject="y" * 600_000), later):
        world.tell(ENDPOINT, each)
    (*_, last) = (each for each in world.events(InteractionUpdated) if isinstance(each, InteractionUpdated))
    assert len(interaction_bytes(last.interaction)) < RECORD_BYTES
    assert last.interaction.details["text"] == LARGE


async def test_a_save_is_not_written_once_more_for_each_of_its_addresses() -> None:
    """Neither it nor a claim can be refused any more, and so nobody needs the raw record beside them."""
    addresses = ",".join(f'"a{nth}@example.com"' for nth in range(200))
    value = f'{{"tenant":"acme","type":"contact.saved","contact_id":"c1","addresses":[{addresses}]}}'.encode()
    async with Bench.opened(IntakeSettings("router", ("email",))) as bench:
        await bench.log.append("contacts.v1", 0, [Outgoing(b"k", value)])
        await bench.settle()
        records = [each for p in range(bench.partitions) for each in await bench.log.read(LOG, p, 0)]
    assert len(records) > 400, "each is claimed and answered"
    assert [each for each in records if each.headers] == []


def test_an_interaction_with_thousands_of_events_has_a_row_that_can_be_sent() -> None:
    """The row names each of them, so that a repeat changes nothing."""
    world = World(partitions=1)
    events = [mail("m1", event_id=f"{nth:0512}") for nth in range(2_000)]
    for event in (*events, events[0]):
        world.tell(ENDPOINT, event)
    (entry,) = (row for row in world.homes[0].rows.values() if isinstance(row, Entry))
    assert len(entry.seen) == len(events)
    assert len(encode_row(entry)) <= 100 * len(events)


class Stands(NamedTuple):
    """A record as it was read."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    timestamp: int = START_MS


def test_parts_of_two_writers_are_no_outcome() -> None:
    """One dies between two parts, and that of a zombie comes next: what they make together nobody has written."""
    refused = Decision(START_MS, refusal=Refusal("schema_invalid", "x" * PART_BYTES))
    zombie, dead, owner = (
        outcome_records(Outcome(0, expected, -1, "acme", None, None, None, refused)) for expected in (9, 10, 12)
    )
    log = [Stands(9 + at, *each[:3]) for at, each in enumerate([zombie[0], dead[0], zombie[1], *owner])]
    counted = Counting(-1).count(log)
    assert [(outcome.expected, last) for outcome, last in counted] == [(12, 13)]
