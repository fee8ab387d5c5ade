"""What a worker's probes judge by, on plain values."""

from interaction_router.application.health import LaneState, alive, prepared


def lane(
    *, position: int | None = 5, end: int | None = 9, oldest_ms: int | None = None, idle_since_ms: int = 1_000
) -> LaneState:
    return LaneState(
        "assignment",
        "internal.log",
        3,
        started=True,
        position=position,
        end=end,
        oldest_ms=oldest_ms,
        idle_since_ms=idle_since_ms,
        busy_s=0.0,
    )


def test_a_worker_that_gets_on_lives() -> None:
    assert alive(pulse_age_s=1.0, busy_s={"internal.log:3": 59.0}, limit_s=60.0).well


def test_a_partition_that_stands_still_is_named() -> None:
    verdict = alive(pulse_age_s=1.0, busy_s={"internal.log:3": 61.0, "internal.log:4": 2.0}, limit_s=60.0)
    assert (verdict.well, list(verdict.reasons)) == (False, ["internal.log:3 has made no progress for 61 s"])


def test_an_event_loop_that_stands_still_is_told() -> None:
    verdict = alive(pulse_age_s=75.0, busy_s={}, limit_s=60.0)
    assert (verdict.well, list(verdict.reasons)) == (False, ["the event loop has stood still for 75 s"])


def test_a_worker_without_its_partitions_says_why_it_is_not_ready() -> None:
    assert prepared(ready=True).well
    assert prepared(ready=False).reasons


def test_lag_is_what_is_there_and_not_done() -> None:
    assert lane().lag_records == 4
    assert lane(position=9).lag_records == 0
    assert lane(position=None).lag_records is None
    assert lane(end=None).lag_records is None
    assert lane(position=10).lag_records == 0, "the end was asked before the last batch was done"


def test_lag_in_seconds_is_the_age_of_the_oldest_that_is_not_done() -> None:
    assert lane(oldest_ms=2_000).lag_s(4_500) == 2.5
    assert lane(oldest_ms=None, idle_since_ms=4_000).lag_s(4_500) == 0.5, "there, and not fetched yet"
    assert lane(position=9).lag_s(4_500) == 0.0
    assert lane(oldest_ms=5_000).lag_s(4_500) == 0.0, "a gateway's clock may be ahead"
