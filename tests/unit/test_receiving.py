"""What every receiver stands on, without a receiver."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interaction_router.bootstrap.receiving import meanwhile
from interaction_router.domain.errors import FatalError
from interaction_router.receivers.kept import Kept


async def test_what_is_done_meanwhile_ends_with_the_context() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with meanwhile(work(), name="work"):
        await asyncio.sleep(0)
        assert not ended.is_set()
    assert ended.is_set()


async def test_a_failure_of_what_is_done_meanwhile_ends_the_receiver() -> None:
    async def work() -> None:
        raise FatalError("spool_unusable", "gone")

    with pytest.raises(FatalError):
        async with meanwhile(work(), name="work"):
            await asyncio.Event().wait()


def test_saves_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "router", "ami")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: kept.save(("acme",), [number] * 2_000), range(400)))
    assert len(set(kept.load(("acme",)))) == 1
