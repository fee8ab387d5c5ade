"""What facts about the servers mean: fine, worth a look, broken, or away; and what to do about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from interaction_router.domain.errors import RetryableError, RouterError

Verdict = Literal["ok", "warn", "fail", "away"]

CLOCK_WARN_MS: Final = 1_000
CLOCK_FAIL_MS: Final = 60_000
"""Intake does not stamp while its clock is further off."""
MEMORY_WARN: Final = 0.8

READ: Final = 3
WRITE: Final = 4
DESCRIBE: Final = 8
"""Bits of the operations that a broker says are allowed. Source: Apache Kafka, `AclOperation`."""
NOT_SAID: Final = -(1 << 31)

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's: what was looked at, what was found, what to do. `away`: the server does not answer."""

    subject: str
    verdict: Verdict
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A broker as the cluster advertises it, and why it cannot be connected to from here, None where it can."""

    name: str
    host: str
    port: int
    trouble: str | None


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """What Kafka says of itself. `allowed` has the operations of each topic as bits, `members` each group's."""

    bootstrap: Sequence[str]
    nodes: Sequence[Node]
    allowed: Mapping[str, int]
    members: Mapping[str, int]
    newest_stamp_ms: int | None = None


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
    return Check(subject, "away" if isinstance(error, RetryableError) else "fail", error.cause, error.advice)


def of_nodes(facts: BrokerFacts) -> list[Check]:
    """Judge the addresses that the brokers advertise: clients go there, whatever they were started with."""
    checks = [Check("kafka", "ok", f"{', '.join(facts.bootstrap)} answers; {len(facts.nodes)} brokers")]
    away_from_here = any(server.rpartition(":")[0] not in _LOOPBACK for server in facts.bootstrap)
    for node in facts.nodes:
        subject, address = f"kafka broker {node.name}", f"{node.host}:{node.port}"
        if node.trouble is not None:
            advice = "Set the broker's `advertised.listeners` to an address that can be reached from here."
            checks.append(
                Check(subject, "fail", f"advertises {address}, which cannot be reached: {node.trouble}", advice)
            )
        elif away_from_here and node.host in _LOOPBACK:
            advice = "Set the broker's `advertised.listeners` to its own address: this one leads back to the client."
            checks.append(Check(subject, "warn", f"advertises {address}, this very machine", advice))
        else:
            checks.append(Check(subject, "ok", f"advertises {address}, which can be reached"))
    return checks


def of_permissions(facts: BrokerFacts) -> Check:
    """Judge what this user may do."""
    wanted = (1 << READ) | (1 << WRITE) | (1 << DESCRIBE)
    lacking = sorted(topic for topic, bits in facts.allowed.items() if bits != NOT_SAID and (bits & wanted) != wanted)
    if lacking:
        advice = "Allow this user to describe, read and write the topics of the namespace."
        return Check("kafka permissions", "fail", f"no reading or writing of {', '.join(lacking)}", advice)
    return Check("kafka permissions", "ok", f"describe, read and write on {len(facts.allowed)} topics")


def of_groups(facts: BrokerFacts) -> list[Check]:
    """Judge whether somebody works."""
    checks = []
    for group, members in facts.members.items():
        if members:
            checks.append(Check(f"group {group}", "ok", f"{members} members"))
        else:
            advice = "Start `interaction-router worker`: until then nothing is assigned."
            checks.append(Check(f"group {group}", "warn", "no members", advice))
    return checks


def of_log_clock(newest_stamp_ms: int | None, now_ms: int) -> Check:
    """Judge this machine's clock by the newest stamp in the log: one that is ahead would hold intake up."""
    if newest_stamp_ms is None:
        return Check("clock against Kafka", "ok", "nothing is in the log yet")
    ahead_ms = newest_stamp_ms - now_ms
    if ahead_ms > CLOCK_FAIL_MS:
        found = f"the log is stamped {ahead_ms / 1000:.1f} s ahead of this clock"
        return Check("clock against Kafka", "fail", found, "Synchronise the clocks (NTP) of all machines.")
    if ahead_ms > CLOCK_WARN_MS:
        found = f"the log is stamped {ahead_ms / 1000:.1f} s ahead of this clock"
        return Check("clock against Kafka", "warn", found, "Synchronise the clocks (NTP) of all machines.")
    return Check("clock against Kafka", "ok", "the log is not ahead of this clock")


def of_redis(facts: RedisFacts, now_ms: int) -> list[Check]:
    """Judge version, persistence, memory and clock; what may lose rows is judged where the tables open."""
    about = facts.about
    server = "Valkey" if "valkey_version" in about else "Redis"
    version = about.get("valkey_version", about.get("redis_version", "unknown"))
    checks = [Check("redis", "ok", f"{server} {version}, noeviction")]
    appends, saves = bool(about.get("aof_enabled")), int(about.get("rdb_last_save_time", 0))
    if appends:
        checks.append(Check("redis persistence", "ok", "append-only file"))
    else:
        found = "no append-only file" + (", snapshots only" if saves else "")
        advice = "Set `appendonly yes`, or expect the tables to be folded from Kafka again after a restart."
        checks.append(Check("redis persistence", "warn", found, advice))
    used, most = int(about.get("used_memory", 0)), int(about.get("maxmemory", 0))
    if most and used > MEMORY_WARN * most:
        advice = "Raise `maxmemory`: when it is full, nothing is assigned."
        checks.append(Check("redis memory", "warn", f"{used / most:.0%} of {most >> 20} MiB used", advice))
    else:
        limit = f"of {most >> 20} MiB" if most else "without a limit"
        checks.append(Check("redis memory", "ok", f"{used >> 20} MiB used {limit}"))
    off_ms = abs(facts.clock_ms - now_ms)
    verdict: Verdict = "fail" if off_ms > CLOCK_FAIL_MS else "warn" if off_ms > CLOCK_WARN_MS else "ok"
    advice = "" if verdict == "ok" else "Synchronise the clocks (NTP) of all machines."
    checks.append(Check("clock against Redis", verdict, f"{off_ms / 1000:.1f} s apart", advice))
    return checks


def of_progress(partitions: Sequence[Progress]) -> list[Check]:
    """Judge the tables against the log: of another topic, ahead of it, behind it."""
    checks = []
    strange = [each.partition for each in partitions if each.lineage not in {None, each.lineage_now}]
    ahead = [each.partition for each in partitions if each.applied >= each.end]
    if strange or ahead:
        told = ", ".join(map(str, sorted({*strange, *ahead})))
        found = f"partitions {told} are of another log than the one that is there now"
        advice = "Where the topics were made anew: `interaction-router state rebuild`."
        checks.append(Check("tables", "fail", found, advice))
    else:
        behind = sum(each.end - 1 - each.applied for each in partitions)
        if behind:
            advice = "It passes by itself where workers run; see how it changes."
            checks.append(Check("tables", "warn", f"{behind} records are not decided yet", advice))
        else:
            checks.append(Check("tables", "ok", f"{len(partitions)} partitions, all decided"))
    return checks
