"""What the wire costs a record: microseconds an operation, the best of several rounds.

Run: python -m tests.benchmarks.bench_wire
"""

import time
from collections.abc import Callable
from dataclasses import replace

import orjson

from interaction_router.domain.events import Decision, InteractionAdded, Opened, Outcome, Standing
from interaction_router.domain.ids import Entity, Place, conversation_id
from interaction_router.domain.messages import LogRecord
from interaction_router.domain.rows import Conversation, Entry
from interaction_router.wire.codec import (
    decode_log_record,
    decode_outcome,
    decode_row,
    encode_log_record,
    encode_outcome,
    encode_row,
)
from interaction_router.wire.interaction_json import interaction_json, write_interaction
from interaction_router.wire.interactions import interaction_message, interaction_of, parse_interaction
from interaction_router.wire.strict_json import read_object
from interaction_router.wire.updates import state_record, update_records

ROUNDS = 7
TIMES_A_ROUND = 5_000

_AT_MS = 1795335331004
_CAUSE = Place("interactions.voice.v1", 3, 812)
_RAW = orjson.dumps(
    {
        "tenant": "acme",
        "channel": "voice",
        "direction": "inbound",
        "interaction_id": "CA9e7d1f0c5a8b4e2f9d3c6a7b8e1f2a3b",
        "status": "answered",
        "occurred_at": "2026-11-22T10:15:30.120+02:00",
        "from": "082 123 4567",
        "to": "+27 11 000 0000",
        "region": "ZA",
        "agent_id": "thandi",
        "text": None,
        "duration_s": None,
        "provider": "twilio",
        "metadata": {"queue": "sales"},
    }
)


def _microseconds(operation: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(TIMES_A_ROUND):
            operation()
        best = min(best, time.perf_counter() - started)
    return best / TIMES_A_ROUND * 1e6


def main() -> None:
    """Print one line an operation."""
    owner = Entity("acme", "contact", "c42")
    raw = parse_interaction(_RAW, channel_of_topic="voice")
    _, message = interaction_message(raw, region="ZA", own_addresses=frozenset())
    record = LogRecord(owner, message, _CAUSE, _AT_MS)
    name = conversation_id(owner, _CAUSE)
    now = Standing(name, 2, "c42", message.party, "open", "opened_for_contact")
    added = InteractionAdded(now, "ab" * 32, "answered/", message.interaction)
    decision = Decision(_AT_MS, (Opened(now._replace(seq=1), owner, None), added))
    outcome = Outcome(5, 5, 4, "acme", _CAUSE, None, None, decision)
    row = Conversation(name, "acme", owner, 2, "open", "c42", message.party, _AT_MS, 5)
    row = replace(row, channels={"voice": 1}, interaction_count=1, last_interaction_at_ms=_AT_MS)
    entry = Entry(name, None, ("answered/",), _AT_MS, message.interaction)
    fields, written = read_object(_RAW), encode_log_record(record)
    logged, decided = written.value or b"", encode_outcome(outcome).value or b""
    row_bytes, entry_bytes = encode_row(row), encode_row(entry)
    operations: dict[str, Callable[[], object]] = {
        "strict JSON": lambda: read_object(_RAW),
        "validate an interaction": lambda: interaction_of(fields, channel_of_topic="voice"),
        "parse an interaction, both": lambda: parse_interaction(_RAW, channel_of_topic="voice"),
        "to a message": lambda: interaction_message(raw, region="ZA", own_addresses=frozenset()),
        "interaction JSON": lambda: write_interaction(message.interaction),
        "interaction JSON, known": lambda: interaction_json(message.interaction),
        "encode a log record": lambda: encode_log_record(record),
        "decode a log record": lambda: decode_log_record(logged, (), arrived_ms=_AT_MS),
        "encode an outcome": lambda: encode_outcome(outcome),
        "decode an outcome": lambda: decode_outcome(decided, ()),
        "encode a conversation": lambda: encode_row(row),
        "encode an entry": lambda: encode_row(entry),
        "decode a conversation": lambda: decode_row(row_bytes),
        "decode an entry": lambda: decode_row(entry_bytes),
        "updates of an outcome, two": lambda: update_records(outcome, partition=5, namespace="router"),
        "state of a conversation": lambda: state_record(row),
    }
    print(f"{len(_RAW)} bytes a raw record, {len(logged)} a log record, {len(decided)} an outcome")
    for what, operation in operations.items():
        print(f"{what:28} {_microseconds(operation):6.2f} us")


if __name__ == "__main__":
    main()
