"""Raw interactions as one's own gateways post them, with anything in them: taken, or refused with a code."""

import random
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from interaction_router.domain.errors import RejectedError
from interaction_router.wire.interactions import parse_interaction
from tests.unit.channels.test_fuzz import mutated
from tests.unit.fuzzing import fuzzed, within

ITEM: dict[str, Any] = {  # Any: JSON
    "tenant": "acme",
    "channel": "voice",
    "direction": "inbound",
    "interaction_id": "CA1",
    "event_id": "CA1-2",
    "status": "answered",
    "occurred_at": "2026-11-22T10:15:30+02:00",
    "from": {"address": "082 123 4567", "name": "Ann"},
    "to": ["+27110000000", "help@acme.example"],
    "region": "ZA",
    "agent_id": "thandi",
    "text": "Is my parcel on its way?",
    "attachments": [{"name": "a.pdf", "content_type": "application/pdf", "size": 9, "url": "https://x/a.pdf"}],
    "references": ["m1@mail.example"],
    "duration_s": 3.5,
    "metadata": {"queue": "sales"},
    "unknown": {"deep": [[1, None]]},
}
_MOST_S = 2.0


@fuzzed
@given(st.integers(0, 2**32))
def test_any_item_is_taken_or_refused(seed: int) -> None:
    draw = random.Random(seed)
    _is_taken_or_refused(_written(mutated(ITEM, draw)))


@fuzzed
@given(st.integers(0, 2**32))
def test_any_bytes_are_taken_or_refused(seed: int) -> None:
    draw = random.Random(seed)
    content = bytearray(orjson.dumps(ITEM))
    for _ in range(draw.randint(1, 12)):
        at = draw.randrange(len(content))
        content[at : at + draw.choice([0, 1, 1, 5])] = draw.randbytes(draw.choice([0, 1, 1, 9]))
    _is_taken_or_refused(bytes(content))


def _is_taken_or_refused(content: bytes) -> None:
    code = None
    with within(_MOST_S):
        try:
            parse_interaction(content, channel_of_topic="voice")
        except RejectedError as error:
            code = error.code
    assert code in {None, "malformed_json", "schema_invalid", "too_large", "channel_mismatch"}


def _written(value: Any) -> bytes:  # Any: JSON
    try:
        return orjson.dumps(value)
    except TypeError:  # a whole number over 64 bits
        return str(value).replace("'", '"').encode()
