"""Every metric and log event is named and captioned once, and what is told is what the page says."""

import ast
import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from interaction_router import telemetry
from interaction_router.adapters.kafka.lane import Waiting
from interaction_router.adapters.kafka.shell import BatchConsumer
from interaction_router.adapters.prometheus import Meters
from interaction_router.application.health import LaneState
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.events import Closed, Decision, Erased, Opened, Outcome, Refusal, RowGone, Standing
from interaction_router.domain.ids import Entity
from interaction_router.domain.rows import RowKey
from interaction_router.receivers.counts import Counts
from interaction_router.telemetry import EVENTS, METRICS, RECEIVER_METRICS, full_name

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def logged() -> Iterator[tuple[str, str]]:
    """Go through the event names that the code logs, each with its place."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
                continue
            of = node.func.value
            if isinstance(of, ast.Name) and of.id.lower().lstrip("_") == "logger":
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                assert isinstance(node.args[0], ast.Constant), f"{place}: an event's name is no prose"
                yield str(node.args[0].value), place


def test_every_event_that_is_logged_has_its_caption_and_no_other() -> None:
    places = dict(logged())
    assert set(places) - set(EVENTS) == set(), {name: places[name] for name in set(places) - set(EVENTS)}
    assert set(EVENTS) - set(places) == set(), "captions of events that nobody logs"
    assert list(EVENTS) == sorted(EVENTS)


def test_the_reference_page_is_that_of_the_code() -> None:
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    assert page == telemetry.reference_page(), "run: interaction-router config docs metrics > docs/metrics.md"


def meters() -> tuple[Meters, CollectorRegistry]:
    registry = CollectorRegistry()
    return Meters(registry), registry


def families(text: str) -> set[str]:
    return set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))


def test_every_metric_is_kept_under_its_name() -> None:
    told, _ = meters()
    text = told.exposition([], ready=True, now_ms=0).decode()
    assert {name for name in families(text) if not name.startswith("process_")} == {
        full_name(metric) for metric in METRICS
    }
    assert "_created" not in text


def test_a_receiver_keeps_its_metrics_under_their_names() -> None:
    counts = Counts(lambda: 3)
    counts("twilio", "taken")
    counts("twilio", "taken")
    text = counts.exposition().decode()
    assert families(text) == {full_name(metric) for metric in RECEIVER_METRICS}
    assert 'interaction_router_webhooks_total{outcome="taken",vendor="twilio"} 2.0\n' in text
    assert "\ninteraction_router_spooled_records 3.0\n" in text


def test_two_workers_in_one_process_do_not_meet() -> None:
    first, registry = meters()
    second, other = meters()
    first.ticked(2)
    second.ticked(3)
    name = "interaction_router_ticks_total"
    assert (registry.get_sample_value(name), other.get_sample_value(name)) == (2, 3)


def outcome(decision: Decision) -> Outcome:
    return Outcome(0, 0, -1, "acme", None, None, None, decision)


def test_a_record_counts_once_by_the_rule_of_its_first_update() -> None:
    told, registry = meters()
    opened = Standing("k", 1, None, None, "open", "opened_for_contact")
    closed, erased = opened._replace(rule="superseded"), opened._replace(rule="erased")
    told.decided(
        [
            outcome(
                Decision(
                    1,
                    (
                        Opened(opened, Entity("acme", "contact", "c1"), None),
                        Opened(opened, Entity("acme", "contact", "c1"), None),
                    ),
                )
            ),
            outcome(Decision(1, (Closed(closed, "superseded", None), Erased(erased)))),
            outcome(Decision(1, (RowGone(RowKey("contact:acme/c1")),))),
            outcome(Decision(1, refusal=Refusal("contact_unknown", "there is no such contact"))),
        ]
    )
    rules = ("opened_for_contact", "superseded", "none", "refused")
    counts = [registry.get_sample_value("interaction_router_decisions_total", {"rule": rule}) for rule in rules]
    assert counts == [1, 1, 1, 1]


def test_takeovers_are_counted_by_their_end() -> None:
    told, registry = meters()
    with told.taking_over():
        assert registry.get_sample_value("interaction_router_takeovers_running") == 1
    with pytest.raises(OSError, match="away"):
        _fail_in(told)
    counts = [
        registry.get_sample_value("interaction_router_takeovers_total", {"result": result})
        for result in ("done", "failed")
    ]
    assert counts == [1, 1]
    assert registry.get_sample_value("interaction_router_takeovers_running") == 0


def _fail_in(told: Meters) -> None:
    with told.taking_over():
        raise OSError("away")


def test_a_partition_that_is_gone_is_told_no_more() -> None:
    told, _ = meters()
    state = LaneState(
        "assignment",
        "internal.log",
        3,
        started=True,
        position=5,
        end=9,
        oldest_ms=2_000,
        idle_since_ms=0,
        busy_s=1.5,
    )
    families = text_string_to_metric_families(told.exposition([state], ready=True, now_ms=4_000).decode())
    samples = {sample.name: (sample.labels, sample.value) for family in families for sample in family.samples}
    lane = {"stage": "assignment", "stream": "internal.log", "partition": "3"}
    wanted: dict[str, tuple[dict[str, str], float]] = {
        "interaction_router_lag_records": (lane, 4),
        "interaction_router_lag_seconds": (lane, 2),
        "interaction_router_standstill_seconds": (lane, 1.5),
        "interaction_router_partitions": ({"stage": "assignment"}, 1),
        "interaction_router_ready": ({}, 1),
    }
    assert {name: samples[name] for name in wanted} == wanted
    assert 'partition="3"' not in told.exposition([], ready=False, now_ms=4_000).decode()


def test_a_line_of_the_log_is_an_object_with_event_and_ids() -> None:
    record = logging.makeLogRecord({"msg": "takeover", "levelname": "INFO", "name": "x", "partition": 3, "next": 17})
    line = json.loads(telemetry.JsonFormatter().format(record))
    assert (line["event"], line["level"], line["partition"], line["next"]) == ("takeover", "info", 3, 17)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, log_of_its_own: None) -> Callable[[], list[str]]:
    """Log as a worker does; return what tells the events."""
    del log_of_its_own
    monkeypatch.setattr(sys, "stderr", errors := io.StringIO())
    telemetry.set_up_logging(level="debug", form="json")
    return lambda: [json.loads(line)["event"] for line in errors.getvalue().splitlines()]


def test_that_a_worker_waits_is_said_each_time_that_it_does(said: Callable[[], list[str]]) -> None:
    """Also twice a minute: the runbook looks for a `waiting` that has no `goes_on` behind it."""
    waiting = Waiting()
    for code in ("redis_timeout", "kafka_unavailable"):
        waiting.begin("internal.log:3", RetryableError(code, "It does not answer."))
        waiting.end("internal.log:3")
    assert said() == ["waiting", "goes_on"] * 2


def test_the_comings_and_goings_of_fausts_services_are_not_said(said: Callable[[], list[str]]) -> None:
    """Their loggers have the name of the module that a service's class is in."""
    logging.getLogger(BatchConsumer.__module__).info("[^--BatchConsumer]: Starting...")
    logging.getLogger("mode.services").info("[^--Worker]: Starting...")
    assert said() == []


def test_a_library_says_the_same_once_a_minute_and_how_often_it_would_have() -> None:
    sparing = telemetry.Sparing()

    def passes(message: str, at: float, *, of: str = "aiokafka.client", node: int = 1) -> logging.LogRecord | None:
        record = logging.LogRecord(of, logging.ERROR, __file__, 1, message, (node,), None)
        record.created = at
        return record if sparing.filter(record) else None

    away = "Unable to connect to %s"
    assert passes(away, 1000.0)
    assert not passes(away, 1030.0, node=2)
    assert passes("Heartbeat failed for %s", 1030.0)
    assert not passes(away, 1059.9)
    later = passes(away, 1060.0)
    assert later is not None
    assert telemetry.particulars(later) == {"unsaid": 2}
    assert passes(away, 1061.0, of="aiokafka.conn")
    assert passes("waiting", 1000.0, of="interaction_router.adapters.kafka.lane")
    assert passes("waiting", 1000.0, of="interaction_router.adapters.kafka.lane"), "what is ours is said once already"
