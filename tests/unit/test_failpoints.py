"""Where a test lets the process die, hang or fail: how it is written, and that it happens once, there."""

import asyncio
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry

from interaction_router.adapters.failpoints import Failpoints
from interaction_router.adapters.prometheus import Meters
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.domain.errors import RetryableError
from interaction_router.ports import Gap
from interaction_router.settings import SettingsError, load_settings
from interaction_router.settings.failpoints import Failpoint, parse_failpoints
from interaction_router.telemetry import GAPS, STEPS


def test_points_are_written_in_one_line() -> None:
    assert parse_failpoints("outcomes_acknowledged=die@3; tables_applied = hang;") == (
        Failpoint("outcomes_acknowledged", "die", 3),
        Failpoint("tables_applied", "hang", 1),
    )


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("outcomes=die", "a gap that there is not: outcomes"),
        ("decided", "die, hang or fail for decided"),
        ("decided=explode", "die, hang or fail for decided"),
        ("decided=die@0", "from 1 on, for decided"),
        ("decided=die@often", "from 1 on, for decided"),
    ],
)
def test_what_cannot_be_read_is_a_wrong_setting(text: str, cause: str) -> None:
    with pytest.raises(SettingsError, match=cause):
        load_settings({"INTERACTION_ROUTER_FAILPOINTS": text}, None, {})


def test_every_gap_has_its_caption() -> None:
    assert list(GAPS) == list(get_args(Gap))
    assert STEPS.keys() <= GAPS.keys()


def points(text: str, died: list[str]) -> Failpoints:
    return Failpoints(parse_failpoints(text), UNOBSERVED, die=lambda: died.append("died"))


async def test_it_dies_at_that_time_only() -> None:
    died: list[str] = []
    observer = points("decided=die@2", died)
    for times in range(1, 5):
        await observer.reached("polled", 0)
        await observer.reached("decided", times)
        assert len(died) == (1 if times >= 2 else 0)


async def test_it_fails_as_a_server_does_that_does_not_answer() -> None:
    observer = points("decided=fail", [])
    with pytest.raises(RetryableError, match="decided"):
        await observer.reached("decided", 0)
    await observer.reached("decided", 0)


async def test_it_hangs_until_it_is_cancelled() -> None:
    hanging = asyncio.create_task(points("decided=hang", []).reached("decided", 0))
    done, _ = await asyncio.wait({hanging}, timeout=0.01)
    assert not done
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging


async def test_between_request_and_answer_the_request_is_under_way() -> None:
    done: list[str] = []

    async def effect() -> str:
        await asyncio.sleep(0)
        done.append("effect")
        return "answer"

    with pytest.raises(RetryableError):
        await points("outcomes_produced=fail", []).during("outcomes_produced", effect())
    assert done == ["effect"]
    assert await points("", []).during("outcomes_produced", effect()) == "answer"


async def test_the_steps_of_a_batch_are_measured_by_their_gaps() -> None:
    registry = CollectorRegistry()
    observer = Failpoints((), Meters(registry), die=lambda: None)
    for gap in ("polled", "rows_loaded", "decided"):
        await observer.reached(gap, 3)
    count = "interaction_router_step_seconds_count"
    told = [
        registry.get_sample_value(count, {"stage": "assignment", "step": step})
        for step in ("load", "decide", "outcomes")
    ]
    assert told == [1, 1, 0]
