"""What operators see: every log event and every metric, named and captioned once, and the set-up of logs.

Events are structured lines on standard error, by name, with ids and never with personal data.
"""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import orjson

from interaction_router.ports import Gap

EVENTS: Final[Mapping[str, str]] = {
    "agent_record_refused": "A record of the agents' topic is no agent record and counts for nothing.",
    "call_not_recalled": "Redis did not tell whose call a recording, or the like, is of: it waits, or is to be sent again.",
    "call_not_remembered": "Redis did not keep a call's party: a recording of it will not find it.",
    "calls_forgotten": "What a receiver kept of running calls cannot be understood; it begins anew.",
    "calls_lost": "A receiver of calls ends, and what it has heard cannot be stored.",
    "calls_not_kept": "What a receiver knows of running calls cannot be written; killed now, it would not end some.",
    "calls_wait": "What a receiver has heard of calls cannot be stored for now; it is tried again.",
    "commit_failed": "The group's offsets were not committed; what they stand for may be handed over again.",
    "event_not_stored": "Neither Kafka nor the spool took an event: its sender was told to send it again.",
    "failpoints_set": "The setting `failpoints` is set: this process is to die, hang or fail. Never so in production.",
    "goes_on": "What was away is back: all partitions go on.",
    "imap_connected": "A mailbox's folder is read from `uid` on.",
    "imap_lost": "The connection to a mailbox is lost, or could not be made; it is made again.",
    "imap_refused": "A mail server refuses the user or the password.",
    "imap_renumbered": "A mail server has numbered a folder anew; mail is taken again since the day before the last one.",
    "kafka_away_at_start": "A receiver starts while Kafka does not answer.",
    "mail_not_stored": "Neither Kafka nor the spool took a mail: its server was told to bring it again.",
    "mail_taken": "A mail is in Kafka, or in the spool.",
    "no_gateways": "No tenant has a gateway: every webhook is answered that there is none.",
    "partition_retried": "A partition tries again what a server has not answered; of Kafka's at the level `debug`, behind `waiting`.",
    "payload_reader_failed": "A payload was not read by a fault of this program: it is among the dead letters.",
    "payloads_wait": "Payloads whose calls Redis did not tell still cannot be stored.",
    "producer_replaced": "The fate of an append is unknown: nothing more is sent by the producer that it was with.",
    "request_failed": "A request was answered 500 by a fault of this program.",
    "request_failed_at": "Where it was, at the level `debug`: what the error says may hold what was sent.",
    "request_not_authentic": "A webhook had no proof of its origin, or a wrong one.",
    "smtp_failed": "A session with a mail server ended by a fault of this program.",
    "snapshot_passed_over": "A takeover cannot use the partition's snapshot (`code`), and folds all outcomes.",
    "spool_drained": "Kafka has taken records of the spool.",
    "spool_waits": "Kafka still does not take what the spool has.",
    "spooling": "Kafka did not take records: they are in the spool, and newer ones of the partition behind them.",
    "stop_cut_short": "The stop took too long; what is left ends with the process.",
    "switch_connected": "A telephone switch is heard, and the calls that run are known.",
    "switch_gap": "A telephone switch was not heard for so long; a call may have come and gone unnoticed.",
    "switch_lost": "The connection to a telephone switch is lost, or could not be made; it is made again.",
    "switch_not_listed": "A telephone switch does not list the calls that run, so that a gap cannot be closed.",
    "takeover": "A partition is taken over: `next` is the offset in the internal log from where it is decided on.",
    "waiting": "Partitions wait for a server that is away; told once, until `goes_on`.",
    "web_port_taken": "Another program has the default port of health and metrics: this worker serves none.",
    "web_serves": "Health and metrics are served at this address.",
}
"""Every log event by its name."""

