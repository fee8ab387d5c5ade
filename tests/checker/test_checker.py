"""The checker finds nothing in a router at rest, and every difference that is planted in one."""

from collections.abc import Awaitable, Callable

import orjson
import pytest

from interaction_router.application.intake import IntakeSettings
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.views import DEAD_LETTERS, STATE, UPDATES
from interaction_router.ports import Outgoing, Received, Writes
from tests.checker import check
from tests.checker.folded import fold
from tests.checker.source import read_source
from tests.faults.bench import Bench

SMS = "interactions.sms.v1"
SETTINGS = IntakeSettings("router", ("sms",), "ZA")
Plant = Callable[[Bench], Awaitable[None]]


def _sms(name: str) -> Outgoing:
    fields = {
        "tenant": "acme",
        "channel": "sms",
        "direction": "inbound",
        "interaction_id": name,
        "occurred_at": "2026-09-21T10:00:00Z",
        "from": "+27821234567",
        "to": "+27110000000",
    }
    return Outgoing(b"acme", orjson.dumps(fields))


async def _first(bench: Bench, stream: str) -> tuple[int, Received]:
    for partition in range(bench.partitions):
        for record in await bench.log.read(stream, partition, 0):
            return partition, record
    raise AssertionError(stream)


async def _append_changed(bench: Bench, stream: str, **changes: object) -> None:
    partition, record = await _first(bench, stream)
    value = orjson.dumps({**orjson.loads(record.value or b"{}"), **changes})
    await bench.log.append(stream, partition, [Outgoing(record.key, value, record.headers)])


async def lost(bench: Bench) -> None:
    await bench.log.append(SMS, 0, [_sms("lost")])


async def repeat_differs(bench: Bench) -> None:
    await _append_changed(bench, UPDATES, at="2026-09-21T10:00:09.000Z")


async def seq(bench: Bench) -> None:
    await _append_changed(bench, UPDATES, seq=9)


async def closed_not_final(bench: Bench) -> None:
    await _append_changed(bench, UPDATES, seq=3, status="closed", type="conversation.closed")
    await _append_changed(bench, UPDATES, seq=4, type="conversation.linked")


async def two_open(bench: Bench) -> None:
    for name in ("11111111-0000-8000-8000-000000000001", "11111111-0000-8000-8000-000000000002"):
        await _append_changed(bench, UPDATES, conversation_id=name, contact_id="c1")


async def in_two_conversations(bench: Bench) -> None:
    partition, added = await _first(bench, UPDATES)
    record = (await bench.log.read(UPDATES, partition, added.offset + 1))[0]
    fields = {**orjson.loads(record.value or b"{}"), "conversation_id": "11111111-0000-8000-8000-000000000001"}
    await bench.log.append(UPDATES, partition, [Outgoing(record.key, orjson.dumps(fields), record.headers)])


async def refused_and_done(bench: Bench) -> None:
    sms = (await bench.log.read(SMS, 0, 0))[0]
    headers = [("dlq_code", b"own_address"), ("dlq_topic", b"router.interactions.sms.v1")]
    headers += [("dlq_partition", b"0"), ("dlq_offset", b"0")]
    await bench.log.append(DEAD_LETTERS, 0, [Outgoing(sms.key, sms.value, headers)])


async def letter_not_intact(bench: Bench) -> None:
    await refused_and_done(bench)
    _, letter = await _first(bench, DEAD_LETTERS)
    await bench.log.append(DEAD_LETTERS, 1, [Outgoing(b"other", letter.value, letter.headers)])


async def not_refused(bench: Bench) -> None:
    await bench.log.append(SMS, 0, [Outgoing(b"acme", b"{")])


async def state_topic(bench: Bench) -> None:
    await _append_changed(bench, STATE, seq=1)


async def _change_tables(bench: Bench, change: Callable[[Writes, dict[object, object]], None]) -> None:
    source = await read_source(bench.log, namespace="router", channels=("sms",))
    for partition in range(bench.partitions):
        folded = fold(source, partition)
        if folded.rows:
            writes = Writes()
            change(writes, dict(folded.rows))
            await bench.tables.apply(partition, after=folded.last, applied=folded.last, writes=writes)


async def row_missing(bench: Bench) -> None:
    await _change_tables(bench, lambda writes, rows: writes.deletes.update(rows))  # type: ignore[arg-type]  # their keys


async def row_changed(bench: Bench) -> None:
    await _change_tables(bench, lambda writes, rows: writes.puts.update(dict.fromkeys(rows, b"{}")))  # type: ignore[arg-type]


async def scores(bench: Bench) -> None:
    await _change_tables(bench, lambda writes, _: writes.scores.update({("open:acme", "nobody"): 1.0}))


async def applied(bench: Bench) -> None:
    for partition in range(bench.partitions):
        await bench.tables.clear(partition)


async def undecided(bench: Bench) -> None:
    _, outcome = await _first(bench, OUTCOMES)
    await bench.log.append("internal.log", 0, [Outgoing(b"x", outcome.value)])


PLANTS: tuple[Plant, ...] = (
    lost,
    repeat_differs,
    seq,
    closed_not_final,
    two_open,
    in_two_conversations,
    refused_and_done,
    letter_not_intact,
    not_refused,
    state_topic,
    row_missing,
    row_changed,
    scores,
    applied,
    undecided,
)


@pytest.mark.parametrize("plant", PLANTS, ids=[plant.__name__ for plant in PLANTS])
async def test_a_planted_difference_is_named(plant: Plant) -> None:
    async with Bench.opened(SETTINGS) as bench:
        await bench.log.append(SMS, 0, [_sms("i1"), _sms("i2"), _sms("i1")])
        await bench.settle()
        assert await check(bench.log, bench.tables, SETTINGS) == []
        await plant(bench)
        found = {each.name for each in await check(bench.log, bench.tables, SETTINGS)}
        assert plant.__name__ in found
