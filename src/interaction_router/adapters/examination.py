"""Looks at all that the settings name: servers, topics, tables, clocks, workers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from interaction_router.adapters.kafka import failures as kafka_failures
from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.adapters.kafka.survey import survey
from interaction_router.adapters.kafka.topics import Difference, TopicAdmin, TopicPlan, plan
from interaction_router.adapters.redis import errors as redis_errors
from interaction_router.adapters.redis.client import RedisClient, open_client
from interaction_router.adapters.redis.tables import RedisTables
from interaction_router.application.diagnosis import (
    Check,
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
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.views import HEAD, LOG
from interaction_router.domain.errors import FatalError, RetryableError, RouterError
from interaction_router.domain.names import topic_name
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Log, Tables
from interaction_router.settings import Settings

LIMIT_S = 20.0
"""How long one part of the examination may take."""

ROLES = ("intake", "assignment")
_ADVICE = {"kafka": kafka_failures.AWAY, "redis": redis_errors.AWAY}
_ELSEWHERE = "Look at the lines above."
_TIME = "message.timestamp.type"
_RECORD_BYTES = "max.message.bytes"
_KEEPING = frozenset({"cleanup.policy", "retention.ms", "retention.bytes"})
_LINEAGE = RowKey(HEAD, "lineage")
_SECTIONS = ("server", "memory", "persistence")
_INTERNAL = "internal."


async def examine_servers(settings: Settings) -> list[Check]:
    """Look at Kafka and Redis, at once, then at what they hold; an error of one part hides no other."""
    client = open_client(settings.redis)
    log = KafkaLog(client_options(settings.kafka), settings.namespace, inputs=settings.inputs_namespace)
    tables = RedisTables(client, settings.namespace)
    try:
        parts = await asyncio.gather(
            _guarded("kafka", lambda: _examine_kafka(settings)),
            _guarded("redis", lambda: _examine_redis(client, tables)),
        )
        found = [check for part in parts for check in part]
        if not any(check.verdict == "away" or check.subject == "kafka topics missing" for check in found):
            found += await _guarded("tables", lambda: examine_progress(log, tables))
        return found
    finally:
        await log.stop()
        await client.close()


async def examine_progress(log: Log, tables: Tables) -> list[Check]:
    """Look at how far the tables are, and how the newest stamps compare with this clock."""
    lineage = f"{await log.lineage(LOG)}/{await log.lineage(OUTCOMES)}"
    progress = []
    newest: int | None = None
    for partition in range(await log.partitions(LOG)):
        # The tables first: they are never ahead of an end that is asked for later.
        loaded = await tables.load(partition, [_LINEAGE])
        first, end = await log.bounds(LOG, partition)
        (value,) = loaded.rows
        known = None if value is None else value.decode()
        progress.append(Progress(partition, end, loaded.applied, known, lineage))
        if end > first:
            for record in await log.read(LOG, partition, end - 1, limit=1):
                newest = max(newest or 0, record.timestamp)
    return [*of_progress(progress), of_log_clock(newest, _now_ms())]


async def _examine_kafka(settings: Settings) -> list[Check]:
    options = client_options(settings.kafka)
    inputs = settings.inputs_namespace
    plans = plan(settings.topics, settings.channels)
    own = plan(settings.topics, settings.channels, inputs_elsewhere=inputs is not None)
    topics = [topic_name(settings.namespace, each.stream, inputs) for each in plans]
    facts = await survey(options, settings.namespace, topics=topics, roles=ROLES)
    checks = [*of_nodes(facts), *of_versions(facts)]
    if any(node.trouble is not None or node.lacking for node in facts.nodes):
        return checks
    found = await _guarded("kafka topics", lambda: _examine_topics(settings, own))
    if inputs is not None:
        others = [each for each in plans if each not in own]
        found += await _guarded("kafka inputs", lambda: _examine_inputs(settings, inputs, others))
    return [*checks, of_broker_clock(facts), *found, *of_permissions(facts), *of_groups(facts)]


async def _examine_topics(settings: Settings, plans: Sequence[TopicPlan]) -> list[Check]:
    return of_topics(len(plans), await _differences(settings, settings.namespace, plans))


async def _examine_inputs(settings: Settings, namespace: str, plans: Sequence[TopicPlan]) -> list[Check]:
    return of_inputs(namespace, len(plans), await _differences(settings, namespace, plans))


async def _differences(settings: Settings, namespace: str, plans: Sequence[TopicPlan]) -> list[Difference]:
    admin = TopicAdmin(client_options(settings.kafka), namespace)
    await admin.start()
    try:
        return await admin.diff(plans)
    finally:
        await admin.stop()


def of_topics(count: int, differences: Sequence[Difference]) -> list[Check]:
    """Judge the topics: without one, or with other partitions, workers do not start; the rest may lose records."""
    checks = []
    if missing := sorted(each.stream for each in differences if each.kind == "missing"):
        advice = "Run `interaction-router topics apply`."
        checks.append(Check("kafka topics missing", "fail", ", ".join(missing), advice, "topic_missing"))
    if shaped := sorted(each.stream for each in differences if each.kind == "partitions"):
        advice = "See `interaction-router topics diff`."
        found = f"not as set: {', '.join(shaped)}"
        checks.append(Check("kafka topics partitions", "fail", found, advice, "topic_partitions"))
    checks += [check for each in differences if each.kind == "config" and (check := _of_configuration(each))]
    alarming = {check.subject for check in checks}
    differing = {each.stream for each in differences if each.kind in {"config", "replication"}}
    if rest := sorted(stream for stream in differing if f"kafka topic {stream}" not in alarming):
        advice = "See `interaction-router topics diff`."
        found = f"configured otherwise: {', '.join(rest)}"
        checks.append(Check("kafka topics", "warn", found, advice, "topic_configuration"))
    return checks or [Check("kafka topics", "ok", f"{count} topics are as they should be")]


def of_inputs(namespace: str, count: int, differences: Sequence[Difference]) -> list[Check]:
    """Judge the topics of another router that are read: without one, workers do not start; else they are its affair."""
    missing = sorted(each.stream for each in differences if each.kind == "missing")
    if not missing:
        return [Check("kafka inputs", "ok", f"{count} topics of {namespace} are there")]
    advice = f"Check `inputs_namespace`; whoever runs {namespace} makes them with `interaction-router topics apply`."
    return [Check("kafka inputs missing", "fail", f"of {namespace}: {', '.join(missing)}", advice, "topic_missing")]


def _of_configuration(difference: Difference) -> Check | None:
    """Judge a configuration without which records are lost, refused or stamped wrongly; None of any other."""
    stream, name = difference.stream, difference.name
    if name == _TIME:
        why, code = "log time is the clock of whoever writes", "topic_timestamps"
    elif name in _KEEPING and stream.startswith(_INTERNAL):
        why, code = "what the tables are folded from is not kept", "topic_retention"
    elif name == _RECORD_BYTES and int(difference.found or 0) < int(difference.wanted):
        why, code = "a large record is refused, and its partition stands still", "topic_record_bytes"
    else:
        return None
    found = f"`{name}` is {difference.found} and not {difference.wanted}: {why}"
    return Check(f"kafka topic {stream}", "fail", found, "Run `interaction-router topics apply`.", code)


async def _examine_redis(client: RedisClient, tables: RedisTables) -> list[Check]:
    """Look at the server; where it is not to be used as it is, the rest is told all the same."""
    refusal = None
    try:
        await tables.check()
    except FatalError as error:
        refusal = failed("redis", error)
    about: dict[str, object] = {}
    try:
        for section in _SECTIONS:
            about |= await client.call("", "INFO", section)
        seconds, microseconds = await client.call("", "TIME")
    except FatalError:
        if refusal is None:
            raise
        return [refusal]
    facts = RedisFacts(about, int(seconds) * 1000 + int(microseconds) // 1000)
    return [refusal or redis_named(about), *of_redis(facts, _now_ms())]


async def _guarded(subject: str, part: Callable[[], Awaitable[list[Check]]]) -> list[Check]:
    """Return what a part has found, or the error that it ended with."""
    try:
        async with asyncio.timeout(LIMIT_S):
            return await part()
    except TimeoutError:
        return [
            failed(
                subject,
                RetryableError("no_answer", f"No answer within {LIMIT_S:g} s.", _ADVICE.get(subject, _ELSEWHERE)),
            )
        ]
    except RetryableError as error:
        return [
            failed(subject, RetryableError(error.code, error.cause, error.advice or _ADVICE.get(subject, _ELSEWHERE)))
        ]
    except RouterError as error:
        return [failed(subject, error)]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