Kind = Literal["counter", "gauge", "histogram"]
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_RECORDS: Final = (1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 10000.0)
_TAKEOVER_SECONDS: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
PREFIX: Final = "interaction_router_"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric; its name begins with `PREFIX`, that of a counter is told with `_total` behind it."""

    name: str
    kind: Kind
    caption: str
    labels: Sequence[str] = ()
    buckets: Sequence[float] = ()


_LANE = ("stage", "stream", "partition")
READY: Final = Metric("ready", "gauge", "1 where the worker has its partitions and their takeovers are done, else 0.")
PARTITIONS: Final = Metric(
    "partitions", "gauge", "Partitions that the worker has, of all streams of the stage.", ("stage",)
)
LAG_RECORDS: Final = Metric("lag_records", "gauge", "Records that are there and not done.", _LANE)
LAG_SECONDS: Final = Metric("lag_seconds", "gauge", "Age of the oldest record that is not done; 0 for none.", _LANE)
STANDSTILL: Final = Metric(
    "standstill_seconds", "gauge", "For how long the partition has had the same records and not got on.", _LANE
)
BATCH_RECORDS: Final = Metric("batch_records", "histogram", "Records of a batch.", ("stage",), _RECORDS)
BATCH_SECONDS: Final = Metric(
    "batch_seconds", "histogram", "Time of a batch, other partitions' turns included.", ("stage",), _SECONDS
)
STEP_SECONDS: Final = Metric(
    "step_seconds",
    "histogram",
    "Time of a batch's step; `load` reads and parses, `apply` writes the tables; other partitions' turns included.",
    ("stage", "step"),
    _SECONDS,
)
DECISIONS: Final = Metric(
    "decisions",
    "counter",
    "Records decided, by the rule of their first update; `none` has no update, `refused` became a dead letter.",
    ("rule",),
)
DEAD_LETTERS: Final = Metric("dead_letters", "counter", "Records written to the dead letters.", ("stage", "code"))
TAKEOVERS: Final = Metric("takeovers", "counter", "Takeovers of partitions, by their end.", ("result",))
TAKEOVERS_RUNNING: Final = Metric("takeovers_running", "gauge", "Takeovers that are under way.")
TAKEOVER_TIME: Final = Metric("takeover_seconds", "histogram", "Time of a takeover.", (), _TAKEOVER_SECONDS)
CACHE_LOOKUPS: Final = Metric("cache_lookups", "counter", "Rows wanted, by whether they were in memory.", ("result",))
CACHE_ROWS: Final = Metric("cache_rows", "gauge", "Rows in memory.")
KAFKA_SECONDS: Final = Metric(
    "kafka_seconds", "histogram", "Waits for Kafka, without the fetches of the shell.", ("call", "stream"), _SECONDS
)
REDIS_SECONDS: Final = Metric("redis_seconds", "histogram", "Waits for Redis.", ("call",), _SECONDS)
UNAVAILABLE: Final = Metric("unavailable", "counter", "Calls that a server has not answered.", ("server", "code"))
TICKS: Final = Metric("ticks", "counter", "Conversations that a tick was written for, since they may be idle.")

METRICS: Final[Sequence[Metric]] = (
    READY,
    PARTITIONS,
    LAG_RECORDS,
    LAG_SECONDS,
    STANDSTILL,
    BATCH_RECORDS,
    BATCH_SECONDS,
    STEP_SECONDS,
    DECISIONS,
    DEAD_LETTERS,
    TAKEOVERS,
    TAKEOVERS_RUNNING,
    TAKEOVER_TIME,
    CACHE_LOOKUPS,
    CACHE_ROWS,
    KAFKA_SECONDS,
    REDIS_SECONDS,
    UNAVAILABLE,
    TICKS,
)
"""Every metric, in the order of the reference page."""

WEBHOOKS: Final = Metric(
    "webhooks",
    "counter",
    "Requests of gateways that are set up, by what became of them.",
    ("vendor", "outcome"),
)
SPOOLED: Final = Metric("spooled_records", "gauge", "Records that wait on disk for Kafka.")

RECEIVER_METRICS: Final[Sequence[Metric]] = (WEBHOOKS, SPOOLED)
"""Those of `receive http`, which serves its own `/metrics`."""

GAPS: Final[Mapping[Gap, str]] = {
    "polled": "Assignment has a batch in hand; nothing is done.",
    "rows_loaded": "The rows that the batch touches are loaded.",
    "decided": "The batch is decided, in memory only.",
    "outcomes_produced": "The outcomes are on their way; nobody has said that they stand.",
    "outcomes_acknowledged": "The outcomes stand: from here on it is so.",
    "updates_acknowledged": "Updates and dead letters are written.",
    "sends_acknowledged": "What goes to other homes is in their logs.",
    "tables_sent": "The rows are on their way to the tables; their answer is not read.",
    "tables_applied": "The tables have the batch.",
    "state_written": "The state topic has it; the position is not moved on.",
    "intake_polled": "Intake has a batch in hand; nothing is done.",
    "intake_read": "Its records are parsed, the owners of their endpoints looked up.",
    "intake_produced": "Log records and dead letters are on their way.",
    "intake_before_merge": "What came before a merge is appended, the merge is not.",
    "intake_appended": "The batch is appended; the group's offset is not moved on.",
    "committed": "The group's offsets are moved on.",
    "takeover_begun": "A takeover has read nothing yet.",
    "tables_emptied": "A takeover has removed rows that no outcome leads on from, or part of an old snapshot.",
    "tables_chunk_restored": "It has put a chunk of a snapshot into the tables, which nobody can load yet.",
    "tables_restored": "The tables have the whole snapshot; what came behind it is not folded.",
    "takeover_told": "It has repeated updates, dead letters and sends of outcomes that the tables lack.",
    "takeover_applied": "It has folded some of them into the tables.",
    "takeover_state_written": "It has written the state topic again.",
    "taken_over": "The takeover is done; nothing is decided yet.",
    "rebuild_folded": "`state rebuild`: the shadow has what is told; the partition is in use.",
    "rebuild_suspended": "The partition is suspended; its owner may still append outcomes.",
    "rebuild_fenced": "The fence stands behind the last outcome that counts.",
    "rebuild_caught_up": "The shadow has what is told before the fence; the old rows are in their place.",
    "rebuild_flipped": "The new rows are in their place; what is decided and not told waits for a takeover.",
    "snapshot_chunk_written": "`state snapshot`: a chunk stands that no manifest names.",
    "snapshot_written": "The manifest stands, and so do the chunks of the snapshot before it.",
    "snapshot_tidied": "Those are gone; the snapshot is not read back, and no outcome is removed.",
    "replay_begun": "`replay log`: the topics that it writes are made; nothing is in them.",
    "replay_log_written": "Some records stand in the other router's log, and not their outcomes.",
    "replay_outcomes_written": "Their outcomes stand, and not their updates.",
    "replay_updates_written": "The batch stands whole.",
    "replay_state_written": "All of it stands, and every conversation as it is.",
    "replay_intake_placed": "The other router's intake has where it begins; the last of its topics are not made.",
    "updates_replay_begun": "`replay updates`: its file is there; nothing is written.",
    "updates_replayed": "A batch is in the subscriber's topic, and the file does not say so.",
    "updates_replay_kept": "The file says so.",
    "redrive_claimed": "`dlq redrive`: a batch of letters is claimed; nothing is sent.",
    "redrive_appended": "Their records are in their topics again, and nobody has noted it.",
    "redrive_noted": "It is noted where they stand.",
    "import_filled": "`state import`: the shadow has the copy. Then the partition is suspended and fenced as by `state rebuild`.",
    "import_flipped": "The copy is in its place; the next partition's is not.",
}
"""The gaps between two effects; in each, the setting `failpoints` can let the process die, hang or fail."""

STEPS: Final[Mapping[Gap, tuple[str, str]]] = {
    "rows_loaded": ("assignment", "load"),
    "decided": ("assignment", "decide"),
    "outcomes_acknowledged": ("assignment", "outcomes"),
    "updates_acknowledged": ("assignment", "updates"),
    "sends_acknowledged": ("assignment", "sends"),
    "tables_applied": ("assignment", "apply"),
    "state_written": ("assignment", "state"),
    "intake_read": ("intake", "read"),
    "intake_appended": ("intake", "append"),
}
"""The steps that are measured: stage and step, by the gap that each ends at."""

_INTRODUCTION: Final = """\
# Metrics and log events

