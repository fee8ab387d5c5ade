"""The simulated load: its bytes, its shares, and that a router makes of it what it says."""

from collections import Counter
from dataclasses import replace
from itertools import islice

import orjson
import pytest

from interaction_router.adapters.clock import SystemClock
from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.application.demonstration import Demonstration, Repeated, Sight
from interaction_router.application.simulated_gateways import SimulatedGateways
from interaction_router.application.simulation import (
    PERSONS_LIMIT,
    Load,
    Simulated,
    first_records,
    load_records,
    person,
)
from interaction_router.application.story import Asked, Scene, load_scenes, names, story_scenes
from interaction_router.application.subscriber import Subscriber
from interaction_router.application.views import DEAD_LETTERS, UPDATES
from interaction_router.bootstrap.embedded import embedded_router
from interaction_router.ports import Outgoing
from interaction_router.settings import Settings
from interaction_router.wire.addresses import canonical
from interaction_router.wire.agents import agent_record
from interaction_router.wire.contacts import contact_message
from interaction_router.wire.interactions import interaction_message, parse_interaction

LOAD = Load(seed=7, start_ms=1_795_000_000_000)


def taken(load: Load, count: int) -> list[Simulated]:
    return list(islice(load_records(load), count))


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert taken(LOAD, 2_000) == taken(LOAD, 2_000)
    assert list(first_records(LOAD)) == list(first_records(LOAD))
    other = taken(replace(LOAD, seed=8), 2_000)
    assert not {record.value for record in other} & {record.value for record in taken(LOAD, 2_000)}


@pytest.mark.parametrize(("duplicates", "poison"), [(0.0, 0.0), (0.1, 0.01), (0.3, 0.2)])
def test_shares_are_as_asked(duplicates: float, poison: float) -> None:
    natures = Counter(record.nature for record in taken(replace(LOAD, duplicates=duplicates, poison=poison), 5_000))
    assert natures["duplicate"] / 5_000 == pytest.approx(duplicates, abs=0.02)
    assert natures["poison"] / 5_000 == pytest.approx(poison, abs=0.015)
    assert natures["event"] > 500


def test_a_duplicate_is_a_record_that_was_sent() -> None:
    sent: set[tuple[str, bytes, bytes]] = set()
    repeated = 0
    for record in taken(replace(LOAD, duplicates=0.3), 3_000):
        if record.nature == "duplicate":
            assert record[:3] in sent
            repeated += 1
        elif record.nature in {"interaction", "event"}:
            assert record[:3] not in sent
            sent.add(record[:3])
    assert repeated > 500


def test_records_are_due_at_the_rate() -> None:
    due = [record.due_ms for record in taken(replace(LOAD, rate=250), 1_000)]
    assert due == sorted(due)
    assert (due[0], due[250], due[999]) == (0, 1_000, 3_996)


def test_all_but_the_poison_is_valid() -> None:
    channels: Counter[str] = Counter()
    for record in taken(replace(LOAD, poison=0.2), 5_000):
        if record.nature == "poison":
            assert record.code is not None
            continue
        assert record.code is None
        if record.nature == "contact":
            contact_message(record.value, region_of=lambda _tenant: None)
            continue
        channel = record.stream.split(".")[1]
        raw = parse_interaction(record.value, channel_of_topic=channel)
        entity, message = interaction_message(raw, region=None, own_addresses=frozenset())
        assert message.interaction.flags == ()
        assert entity.tenant == "demo"
        channels[channel] += 1
    assert set(channels) == {"sms", "voice", "email", "whatsapp"}


def test_the_first_records_are_the_agents_and_most_of_the_contacts() -> None:
    records = list(first_records(replace(LOAD, contacts=10)))
    assert [record.nature for record in records] == ["agent"] * 3 + ["contact"] * 7
    assert {agent_record(record.value, record.key).agent_id for record in records[:3]} == {"thandi", "joao", "mei"}


def test_persons_are_apart_and_one_party_over_all_channels() -> None:
    sample = [*range(0, PERSONS_LIMIT, 701), PERSONS_LIMIT - 1]
    endpoints = set()
    for nth in sample:
        who = person(nth)
        number = canonical("sms", who.number, None)
        assert not number.opaque
        assert canonical("voice", who.national, who.region) == number
        assert canonical("whatsapp", who.number.replace(" ", "").removeprefix("+"), None) == number
        endpoints |= {number.endpoint, canonical("email", who.mailbox, None).endpoint}
    assert len(endpoints) == 2 * len(sample)


async def test_a_router_refuses_the_poison_and_nothing_else() -> None:
    load = replace(LOAD, start_ms=SystemClock().now_ms(), contacts=20, duplicates=0.2, poison=0.1)
    records = taken(load, 600)
    async with embedded_router(Settings()) as embedded:
        gateways = SimulatedGateways(embedded.log)
        await gateways.send_all(first_records(load))
        await embedded.router.agents.follow()
        for start in range(0, len(records), 50):
            await gateways.send_all(records[start : start + 50])
            await embedded.shell.settled()
        updates, letters = await _all(embedded.log)
    assert Counter(letters) == Counter(record.code for record in records if record.code is not None)
    assert len(set(letters)) == 5
    natures = Counter(record.nature for record in records)
    assert natures["duplicate"] > 60
    assert updates["conversation.interaction_added"] == natures["interaction"]
    assert updates["conversation.interaction_updated"] == natures["event"]


