"""A replay of updates that dies anywhere and is gone on with writes each once, in the order of its conversation."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import orjson
import pytest

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.application import updates_replay
from interaction_router.application.reading import by_stamp
from interaction_router.application.updates_replay import (
    Pace,
    ReplayState,
    Selection,
    UpdatesReplay,
    ranges_of,
    read_state,
    state_json,
)
from interaction_router.application.views import UPDATES
from interaction_router.domain.errors import RetryableError
from interaction_router.ports import Outgoing

CONVERSATIONS, SEQS = 7, 4
TO = "theirs"


class Clock:
    def now_ms(self) -> int:
        return 0


class DyingLog(EmbeddedLog):
    """Dies before or after the append to a topic that is counted down to."""

    left: int | None = None
    after = False

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        dies = False
        if stream == TO and self.left is not None:
            self.left -= 1
            dies = self.left < 0
        if dies and not self.after:
            raise RetryableError("died", "before it was written")
        offsets = await super().append(stream, partition, records)
        if dies:
            raise RetryableError("died", "after it was written")
        return offsets


@pytest.fixture
async def log() -> AsyncIterator[DyingLog]:
    """Updates of conversations on three partitions, each batch twice as after a crash."""
    with EmbeddedDatabase() as database:
        log = DyingLog(database, Clock())
        await log.create(UPDATES, 3)
        for seq in range(1, SEQS + 1):
            for number in range(CONVERSATIONS):
                update = {"conversation_id": f"c{number}", "seq": seq, "tenant": "acme", "contact_id": None}
                record = Outgoing(f"c{number}".encode(), orjson.dumps(update), (), seq * 1000 + number)
                for _ in range(2):
                    await log.append(UPDATES, number % 3, [record])
        yield log


async def _begun(log: EmbeddedLog, **chosen: int) -> ReplayState:
    selection = Selection(await ranges_of(log), **chosen)  # type: ignore[arg-type]  # times alone are given here
    return await UpdatesReplay(log, log, namespace="router").begin(selection, TO)


async def _run(log: EmbeddedLog, state: ReplayState, kept: list[bytes], pace: Pace | None = None) -> ReplayState:
    replay = UpdatesReplay(log, log, namespace="router")
    state, written = await replay.resumed(state)

    def save(state: ReplayState, _count: int) -> None:
        kept.append(state_json(state))

    return await replay.run(state, pace or Pace(None, asyncio.Event()), written=written, save=save)


async def _told(log: EmbeddedLog) -> dict[str, list[int]]:
    told: dict[str, list[int]] = {}
    for partition in range(await log.partitions(TO)):
        for record in await log.read(TO, partition, 0):
            update = orjson.loads(record.value or b"")
            told.setdefault(update["conversation_id"], []).append(update["seq"])
    return told


EACH_ONCE = {f"c{number}": list(range(1, SEQS + 1)) for number in range(CONVERSATIONS)}


@pytest.mark.parametrize("partitions", [2, 3])
@pytest.mark.parametrize("after", [False, True])
async def test_each_is_written_once_wherever_it_dies(
    log: DyingLog, monkeypatch: pytest.MonkeyPatch, partitions: int, *, after: bool
) -> None:
    """It dies at the first append, goes on and dies at the second from there, and so on to the end."""
    monkeypatch.setattr(updates_replay, "BATCH", 4)
    await log.create(TO, partitions)
    kept = [state_json(await _begun(log))]
    log.after = after
    for left in range(100):
        log.left = left
        try:
            await _run(log, read_state(kept[-1]), kept)
        except RetryableError:
            continue
        break
    else:
        pytest.fail("it never came to its end")
    assert await _told(log) == EACH_ONCE


async def test_it_stops_between_two_batches_and_goes_on(log: DyingLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates_replay, "BATCH", 5)
    await log.create(TO, 3)
    kept = [state_json(await _begun(log))]
    stop = asyncio.Event()
    stop.set()
    state = await _run(log, read_state(kept[-1]), kept, Pace(None, stop))
    assert state.written == 5
    await _run(log, read_state(kept[-1]), kept)
    assert await _told(log) == EACH_ONCE


async def test_a_range_of_time_is_cut_out(log: DyingLog) -> None:
    await log.create(TO, 3)
    state = await _begun(log, from_ms=2000, until_ms=4000)
    forecast = await UpdatesReplay(log, log, namespace="router").forecast(state)
    assert (forecast.records, forecast.repeats) == (2 * CONVERSATIONS, 2 * CONVERSATIONS)
    assert (forecast.first_ms, forecast.last_ms) == (2000, 3000 + CONVERSATIONS - 1)
    await _run(log, state, [])
    assert await _told(log) == {name: [2, 3] for name in EACH_ONCE}


async def test_partitions_are_read_by_their_stamps(log: DyingLog) -> None:
    stamps = [record.timestamp async for _, record in by_stamp(log, UPDATES, await ranges_of(log))]
    assert len(stamps) == 2 * SEQS * CONVERSATIONS
    assert stamps == sorted(stamps)


async def test_a_pace_is_kept_and_ends_with_a_stop() -> None:
    stop = asyncio.Event()
    assert [Pace(rate, stop).batch for rate in (None, 1, 50, 1_000_000)] == [500, 1, 10, 500]
    now = asyncio.get_running_loop().time()
    await Pace(1000, stop).wait(now, 20)
    assert asyncio.get_running_loop().time() - now >= 0.02
    stop.set()
    await Pace(0.001, stop).wait(now, 1_000_000)
