"""What the doctor makes of facts."""

import pytest

from interaction_router.application.diagnosis import (
    BrokerFacts,
    Node,
    Progress,
    RedisFacts,
    failed,
    of_groups,
    of_log_clock,
    of_nodes,
    of_permissions,
    of_progress,
    of_redis,
)
from interaction_router.domain.errors import FatalError, RetryableError

NOW_MS = 1_795_000_000_000
ALL = (1 << 3) | (1 << 4) | (1 << 8)


def facts(
    *,
    bootstrap: tuple[str, ...] = ("kafka-1:9092",),
    host: str = "kafka-1",
    trouble: str | None = None,
    allowed: dict[str, int] | None = None,
    members: dict[str, int] | None = None,
) -> BrokerFacts:
    return BrokerFacts(bootstrap, [Node("1", host, 9092, trouble)], allowed or {}, members or {})


def test_an_advertised_address_that_cannot_be_reached_fails_with_the_remedy() -> None:
    _, check = of_nodes(facts(host="kafka.internal", trouble="Name or service not known"))
    assert check.verdict == "fail"
    assert "kafka.internal:9092" in check.found
    assert "advertised.listeners" in check.advice


@pytest.mark.parametrize(
    ("bootstrap", "host", "verdict"),
    [("kafka-1:9092", "kafka-1", "ok"), ("kafka-1:9092", "localhost", "warn"), ("127.0.0.1:9092", "localhost", "ok")],
)
def test_a_broker_that_advertises_the_client_itself_is_suspicious(bootstrap: str, host: str, verdict: str) -> None:
    _, check = of_nodes(facts(bootstrap=(bootstrap,), host=host))
    assert check.verdict == verdict


@pytest.mark.parametrize(
    ("bits", "verdict"), [(ALL, "ok"), (-(1 << 31), "ok"), (ALL & ~(1 << 4), "fail"), (1 << 8, "fail"), (0, "fail")]
)
def test_permissions_are_describe_read_and_write(bits: int, verdict: str) -> None:
    check = of_permissions(facts(allowed={"router.contacts.v1": bits}))
    assert check.verdict == verdict
    assert ("router.contacts.v1" in check.found) is (verdict == "fail")


def test_a_group_without_members_is_told_how_to_get_one() -> None:
    idle, busy = of_groups(facts(members={"router-intake": 0, "router-assignment": 2}))
    assert (idle.verdict, busy.verdict) == ("warn", "ok")
    assert "interaction-router worker" in idle.advice


@pytest.mark.parametrize(("ahead_ms", "verdict"), [(-3_600_000, "ok"), (500, "ok"), (5_000, "warn"), (61_000, "fail")])
def test_a_log_ahead_of_this_clock_holds_intake_up(ahead_ms: int, verdict: str) -> None:
    assert of_log_clock(NOW_MS + ahead_ms, NOW_MS).verdict == verdict
    assert of_log_clock(None, NOW_MS).verdict == "ok"


def redis_verdicts(clock_ms: int = NOW_MS, **about: object) -> dict[str, str]:
    known = {"redis_version": "7.4.0", "aof_enabled": 1, "used_memory": 1 << 20, "maxmemory": 0, **about}
    return {check.subject: check.verdict for check in of_redis(RedisFacts(known, clock_ms), NOW_MS)}


def test_redis_persistence_memory_and_clock() -> None:
    assert set(redis_verdicts().values()) == {"ok"}
    assert redis_verdicts(aof_enabled=0)["redis persistence"] == "warn"
    assert redis_verdicts(used_memory=90 << 20, maxmemory=100 << 20)["redis memory"] == "warn"
    assert redis_verdicts(used_memory=70 << 20, maxmemory=100 << 20)["redis memory"] == "ok"
    assert redis_verdicts(clock_ms=NOW_MS - 2_000)["clock against Redis"] == "warn"
    assert redis_verdicts(clock_ms=NOW_MS + 61_000)["clock against Redis"] == "fail"


def test_valkey_is_called_by_its_name() -> None:
    known = {"redis_version": "7.2.4", "valkey_version": "9.1.2"}
    assert of_redis(RedisFacts(known, NOW_MS), NOW_MS)[0].found.startswith("Valkey 9.1.2")


@pytest.mark.parametrize(
    ("progress", "verdict"),
    [
        (Progress(0, 5, 4, "a/b", "a/b"), "ok"),
        (Progress(0, 0, -1, None, "a/b"), "ok"),
        (Progress(0, 9, 4, "a/b", "a/b"), "warn"),
        (Progress(0, 4, 4, "a/b", "a/b"), "fail"),
        (Progress(0, 5, 4, "x/b", "a/b"), "fail"),
    ],
)
def test_tables_behind_ahead_and_of_another_log(progress: Progress, verdict: str) -> None:
    (check,) = of_progress([progress])
    assert check.verdict == verdict
    assert ("state rebuild" in check.advice) is (verdict == "fail")


def test_an_error_is_away_or_a_failure() -> None:
    assert failed("redis", RetryableError("redis_unreachable", "No connection.")).verdict == "away"
    assert failed("redis", FatalError("redis_eviction", "It evicts.", "Mend it.")).advice == "Mend it."
