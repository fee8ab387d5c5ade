"""Settings that decide: written to the log at a takeover where they differ, with a tick for what is open."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import AsyncMock

import orjson
import pytest

from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.application.stages import AssignmentStage
from interaction_router.application.views import DUE, LOG
from interaction_router.bootstrap.embedded import Embedded, embedded_router
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.rows import POLICY, Policy
from interaction_router.ports import Outgoing
from interaction_router.settings import load_settings
from interaction_router.wire.codec import decode_row
from tests.integration.running import until

PARTITIONS = 2
MANY = 2400
"""A partition has more of them than one tick names, and than are decided at once."""


@asynccontextmanager
async def router(folder: Path, *, idle_close: str) -> AsyncIterator[Embedded]:
    flags = {"embedded.data_dir": str(folder), "topics.partitions": str(PARTITIONS), "idle_close.sms": idle_close}
    async with embedded_router(load_settings({}, None, flags)) as embedded, asyncio.timeout(30):
        yield embedded


async def texts_arrive(embedded: Embedded) -> None:
    """Many people each send one, all of one moment."""
    raw = {
        "tenant": "acme", "channel": "sms", "direction": "inbound", "occurred_at": "2026-11-22T10:15:30Z",
        "to": "+27110000000",
    }  # fmt: skip
    records = [
        Outgoing(None, orjson.dumps({**raw, "interaction_id": f"SM{nth}", "from": f"+2782{nth:07d}"}))
        for nth in range(MANY)
    ]
    await embedded.log.append("interactions.sms.v1", 0, records)


async def logged(embedded: Embedded) -> int:
    return sum([(await embedded.log.bounds(LOG, at)).end for at in range(PARTITIONS)])


async def policies(embedded: Embedded) -> Sequence[Policy]:
    found = [(await embedded.router.tables.load(at, [POLICY])).rows[0] for at in range(PARTITIONS)]
    rows = [Policy() if each is None else decode_row(each) for each in found]
    return [row for row in rows if isinstance(row, Policy)]


async def due(embedded: Embedded, *, sms_ms: int | None) -> int:
    """Return how many conversations are due at some time, once these settings are in force and indexed by."""
    spans = {} if sms_ms is None else {"sms": sms_ms}

    async def in_force() -> bool:
        return all(row.idle_close_ms == spans and not row.pending for row in await policies(embedded))

    await until(in_force)
    await embedded.shell.settled()
    found = [await embedded.router.tables.scored(at, DUE, low=0, high=1e15, limit=10_000) for at in range(PARTITIONS)]
    return sum(map(len, found))


async def test_open_conversations_are_due_once_idle_closing_is_switched_on(tmp_path: Path) -> None:
    """Switched off again, none is."""
    async with router(tmp_path, idle_close="off") as embedded:
        await texts_arrive(embedded)
        await embedded.shell.settled()
        assert await logged(embedded) == MANY
        assert await due(embedded, sms_ms=None) == 0
    async with router(tmp_path, idle_close="PT10H") as embedded:
        assert await due(embedded, sms_ms=36_000_000) == MANY
    async with router(tmp_path, idle_close="off") as embedded:
        assert await due(embedded, sms_ms=None) == 0


async def test_settings_that_stay_are_written_once(tmp_path: Path) -> None:
    async with router(tmp_path, idle_close="PT10H") as embedded:
        assert await due(embedded, sms_ms=36_000_000) == 0
        written = await logged(embedded)
    async with router(tmp_path, idle_close="PT10H") as embedded:
        await texts_arrive(embedded)
        await embedded.shell.settled()
        assert await logged(embedded) == written + MANY


async def test_a_worker_that_dies_before_its_ticks_leaves_them_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with router(tmp_path, idle_close="off") as embedded:
        await texts_arrive(embedded)
        await embedded.shell.settled()
    scored = EmbeddedTables.scored

    async def failing(
        self: EmbeddedTables, partition: int, name: str, *, low: float, high: float, limit: int
    ) -> Sequence[tuple[str, float]]:
        if name.startswith("open:"):
            raise RetryableError("redis_unavailable", "Redis does not answer.")
        return await scored(self, partition, name, low=low, high=high, limit=limit)

    with monkeypatch.context() as failed:
        failed.setattr(EmbeddedTables, "scored", failing)
        async with router(tmp_path, idle_close="PT10H") as embedded:

            async def told() -> bool:
                return all(row != Policy() for row in await policies(embedded))

            await until(told)
    async with router(tmp_path, idle_close="PT10H") as embedded:
        assert await due(embedded, sms_ms=36_000_000) == MANY


async def test_what_was_still_to_be_decided_at_the_takeover_is_due_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands before the new settings in the log, and so is decided by the old ones."""
    refused = AsyncMock(side_effect=RetryableError("kafka_unavailable", "The log takes no outcomes."))
    with monkeypatch.context() as failed:
        failed.setattr(AssignmentStage, "handle", refused)
        async with router(tmp_path, idle_close="off") as embedded:
            await texts_arrive(embedded)

            async def all_logged() -> bool:
                return await logged(embedded) == MANY

            await until(all_logged)
    async with router(tmp_path, idle_close="PT10H") as embedded:
        assert await due(embedded, sms_ms=36_000_000) == MANY
