"""What the doctor makes of facts."""

from typing import Literal

import pytest

from interaction_router.adapters.examination import of_topics
from interaction_router.adapters.kafka.survey import lacking_of, release_of
from interaction_router.adapters.kafka.topics import Difference
from interaction_router.application.diagnosis import (
    BrokerFacts,
    Node,
    Progress,
    RedisFacts,
    failed,
    of_broker_clock,
    of_groups,
    of_log_clock,
    of_nodes,
    of_permissions,
    of_progress,
    of_redis,
    of_versions,
    redis_named,
)
from interaction_router.domain.errors import FatalError, RetryableError

NOW_MS = 1_795_000_000_000
ALL = (1 << 3) | (1 << 4) | (1 << 8) | (1 << 10)
KAFKA_3_9 = {
    key: (0, highest)
    for key, highest in {0: 11, 1: 17, 2: 9, 3: 12, 8: 9, 9: 9, 10: 6, 11: 9, 12: 4, 13: 5, 14: 5, 15: 5}.items()
} | {19: (0, 7), 21: (0, 2), 22: (0, 5), 32: (0, 4), 44: (0, 1)}
"""What a broker answers when it is asked for its versions, as far as it matters here."""


def facts(
    *,
    bootstrap: tuple[str, ...] = ("kafka-1:9092",),
    host: str = "kafka-1",
    trouble: str | None = None,
    allowed: dict[str, int] | None = None,
    members: dict[str, int | None] | None = None,
    clock_ms: int | Literal["forbidden", "not_told"] = 0,
) -> BrokerFacts:
    return BrokerFacts(bootstrap, [Node("1", host, 9092, trouble)], allowed or {}, members or {}, clock_ms)


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


def test_a_broker_that_is_too_old_fails_with_the_release_to_use() -> None:
    nodes = [Node("1", "a", 9092, None), Node("2", "b", 9092, None, None, ("Metadata",))]
    (old,) = of_versions(BrokerFacts(("a:9092",), nodes, {}, {}))[:1]
    assert (old.verdict, old.code) == ("fail", "kafka_version")
    assert "broker 2" in old.found
    assert "Kafka 3.1 or later" in old.advice


@pytest.mark.parametrize(("second", "verdict"), [("4.0", "warn"), ("3.7", "ok")])
def test_brokers_of_two_releases_are_told(second: str, verdict: str) -> None:
    nodes = [Node("1", "a", 9092, None, "3.7"), Node("2", "b", 9092, None, second)]
    (check,) = of_versions(BrokerFacts(("a:9092",), nodes, {}, {}))
    assert check.verdict == verdict


def test_the_release_of_a_broker_is_known_by_what_it_speaks() -> None:
    assert (release_of(KAFKA_3_9), lacking_of(KAFKA_3_9)) == ("3.7", [])
    assert release_of(KAFKA_3_9 | {3: (0, 13)}) == "4.0"
    kafka_2_8 = KAFKA_3_9 | {3: (0, 11), 1: (0, 12)}
    assert (release_of(kafka_2_8), lacking_of(kafka_2_8)) == (None, ["Metadata"])
    without = {key: versions for key, versions in KAFKA_3_9.items() if key != 44}
    assert lacking_of(without) == ["IncrementalAlterConfigs"]


@pytest.mark.parametrize(
    ("bits", "verdict"),
    [
        (ALL, "ok"),
        (-(1 << 31), "ok"),
        (ALL & ~(1 << 10), "warn"),
        (ALL & ~(1 << 4), "fail"),
        (1 << 8, "fail"),
        (0, "fail"),
    ],
)
def test_permissions_are_describe_read_and_write(bits: int, verdict: str) -> None:
    (check,) = of_permissions(facts(allowed={"router.contacts.v1": bits}))
    assert check.verdict == verdict
    assert ("router.contacts.v1" in check.found) is (verdict != "ok")
    assert bool(check.code) is (verdict != "ok")


