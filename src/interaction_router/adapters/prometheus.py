"""The metrics of `telemetry.py`, kept for Prometheus to fetch."""

import time
from collections import Counter as Counts
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from interaction_router import telemetry
from interaction_router.application.health import LaneState
from interaction_router.domain.events import AliasMade, Conflicted, Decision, Outcome, RowGone, RowPut
from interaction_router.ports import Gap
from interaction_router.telemetry import PREFIX, Metric

T = TypeVar("T")

_WITHOUT_RULE: Final = (RowPut, RowGone, Conflicted, AliasMade)


class Meters:
    """All metrics of one worker; satisfies `ports.Observer`. Safe to write and to read in different threads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every metric; a registry takes them once."""
        self._registry = registry
        ProcessCollector(registry=registry)
        self._ready = _gauge(telemetry.READY, registry)
        self._partitions = _gauge(telemetry.PARTITIONS, registry)
        self._lag_records = _gauge(telemetry.LAG_RECORDS, registry)
        self._lag_seconds = _gauge(telemetry.LAG_SECONDS, registry)
        self._standstill = _gauge(telemetry.STANDSTILL, registry)
        self._batch_records = _histogram(telemetry.BATCH_RECORDS, registry)
        self._batch_seconds = _histogram(telemetry.BATCH_SECONDS, registry)
        self._decisions = _counter(telemetry.DECISIONS, registry)
        self._dead_letters = _counter(telemetry.DEAD_LETTERS, registry)
        self._takeovers = _counter(telemetry.TAKEOVERS, registry)
        self._takeovers_running = _gauge(telemetry.TAKEOVERS_RUNNING, registry)
        self._takeover_seconds = _histogram(telemetry.TAKEOVER_TIME, registry)
        self._cache_lookups = _counter(telemetry.CACHE_LOOKUPS, registry)
        self._cache_rows = _gauge(telemetry.CACHE_ROWS, registry)
        self._kafka_seconds = _histogram(telemetry.KAFKA_SECONDS, registry)
        self._redis_seconds = _histogram(telemetry.REDIS_SECONDS, registry)
        self._unavailable = _counter(telemetry.UNAVAILABLE, registry)
        self._ticks = _counter(telemetry.TICKS, registry)
        self._rows: dict[int, int] = {}
        seconds = _histogram(telemetry.STEP_SECONDS, registry)
        self._steps = {gap: seconds.labels(*step) for gap, step in telemetry.STEPS.items()}
        self._since_s: dict[int | str, float] = {}

    async def reached(self, gap: Gap, at: int | str) -> None:
        """Measure the step that ends there."""
        now_s = time.perf_counter()
        step = self._steps.get(gap)
        if step is not None:
            step.observe(now_s - self._since_s.get(at, now_s))
        self._since_s[at] = now_s

    async def during(self, gap: Gap, effect: Awaitable[T]) -> T:
        """Let it happen."""
        del gap
        return await effect

    def decided(self, outcomes: Sequence[Outcome]) -> None:
        """Count a batch's decisions by their rules."""
        for rule, count in Counts([_rule(outcome.decision) for outcome in outcomes]).items():
            self._decisions.labels(rule).inc(count)

    def looked_up(self, *, hits: int, misses: int) -> None:
        """Count rows that were wanted."""
        self._cache_lookups.labels("hit").inc(hits)
        self._cache_lookups.labels("miss").inc(misses)

    def cached(self, partition: int, rows: int) -> None:
        """Keep how many rows of the partition are in memory."""
        self._rows[partition] = rows
        self._cache_rows.set(sum(self._rows.values()))

    @contextmanager
    def taking_over(self) -> Iterator[None]:
        """Measure a takeover."""
        started = time.monotonic()
        result = "failed"
        self._takeovers_running.inc()
        try:
            yield
            result = "done"
        finally:
            self._takeovers_running.dec()
            self._takeovers.labels(result).inc()
            self._takeover_seconds.observe(time.monotonic() - started)

    def ticked(self, conversations: int) -> None:
        """Count conversations of a tick."""
        self._ticks.inc(conversations)

    def batch(self, stage: str, records: int, seconds: float) -> None:
        """Take note of a batch that is done."""
        self._batch_records.labels(stage).observe(records)
        self._batch_seconds.labels(stage).observe(seconds)

    def kafka(self, call: str, stream: str, seconds: float) -> None:
        """Take note of a wait for Kafka."""
        self._kafka_seconds.labels(call, stream).observe(seconds)

    def redis(self, call: str, seconds: float) -> None:
        """Take note of a wait for Redis."""
        self._redis_seconds.labels(call).observe(seconds)

    def unavailable(self, server: str, code: str) -> None:
        """Count a call that was not answered."""
        self._unavailable.labels(server, code).inc()

    def dead_letters(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Count dead letters by stage and code."""
        for (stage, code), count in counts.items():
            self._dead_letters.labels(stage, code).inc(count)

    def exposition(self, states: Sequence[LaneState], *, ready: bool, now_ms: int) -> bytes:
        """Return all of it as Prometheus reads it, with how far the partitions are now."""
        self._ready.set(ready)
        for gauge in (self._partitions, self._lag_records, self._lag_seconds, self._standstill):
            gauge.clear()
        for stage, count in Counts(state.stage for state in states).items():
            self._partitions.labels(stage).set(count)
        for state in states:
            lane = (state.stage, state.stream, state.partition)
            if state.lag_records is not None:
                self._lag_records.labels(*lane).set(state.lag_records)
            self._lag_seconds.labels(*lane).set(state.lag_s(now_ms))
            self._standstill.labels(*lane).set(state.busy_s)
        return generate_latest(_WithoutCreated(self._registry))


class _WithoutCreated(Collector):
    """A registry without the times at which series began: nobody asks for them, and they double what is told."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Family]:
        """Go through the families."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


def _rule(decision: Decision) -> str:
    """Return what the decision's first update says."""
    if decision.refusal is not None:
        return "refused"
    for event in decision.events:
        if not isinstance(event, _WITHOUT_RULE):
            return event.now.rule
    return "none"


def _counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    return Counter(PREFIX + metric.name, metric.caption, metric.labels, registry=registry)


def _gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    return Gauge(PREFIX + metric.name, metric.caption, metric.labels, registry=registry)


def _histogram(metric: Metric, registry: CollectorRegistry) -> Histogram:
    return Histogram(PREFIX + metric.name, metric.caption, metric.labels, registry=registry, buckets=metric.buckets)
