"""A part of `make faults`: real servers and workers are killed, paused, wiped and cut under load."""

from pathlib import Path

import pytest

from tests.faults.real.run import run

FAULTS = 8
SECONDS = 90.0
"""Workers, Redis, a broker and leaders; `make faults` goes on with networks, and again, for minutes."""


@pytest.mark.usefixtures("broker", "redis_server")
async def test_real_faults_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    report = await run(tmp_path, faults=FAULTS, seconds=SECONDS)
    assert report.holds, "\n".join(report.differences[:20])
    assert report.updates > report.repeated > 0
    assert report.rows