def test_a_group_that_may_not_be_joined_is_a_permission() -> None:
    hidden = facts(allowed={"router.contacts.v1": ALL}, members={"router-intake": None})
    (check,) = of_permissions(hidden)
    assert (check.verdict, check.code, of_groups(hidden)) == ("fail", "groups_forbidden", [])


@pytest.mark.parametrize(
    ("name", "stream", "found", "wanted", "verdict", "code"),
    [
        ("message.timestamp.type", "internal.log", "CreateTime", "LogAppendTime", "fail", "topic_timestamps"),
        ("retention.ms", "internal.outcomes", "604800000", "-1", "fail", "topic_retention"),
        ("cleanup.policy", "internal.log", "compact", "delete", "fail", "topic_retention"),
        ("max.message.bytes", "contacts.v1", "1048588", "2097152", "fail", "topic_record_bytes"),
        ("max.message.bytes", "contacts.v1", "4194304", "2097152", "warn", "topic_configuration"),
        ("retention.ms", "contacts.v1", "3600000", "604800000", "warn", "topic_configuration"),
    ],
)
def test_a_configuration_that_loses_or_refuses_records_fails(
    name: str, stream: str, found: str, wanted: str, verdict: str, code: str
) -> None:
    (check,) = of_topics(1, [Difference("config", stream, name, wanted, found, True)])
    assert (check.verdict, check.code) == (verdict, code)
    assert "topics" in check.advice


@pytest.mark.parametrize(
    ("ahead_ms", "verdict", "told"),
    [(300, "ok", "ahead"), (5_000, "warn", "ahead"), (-5_000, "warn", "behind"), (-61_000, "fail", "behind")],
)
def test_a_controller_whose_clock_is_off_either_way_is_seen(ahead_ms: int, verdict: str, told: str) -> None:
    check = of_broker_clock(facts(clock_ms=ahead_ms))
    assert (check.verdict, told in check.found, "NTP" in check.advice) == (verdict, True, verdict != "ok")


def test_a_clock_that_nobody_can_read_is_said_to_be_unknown() -> None:
    forbidden, silent = (of_broker_clock(facts(clock_ms=why)) for why in ("forbidden", "not_told"))
    assert forbidden.code == silent.code == "clock_unknown"
    assert "Describe on the cluster" in forbidden.advice
    assert "nothing shows" in silent.found


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
    assert redis_verdicts(aof_enabled=0)["redis persistence"] == "ok"
    assert redis_verdicts(aof_enabled=0, rdb_last_bgsave_status="err")["redis persistence"] == "warn"
    assert redis_verdicts(used_memory=90 << 20, maxmemory=100 << 20)["redis memory"] == "warn"
    assert redis_verdicts(used_memory=100 << 20, maxmemory=100 << 20)["redis memory"] == "fail"
    assert redis_verdicts(used_memory=70 << 20, maxmemory=100 << 20)["redis memory"] == "ok"
    assert redis_verdicts(clock_ms=NOW_MS - 2_000)["clock of Redis"] == "warn"
    assert redis_verdicts(clock_ms=NOW_MS + 61_000)["clock of Redis"] == "fail"


def test_a_redis_without_append_only_is_well_and_says_what_a_restart_costs() -> None:
    (check, *_) = of_redis(RedisFacts({"aof_enabled": 0}, NOW_MS), NOW_MS)
    assert (check.verdict, check.code) == ("ok", "")
    assert "folded from Kafka again" in check.found
    assert "appendonly yes" in check.advice


def test_valkey_is_called_by_its_name() -> None:
    known = {"redis_version": "7.2.4", "valkey_version": "9.1.2"}
    assert redis_named(known).found.startswith("Valkey 9.1.2")


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
    evicts = failed("redis", FatalError("redis_eviction", "It evicts.", "Mend it."))
    assert (evicts.code, evicts.advice) == ("redis_eviction", "Mend it.")
