"""What facts about the servers mean: fine, worth a look, broken, or away; and what to do about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from interaction_router.domain.errors import RetryableError, RouterError

Verdict = Literal["ok", "warn", "fail", "away"]

CLOCK_WARN_MS: Final = 1_000
CLOCK_FAIL_MS: Final = 60_000
"""What is idle closes as much too late as the clock of its partition's owner is behind the brokers'."""
MEMORY_WARN: Final = 0.8

READ: Final = 3
WRITE: Final = 4
DESCRIBE: Final = 8
DESCRIBE_CONFIGS: Final = 10
"""Bits of the operations that a broker says are allowed. Source: Apache Kafka, `AclOperation`."""
NOT_SAID: Final = -(1 << 31)

OLDEST_KAFKA: Final = "3.1"
"""The first one that tells a topic's id, by which a topic that was made anew is known (Metadata, version 12)."""
SYNCHRONISE: Final = "Synchronise the clocks (NTP) of all machines."

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's: what was looked at, what was found, what to do. `away`: the server does not answer.

    `code` names what is wrong, for programs; empty where nothing is.
    """

    subject: str
    verdict: Verdict
    found: str
    advice: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A broker as the cluster advertises it, and why it cannot be connected to from here, None where it can.

    `release` is the oldest that speaks as it does, None where it is older than any that will do; `lacking` names the
    requests that it and this program have no version of in common.
    """

    name: str
    host: str
    port: int
    trouble: str | None
    release: str | None = OLDEST_KAFKA
    lacking: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """What Kafka says of itself.

    `allowed` has the operations of each topic as bits; `members` how many each group has, None where this user may not
    see it. `clock_ms` is how far the controller's clock is ahead of this one, or why nobody knows.
    """

    bootstrap: Sequence[str]
    nodes: Sequence[Node]
    allowed: Mapping[str, int]
    members: Mapping[str, int | None]
    clock_ms: int | Literal["forbidden", "not_told"] = "not_told"


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What Redis says of itself."""

    about: Mapping[str, Any]  # Any: the fields of INFO
    clock_ms: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one partition is: the end of the internal log, and the last offset that the tables have."""

    partition: int
    end: int
    applied: int
    lineage: str | None
    lineage_now: str


def failed(subject: str, error: RouterError) -> Check:
    """Return the check that ended with an error."""
    verdict: Verdict = "away" if isinstance(error, RetryableError) else "fail"
    return Check(subject, verdict, error.cause, error.advice, error.code)


def of_nodes(facts: BrokerFacts) -> list[Check]:
    """Judge the addresses that the brokers advertise: clients go there, whatever they were started with."""
    checks = [Check("kafka", "ok", f"{', '.join(facts.bootstrap)} answers; {len(facts.nodes)} brokers")]
    away_from_here = any(server.rpartition(":")[0] not in _LOOPBACK for server in facts.bootstrap)
    for node in facts.nodes:
        subject, address = f"kafka broker {node.name}", f"{node.host}:{node.port}"
        if node.trouble is not None:
            advice = "Set the broker's `advertised.listeners` to an address that can be reached from here."
            found = f"advertises {address}, which cannot be reached: {node.trouble}"
            checks.append(Check(subject, "fail", found, advice, "advertised_unreachable"))
        elif away_from_here and node.host in _LOOPBACK:
            advice = "Set the broker's `advertised.listeners` to its own address: this one leads back to the client."
            found = f"advertises {address}, this very machine"
            checks.append(Check(subject, "warn", found, advice, "advertised_loopback"))
        else:
            checks.append(Check(subject, "ok", f"advertises {address}, which can be reached"))
    return checks


