"""Settings that decide: written to the log at a takeover where they differ, with a tick for what is open."""

import asyncio
from pathlib import Path

import orjson

from interaction_router.application.views import DUE, LOG
from interaction_router.bootstrap.embedded import Embedded, embedded_router
from interaction_router.ports import Outgoing
from interaction_router.settings import load_settings

PARTITIONS = 2


async def _due(embedded: Embedded) -> int:
    tables = embedded.router.tables
    found = [await tables.scored(at, DUE, low=0, high=1e15, limit=10_000) for at in range(PARTITIONS)]
    return sum(map(len, found))


async def test_open_conversations_are_due_once_idle_closing_is_switched_on(tmp_path: Path) -> None:
    """More of them than one tick names, all of one moment; switched off again, none is."""
    flags = {"embedded.data_dir": str(tmp_path), "topics.partitions": str(PARTITIONS)}
    raw = {
        "tenant": "acme",
        "channel": "sms",
        "direction": "inbound",
        "occurred_at": "2026-11-22T10:15:30Z",
        "to": "+27110000000",
    }
    records = [
        Outgoing(None, orjson.dumps({**raw, "interaction_id": f"SM{nth}", "from": f"+2782{nth:07d}"}))
        for nth in range(1200)
    ]
    for span, due in (("off", 0), ("PT10H", 1200), ("off", 0)):
        async with embedded_router(load_settings({}, None, {**flags, "idle_close.sms": span})) as embedded:
            if records:
                await embedded.log.append("interactions.sms.v1", 0, records)
                records = []
            async with asyncio.timeout(30):
                await embedded.shell.settled()
            ends = [(await embedded.log.bounds(LOG, at)).end for at in range(PARTITIONS)]
            assert sum(ends) >= 1200
            assert await _due(embedded) == due
