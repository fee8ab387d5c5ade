"""Mutated payloads: no crash, and whatever comes out keeps to the rules. CHANNEL_FUZZ sets how many a vendor."""

import os
import random
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interaction_router.channels.fitting import fitted
from interaction_router.channels.kit import JSON, Request, UnreadableError
from interaction_router.channels.vendors import VENDORS
from interaction_router.wire.interactions import interaction_of
from interaction_router.wire.strict_json import read_object
from tests.unit.channels.asked import CREDENTIALS
from tests.unit.channels.payloads import ROWS

EXAMPLES = int(os.environ.get("CHANNEL_FUZZ", "100"))
ODD: list[Any] = [  # Any: JSON
    None,
    True,
    -1,
    0.5,
    1e308,
    10**30,
    "",
    " ",
    "\x00",
    "\u202e",
    "x" * 600,
    "9" * 5000,
    "0000-00-00T00:00:00Z",
    "<>",
    "=?utf-8?q?=FF?=",
    "a@b, c <d",
    [],
    {},
    [[]],
    [None] * 101,
    {"": ""},
]


def mutated(value: Any, draw: random.Random) -> Any:  # Any: JSON
    if draw.random() < 0.08:
        return draw.choice(ODD)
    if isinstance(value, dict):
        return {name: mutated(item, draw) for name, item in value.items() if draw.random() > 0.05}
    if isinstance(value, list):
        items = [mutated(item, draw) for item in value]
        return items * draw.choice([1, 1, 1, 2, 0])
    return value


def changed(request: Request, draw: random.Random) -> Request:
    if request.media_type == JSON:
        body = orjson.loads(request.body)
        whole = mutated(body, draw)
        try:
            return replace(request, body=orjson.dumps(whole))
        except TypeError:  # a whole number over 64 bits
            return replace(request, body=str(whole).replace("'", '"').encode())
    body = bytearray(request.body or request.query.encode())
    for _ in range(draw.randint(1, 12)):
        if body:
            at = draw.randrange(len(body))
            body[at : at + draw.choice([0, 1, 1, 5])] = draw.randbytes(draw.choice([0, 1, 1, 9]))
    if request.method == "GET":
        return replace(request, url=f"https://hooks.example/?{bytes(body).decode('latin-1')}")
    return replace(request, body=bytes(body))


@pytest.mark.parametrize("vendor", list(VENDORS))
def test_mutated_payloads_do_no_harm(vendor: str) -> None:
    rows = [row for row in ROWS if row.vendor == vendor]

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=2_000)
    @given(st.sampled_from(rows), st.integers(min_value=0, max_value=2**32))
    def run(row: Any, seed: int) -> None:
        request = changed(row.request, random.Random(seed))
        VENDORS[vendor].check(request, CREDENTIALS[vendor])
        try:
            reading = VENDORS[vendor].read(request)
        except UnreadableError:
            return
        for event in reading.events:
            value = orjson.dumps({"tenant": "acme", **fitted(event.fields)})
            interaction_of(read_object(value), channel_of_topic=event.fields["channel"])

    run()