def of_versions(facts: BrokerFacts) -> list[Check]:
    """Judge what the brokers speak; those that cannot be reached say nothing. Kafka does not tell its release."""
    reached = [node for node in facts.nodes if node.trouble is None]
    checks = []
    for node in reached:
        if node.lacking:
            found = f"broker {node.name} speaks no known version of {', '.join(node.lacking)}"
            advice = f"Use Kafka {OLDEST_KAFKA} or later, or a broker that speaks its requests."
            checks.append(Check("kafka version", "fail", found, advice, "kafka_version"))
    releases = sorted({node.release for node in reached if node.release is not None})
    if len(releases) > 1:
        advice = "It is well during an upgrade; end it."
        found = f"the brokers speak as different releases do: {', '.join(releases)}"
        checks.append(Check("kafka version", "warn", found, advice, "kafka_versions_differ"))
    elif releases and not checks:
        checks.append(Check("kafka version", "ok", f"speaks as Kafka {releases[0]} or later does"))
    return checks


def of_permissions(facts: BrokerFacts) -> list[Check]:
    """Judge what this user may do."""
    lacking = _lacking(facts, READ, WRITE, DESCRIBE)
    hidden = [group for group, members in facts.members.items() if members is None]
    checks = []
    if lacking:
        advice = "Allow this user Describe, Read and Write on the topics of the namespace."
        found = f"no reading or writing of {', '.join(lacking)}"
        checks.append(Check("kafka permissions", "fail", found, advice, "topics_forbidden"))
    if hidden:
        advice = "Allow this user Read on the groups: workers join them."
        found = f"no joining of {', '.join(hidden)}"
        checks.append(Check("kafka permissions", "fail", found, advice, "groups_forbidden"))
    if not checks and (unseen := _lacking(facts, DESCRIBE_CONFIGS)):
        advice = "Allow this user DescribeConfigs on them, or run `interaction-router topics check` as one who may."
        found = f"the configurations of {', '.join(unseen)} may not be seen"
        checks.append(Check("kafka permissions", "warn", found, advice, "configurations_hidden"))
    return checks or [Check("kafka permissions", "ok", f"describe, read and write on {len(facts.allowed)} topics")]


def _lacking(facts: BrokerFacts, *operations: int) -> list[str]:
    wanted = sum(1 << operation for operation in operations)
    return sorted(topic for topic, bits in facts.allowed.items() if bits != NOT_SAID and (bits & wanted) != wanted)


def of_groups(facts: BrokerFacts) -> list[Check]:
    """Judge whether somebody works."""
    checks = []
    for group, members in facts.members.items():
        if members:
            checks.append(Check(f"group {group}", "ok", f"{members} members"))
        elif members is not None:
            advice = "Start `interaction-router worker`: until then nothing is assigned."
            checks.append(Check(f"group {group}", "warn", "no members", advice, "no_worker"))
    return checks


def of_broker_clock(facts: BrokerFacts) -> Check:
    """Judge the controller's clock, the only one of Kafka's that can be read without writing a record."""
    subject = "clock of Kafka's controller"
    match facts.clock_ms:
        case int(ahead_ms):
            return _of_clock(subject, ahead_ms, "Rules decide by the brokers' time.")
        case "forbidden":
            advice = f"Allow this user Describe on the cluster. {SYNCHRONISE}"
            return Check(subject, "warn", "this user may not ask for it", advice, "clock_unknown")
        case _:
            found = "this Kafka does not tell it, so nothing shows whether its clock is behind"
            return Check(subject, "warn", found, SYNCHRONISE, "clock_unknown")


def of_log_clock(newest_stamp_ms: int | None, now_ms: int) -> Check:
    """Judge this machine's clock by the newest stamp in the log, which is the broker's.

    A stamp is as old as its record: of a clock that is behind it says nothing.
    """
    subject = "clock against the log"
    if newest_stamp_ms is None:
        return Check(subject, "ok", "nothing is in the log yet")
    ahead_ms = newest_stamp_ms - now_ms
    if ahead_ms <= CLOCK_WARN_MS:
        return Check(subject, "ok", "the log is not stamped ahead of this clock")
    return _of_clock(subject, ahead_ms, "A partition's time never goes back.")