Written by `interaction-router config docs metrics`; the text is in `src/interaction_router/telemetry.py`.

A worker serves `/metrics` (Prometheus), `/livez` and `/readyz` on `worker.web_host` and `worker.web_port`; `/livez` and
`/readyz` answer 200, or 503 with the reasons. A dashboard and alert rules are in `deploy/`, what to do about an alert in
`docs/runbooks/`. The process's own memory, time and files (`process_*`) are there besides. `receive http` serves the last
two metrics at its own `/metrics`.
"""

_GAPS_SAY: Final = """\
For tests of the program itself: `INTERACTION_ROUTER_FAILPOINTS='outcomes_acknowledged=die@3;tables_applied=hang'` lets
a worker die (SIGKILL) the third time that it gets there, and hang the first time; `fail` lets a server not answer.
Commands have gaps likewise."""


def full_name(metric: Metric) -> str:
    """Return the name as Prometheus has it."""
    return f"{PREFIX}{metric.name}{'_total' if metric.kind == 'counter' else ''}"


def reference_page() -> str:
    """Return the page of all metrics and log events, Markdown."""
    lines = [_INTRODUCTION, "## Metrics", "", "| name | kind | labels | what it is |", "|---|---|---|---|"]
    for metric in (*METRICS, *RECEIVER_METRICS):
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
        lines.append(f"| `{full_name(metric)}` | {metric.kind} | {labels} | {metric.caption} |")
    lines += ["", "## Log events", "", "| event | what it says |", "|---|---|"]
    lines += [f"| `{name}` | {caption} |" for name, caption in EVENTS.items()]
    lines += ["", "## Gaps between effects", "", _GAPS_SAY, "", "| gap | what is so there |", "|---|---|"]
    lines += [f"| `{name}` | {caption} |" for name, caption in GAPS.items()]
    return "\n".join(lines) + "\n"


_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_QUIET = (
    "aiohttp",
    "aiokafka",
    "asyncio",
    "faust",
    "imapclient",
    "interaction_router.adapters.kafka.shell",
    "mail.log",
    "mode",
)
"""Libraries, of which some log addresses; Faust's services log their comings and goings under our subclasses' module."""
_KINDS = 1000
"""What is remembered of libraries at most: some put what happened into the template."""


class TextFormatter(logging.Formatter):
    """A line for people: time, level, event, and its particulars as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"
        words = [stamp, record.levelname.lower(), record.getMessage()]
        words += [f"{name}={value}" for name, value in particulars(record).items()]
        text = " ".join(words)
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonFormatter(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, object] = {
            "at_ms": int(record.created * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **particulars(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(fields, default=str).decode()


class Sparing(logging.Filter):
    """Lets a library say the same of the same kind once a minute: a broker that is away is said again and again.

    What is let through behind others tells as `unsaid` how many they were.
    """

    PERIOD_S: Final = 60.0

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, str], float] = {}
        self._unsaid: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be written."""
        if record.msg in EVENTS or not record.name.startswith(_QUIET):
            return True
        kind = (record.name, str(record.msg))  # the template: it has no names of nodes in it
        if record.created - self._last.get(kind, -self.PERIOD_S) < self.PERIOD_S:
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return False
        if len(self._last) > _KINDS:
            self._last.clear()
        self._last[kind] = record.created
        if unsaid := self._unsaid.pop(kind, 0):
            record.unsaid = unsaid
        return True


def particulars(record: logging.LogRecord) -> dict[str, object]:
    """Return what an event was logged with besides its name."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def set_up_logging(*, level: str, form: str) -> None:
    """Write events of `level` and above to standard error, as `text` or `json`; libraries from warnings on, sparingly."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Sparing())
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
