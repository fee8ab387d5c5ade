"""Looks at all that the settings name: servers, topics, tables, clocks, workers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.adapters.kafka.survey import survey
from interaction_router.adapters.kafka.topics import Difference, TopicAdmin, plan
from interaction_router.adapters.redis.client import RedisClient, open_client
from interaction_router.adapters.redis.tables import RedisTables
from interaction_router.application.diagnosis import (
    Check,
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
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.views import HEAD, LOG
from interaction_router.domain.errors import RetryableError, RouterError
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Log, Tables
from interaction_router.settings import Settings

LIMIT_S = 20.0
"""How long one part of the examination may take."""

ROLES = ("intake", "assignment")
_ADVICE = {
    "kafka": "Check that the brokers run, and `kafka.bootstrap_servers`.",
    "redis": "Check that the server runs, and `redis.url`.",
    "tables": "Look at the lines above.",
}
_LINEAGE = RowKey(HEAD, "lineage")
_SECTIONS = ("server", "memory", "persistence")


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
    plans = plan(settings.topics, settings.channels, inputs_elsewhere=settings.inputs_namespace is not None)
    streams = [each.stream for each in plans]
    facts = await survey(options, settings.namespace, streams=streams, roles=ROLES)
    checks = of_nodes(facts)
    if any(node.trouble is not None for node in facts.nodes):
        return checks
    admin = TopicAdmin(options, settings.namespace)
    await admin.start()
    try:
        differences = await admin.diff(plans)
    finally:
        await admin.stop()
    return [*checks, *_of_topics(len(plans), differences), of_permissions(facts), *of_groups(facts)]


def _of_topics(count: int, differences: Sequence[Difference]) -> list[Check]:
    """Judge the topics: without one, or with other partitions, workers do not start."""
    missing = sorted(each.stream for each in differences if each.kind == "missing")
    shaped = sorted(each.stream for each in differences if each.kind == "partitions")
    differing = sorted({each.stream for each in differences if each.kind in {"config", "replication"}})
    checks = []
    if missing:
        advice = "Run `interaction-router topics apply`."
        checks.append(Check("kafka topics missing", "fail", ", ".join(missing), advice))
    if shaped:
        advice = "See `interaction-router topics diff`."
        checks.append(Check("kafka topics partitions", "fail", f"not as set: {', '.join(shaped)}", advice))
    if differing:
        advice = "See `interaction-router topics diff`."
        checks.append(Check("kafka topics", "warn", f"configured otherwise: {', '.join(differing)}", advice))
    return checks or [Check("kafka topics", "ok", f"{count} topics are as they should be")]


async def _examine_redis(client: RedisClient, tables: RedisTables) -> list[Check]:
    await tables.check()
    about: dict[str, object] = {}
    for section in _SECTIONS:
        about |= await client.call("", "INFO", section)
    seconds, microseconds = await client.call("", "TIME")
    return of_redis(RedisFacts(about, int(seconds) * 1000 + int(microseconds) // 1000), _now_ms())


async def _guarded(subject: str, part: Callable[[], Awaitable[list[Check]]]) -> list[Check]:
    """Return what a part has found, or the error that it ended with."""
    try:
        async with asyncio.timeout(LIMIT_S):
            return await part()
    except TimeoutError:
        return [failed(subject, RetryableError("no_answer", f"No answer within {LIMIT_S:g} s.", _ADVICE[subject]))]
    except RetryableError as error:
        return [failed(subject, RetryableError(error.code, error.cause, error.advice or _ADVICE[subject]))]
    except RouterError as error:
        return [failed(subject, error)]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