def _of_clock(subject: str, ahead_ms: int, why: str) -> Check:
    """Judge a clock by how far it is ahead of this machine's; one that is behind is as wrong."""
    off_ms = abs(ahead_ms)
    found = f"{off_ms / 1000:.1f} s {'ahead of' if ahead_ms >= 0 else 'behind'} this clock"
    if off_ms <= CLOCK_WARN_MS:
        return Check(subject, "ok", found)
    verdict: Verdict = "fail" if off_ms > CLOCK_FAIL_MS else "warn"
    return Check(subject, verdict, found, f"{SYNCHRONISE} {why}".rstrip(), "clock_off")


def of_redis(facts: RedisFacts, now_ms: int) -> list[Check]:
    """Judge persistence, memory and clock; what may lose rows is judged where the tables open."""
    return [
        _of_persistence(facts.about),
        _of_memory(facts.about),
        _of_clock("clock of Redis", facts.clock_ms - now_ms, ""),
    ]


def redis_named(about: Mapping[str, Any]) -> Check:
    """Name a server that passed the check of the tables."""
    server = "Valkey" if "valkey_version" in about else "Redis"
    version = about.get("valkey_version", about.get("redis_version", "unknown"))
    return Check("redis", "ok", f"{server} {version}, maxmemory-policy noeviction")


def _of_persistence(about: Mapping[str, Any]) -> Check:
    """Judge what a restart of Redis costs: never data, since the tables are folded from Kafka."""
    subject = "redis persistence"
    if about.get("aof_last_write_status", "ok") != "ok" or about.get("rdb_last_bgsave_status", "ok") != "ok":
        advice = "Look at its disk and its log: it may refuse writes, and then nothing is assigned."
        return Check(subject, "warn", "the last write to its disk failed", advice, "redis_disk")
    if about.get("aof_enabled"):
        return Check(subject, "ok", "append-only file")
    found = "no append-only file: after a restart the tables are folded from Kafka again"
    return Check(subject, "ok", found, "Where that takes too long: `appendonly yes`.")


def _of_memory(about: Mapping[str, Any]) -> Check:
    used, most = int(about.get("used_memory", 0)), int(about.get("maxmemory", 0))
    if most and used >= most:
        advice = "Raise `maxmemory`, or free memory of others: nothing is assigned."
        return Check("redis memory", "fail", f"{used >> 20} MiB used of {most >> 20} MiB", advice, "redis_full")
    if most and used > MEMORY_WARN * most:
        advice = "Raise `maxmemory`: when it is full, nothing is assigned."
        return Check("redis memory", "warn", f"{used / most:.0%} of {most >> 20} MiB used", advice, "redis_memory")
    limit = f"of {most >> 20} MiB" if most else "without a limit"
    return Check("redis memory", "ok", f"{used >> 20} MiB used {limit}")


def of_progress(partitions: Sequence[Progress]) -> list[Check]:
    """Judge the tables against the log: of another topic, ahead of it, behind it."""
    checks = []
    strange = [each.partition for each in partitions if each.lineage not in {None, each.lineage_now}]
    ahead = [each.partition for each in partitions if each.applied >= each.end]
    if strange or ahead:
        told = ", ".join(map(str, sorted({*strange, *ahead})))
        found = f"partitions {told} are of another log than the one that is there now"
        advice = "Where the topics were made anew: `interaction-router state rebuild`."
        checks.append(Check("tables", "fail", found, advice, "tables_of_another_log"))
    else:
        behind = sum(each.end - 1 - each.applied for each in partitions)
        if behind:
            advice = "It passes by itself where workers run; see how it changes."
            checks.append(Check("tables", "warn", f"{behind} records are not decided yet", advice, "lag"))
        else:
            checks.append(Check("tables", "ok", f"{len(partitions)} partitions, all decided"))
    return checks