async def _all(log: EmbeddedLog) -> tuple[Counter[str], list[str]]:
    """Return how often each type of update is there, and the codes of the dead letters."""
    updates: Counter[str] = Counter()
    codes = []
    for partition in range(await log.partitions(UPDATES)):
        updates.update(orjson.loads(each.value or b"")["type"] for each in await log.read(UPDATES, partition, 0))
        codes += [dict(each.headers)["dlq_code"].decode() for each in await log.read(DEAD_LETTERS, partition, 0)]
    return updates, codes


def test_the_story_is_the_same_for_a_seed_and_fits_its_span() -> None:
    scenes = list(story_scenes(LOAD, span_ms=1_000))
    assert scenes == list(story_scenes(LOAD, span_ms=1_000))
    due = [scene.due_ms for scene in scenes]
    assert due == sorted(due)
    assert due[-1] < 1_000
    assert [scene.step.type for scene in scenes if isinstance(scene.step, Asked)] == [
        "conversation.close",
        "conversation.link",
    ]
    assert names(LOAD)["c0"] == person(0).name


async def _played(scenes: list[Scene]) -> tuple[Demonstration, list[Sight]]:
    seen: list[Sight] = []
    async with embedded_router(Settings()) as embedded:
        subscriber = Subscriber(embedded.log, namespace="router")
        assert len(await subscriber.begin()) == 16
        demonstration = Demonstration(
            embedded.log, subscriber, settled=embedded.shell.settled, tell=seen.append, tenant="demo"
        )
        await demonstration.prepare(first_records(LOAD), pause_s=0)
        await embedded.router.agents.follow()
        start_ms = SystemClock().now_ms()
        for scene in scenes:  # each is over before the next: on a slow machine one would else be met by another
            at_once = scene._replace(step=scene.step._replace(due_ms=0))
            await demonstration.play([at_once], start_ms=start_ms + scene.due_ms)
            await embedded.shell.settled()
        await demonstration.finish()
    return demonstration, seen


async def test_the_story_comes_out_as_foreseen() -> None:
    load = replace(LOAD, start_ms=SystemClock().now_ms())
    demonstration, seen = await _played(list(story_scenes(load, span_ms=1_500)))
    tally = demonstration.tally
    assert tally.linked == {"save": 2, "hand": 1}
    assert tally.closed == {"requested": 1, "superseded": 2}
    assert tally.letters == {"schema_invalid": 1, "malformed_json": 1, "agent_not_qualified": 1}
    assert (tally.unforeseen, tally.changed_by_repeats) == (Counter(), 0)
    assert [sight.changes for sight in seen if isinstance(sight, Repeated)] == [0, 0]
    p50, p99 = tally.latency_ms(0.5), tally.latency_ms(0.99)
    assert p50 is not None
    assert p99 is not None
    assert 0 < p50 <= p99


async def test_what_comes_out_otherwise_is_counted() -> None:
    load = replace(LOAD, start_ms=SystemClock().now_ms(), rate=1_000, poison=0, duplicates=0)
    first, second, third = (scene.step for scene in islice(load_scenes(load), 3))
    assert isinstance(first, Simulated)
    assert isinstance(second, Simulated)
    assert isinstance(third, Simulated)
    scenes = [
        Scene(first._replace(code="own_address", nature="poison")),
        Scene(second._replace(value=b"{}")),
        Scene(third._replace(nature="duplicate")),
    ]
    demonstration, _ = await _played(scenes)
    assert demonstration.tally.unforeseen == {"no own_address": 1, "schema_invalid": 1}
    assert demonstration.tally.changed_by_repeats == 1


async def test_a_subscriber_keeps_the_highest_seq_and_begins_at_the_end() -> None:
    with EmbeddedDatabase() as database:
        log = EmbeddedLog(database, SystemClock())
        for stream in (UPDATES, DEAD_LETTERS):
            await log.create(stream, 2)

        async def append(*seqs: int) -> None:
            cause = {"topic": "ns.interactions.sms.v1", "partition": 1, "offset": 5, "rule": "opened_unlinked"}
            fields = {"type": "conversation.opened", "conversation_id": "c", "at": "2026", "cause": cause}
            await log.append(UPDATES, 0, [Outgoing(b"c", orjson.dumps({**fields, "seq": seq})) for seq in seqs])

        await append(1)
        subscriber = Subscriber(log, namespace="ns")
        await subscriber.begin()
        await append(2, 3, 2, 3, 4)
        updates, letters = await subscriber.read()
        assert [update.fields["seq"] for update in updates] == [2, 3, 4]
        assert updates[0].cause == ("interactions.sms.v1", 1, 5)
        assert letters == []
        await append(3, 4)
        assert await subscriber.read() == ([], [])
