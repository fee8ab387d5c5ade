"""`state verify` on everything that can happen to conversations, and on outcomes that break the promises."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from interaction_router.application.outcomes import OUTCOMES, outcome_records
from interaction_router.application.queries import ALL_TIME
from interaction_router.application.rebuilding import catch_up
from interaction_router.application.views import DUE
from interaction_router.bootstrap.embedded import embedded_router
from interaction_router.domain.events import Closed, Decision, Event, Outcome, RowPut, Standing
from interaction_router.domain.ids import Entity
from interaction_router.domain.rows import POLICY, Conversation, Entry, Policy, RowKey, conversation_key, index_bucket
from interaction_router.ports import Outgoing, Writes
from interaction_router.settings import EmbeddedSettings, Settings, TopicsSettings
from interaction_router.wire.codec import decode_row
from tests.e2e.embedded import saved, sms
from tests.faults.traffic import Traffic
from tests.unit.test_rebuilding import PARTITIONS, Bench, bench

OWNER = Entity("acme", "contact", "c7")
HERE = Conversation("00000000-0000-8000-8000-000000000007", "acme", OWNER, 1, "open", "c7", None, 5, 0)


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_the_tables_are_found_right(seed: int) -> None:
    """While it happens, and when all is done; and made anew they are the same."""
    random = Random(seed)
    traffic = Traffic(random)
    async with bench() as at:
        for step in range(12):
            conversations = [str(each["conversation_id"]) for each in await at.updates() if "seq" in each]
            for number in range(20):
                raw = traffic.next(1_795_000_000_000 + 1000 * step + number, conversations)
                await at.log.append(raw.stream, random.randrange(PARTITIONS), [Outgoing(raw.key, raw.value)])
            if step % 4 == 3:
                assert await at.differences() == []
        await at.shell.settled()
        assert await at.differences() == []
        rows = await held(at)
        for partition in range(PARTITIONS):
            await at.rebuilder.rebuild(partition)
            await catch_up(at.log, at.tables, at.views, partition)
        assert await held(at) == rows
        assert await at.differences() == []


async def held(at: Bench) -> dict[object, object]:
    """Return every row and score, but for tenants, which stay when nothing of them does."""
    found: dict[object, object] = {}
    for partition in range(PARTITIONS):
        async for names in at.upkeep.names(partition):
            rows = (await at.tables.load(partition, names.rows)).rows
            scores = (await at.upkeep.scores(partition, names.members)).scores
            found |= {(partition, key): row for key, row in zip(names.rows, rows, strict=True)}
            found |= {
                (partition, each): s for each, s in zip(names.members, scores, strict=True) if each[0] != "tenants"
            }
    return found


async def test_a_policy_that_changes_makes_no_difference(tmp_path: Path) -> None:
    for hours in (1, 2, None, 3):
        settings = Settings(
            embedded=EmbeddedSettings(data_dir=tmp_path),
            topics=TopicsSettings(partitions=PARTITIONS),
            idle_close={"sms": None if hours is None else timedelta(hours=hours)},
        )
        async with embedded_router(settings) as embedded:
            at = Bench(embedded)
            await at.feed(
                saved("c1", "+27821234567"), sms(f"{hours}", "+27821234567"), sms(f"x{hours}", "+27821234568")
            )
            assert await at.differences() == []
        await asyncio.sleep(0)


async def test_what_is_due_by_the_policy_of_before_is_right_until_a_tick_comes() -> None:
    settings = Settings(topics=TopicsSettings(partitions=PARTITIONS), idle_close={"sms": timedelta(hours=1)})
    async with embedded_router(settings) as embedded:
        at = Bench(embedded)
        await at.feed(saved("c1", "+27821234567"), sms("1", "+27821234567"), sms("2", "+27821234568"))
        at.shell.stop()
        for partition in range(PARTITIONS):
            await decide(at, partition, [RowPut(POLICY, Policy(idle_close_ms={"sms": 7_200_000}, pending="by a test"))])
        assert await at.differences() == []
        (member, due) = (await at.tables.scored(at.home, DUE, low=0, high=ALL_TIME, limit=1))[0]
        applied = (await at.tables.load(at.home, ())).applied
        late = Writes(scores={(DUE, member): due + 1})
        await at.tables.apply(at.home, after=applied, applied=applied, writes=late)
        assert {each.kind for each in await at.differences()} == {"score_changed"}


@pytest.mark.parametrize(
    ("events", "kinds"),
    [
        ([RowPut(conversation_key(HERE.conversation_id), HERE)], set()),
        ([RowPut(conversation_key(HERE.conversation_id), replace(HERE, interaction_count=2))], {"miscounted"}),
        (
            [
                RowPut(conversation_key(name), replace(HERE, conversation_id=name))
                for name in (HERE.conversation_id, "00000000-0000-8000-8000-000000000008")
            ],
            {"two_open"},
        ),
        (
            [
                RowPut(conversation_key(HERE.conversation_id), HERE),
                Closed(Standing(HERE.conversation_id, 3, "c7", None, "closed", "requested"), "requested", None),
            ],
            {"seq_gap"},
        ),
    ],
)
async def test_outcomes_that_break_a_promise_are_named(events: Sequence[Event], kinds: set[str]) -> None:
    async with bench() as at:
        await at.feed(sms("1", "+27821234567"))
        at.shell.stop()
        await decide(at, 0, events)
        assert {each.kind for each in await at.differences()} == kinds


async def decide(at: Bench, partition: int, events: Sequence[Event]) -> None:
    """Write an outcome that counts, and bring it into the tables."""
    applied = (await at.tables.load(partition, ())).applied
    end = (await at.log.bounds(OUTCOMES, partition)).end
    outcome = Outcome(applied + 1, end, applied, "acme", None, None, None, Decision(6, tuple(events)))
    await at.log.append(OUTCOMES, partition, outcome_records(outcome))
    await catch_up(at.log, at.tables, at.views, partition)


async def test_an_interaction_in_two_conversations_is_named() -> None:
    async with bench() as at:
        await at.feed(sms("1", "+27821234567"))
        at.shell.stop()
        entry = next(
            (partition, key, decode_row(row or b""))
            for (partition, key), row in [
                ((partition, key), (await at.tables.load(partition, [key])).rows[0])
                for partition in range(PARTITIONS)
                async for names in at.upkeep.names(partition)
                for key in names.rows
                if key.bucket.startswith("interactions:")
            ]
        )
        partition, key, row = entry
        assert isinstance(row, Entry)
        again = RowPut(RowKey(index_bucket(OWNER), key.field), replace(row, conversation_id=HERE.conversation_id))
        await decide(at, 1 - partition, [RowPut(conversation_key(HERE.conversation_id), HERE), again])
        assert {each.kind for each in await at.differences()} == {"interaction_twice"}
