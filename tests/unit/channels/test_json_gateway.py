"""The JSON gateway reads items by the rules of records, each by itself."""

from typing import Any

import orjson
import pytest

from interaction_router.channels.json_gateway import (
    Accepted,
    Batch,
    ForeignTenantError,
    TooManyItemsError,
    read_batch,
)

CHANNELS = ("sms", "voice")
ITEM = {
    "channel": "sms",
    "direction": "inbound",
    "interaction_id": "1",
    "occurred_at": "2026-11-22T10:15:30Z",
    "from": "0821234567",
    "to": "1",
}


def read(body: Any, key: str | None = None) -> Batch:  # Any: JSON
    value = body if isinstance(body, bytes) else orjson.dumps(body)
    return read_batch(value, tenant="acme", key=key, channels=CHANNELS)


def codes(batch: Batch) -> list[tuple[str, str | None] | None]:
    return [None if isinstance(item, Accepted) else (item.code, item.field) for item in batch.items]


def values(batch: Batch) -> list[Any]:  # Any: JSON
    return [orjson.loads(item.value) for item in batch.items if isinstance(item, Accepted)]


def test_an_item_is_kept_as_it_came() -> None:
    body = b' {"tenant" : "acme", "x": 1.50,' + orjson.dumps(ITEM)[1:] + b"\n"
    (item,) = read(body).items
    assert isinstance(item, Accepted)
    assert item.value == body


def test_the_tenant_and_the_key_are_added_where_they_are_missing() -> None:
    assert values(read(ITEM, "k")) == [{"tenant": "acme", "event_id": "k", **ITEM}]
    assert values(read([ITEM, {**ITEM, "event_id": "mine"}, {**ITEM, "event_id": None}], "k")) == [
        {"tenant": "acme", "event_id": "k/0", **ITEM},
        {"tenant": "acme", "event_id": "mine", **ITEM},
        {"tenant": "acme", "event_id": "k/2", **ITEM},
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", ("malformed_json", None)),
        (b"4", ("malformed_json", None)),
        (b"{", ("malformed_json", None)),
        (b"[", ("malformed_json", None)),
        (b"[1,]", ("malformed_json", None)),
        (b"[1]2", ("malformed_json", None)),
        (b"[" * 100_000, ("malformed_json", None)),
        (b'{"a":1,"a":2}', ("malformed_json", None)),
        (b'{"a":"\\ud800"}', ("malformed_json", None)),
        (orjson.dumps({**ITEM, "direction": "up"}), ("schema_invalid", "direction")),
        (orjson.dumps({**ITEM, "channel": "smoke"}), ("channel_mismatch", "channel")),
        (orjson.dumps({**ITEM, "channel": 5}), ("schema_invalid", "channel")),
        (orjson.dumps({**ITEM, "tenant": 5}), ("schema_invalid", "tenant")),
        (orjson.dumps({**ITEM, "text": "x" * (1 << 20)}), ("too_large", None)),
        (b"{}", ("schema_invalid", "channel")),
    ],
    ids=range(15),
)
def test_what_breaks_a_rule_is_told_with_code_and_field(body: bytes, expected: tuple[str, str | None]) -> None:
    batch = read(body)
    assert codes(batch) == [expected]
    assert not batch.is_list


def test_bad_items_of_a_list_do_not_keep_the_others_back() -> None:
    deep = b"[" * 40 + b"]" * 40
    long = b"1" * 5_000
    items = [b'{"a":1,"a":1}', b"NaN", b'{"a":"\\ud800"}', b'{"a":' + deep + b"}", b'{"a":' + long + b"}", b"null"]
    batch = read(b"[ " + b" , ".join([orjson.dumps(ITEM), *items, orjson.dumps(ITEM)]) + b" ]")
    malformed = ("malformed_json", None)
    assert codes(batch) == [None, *[malformed] * 6, None]
    assert batch.is_list


def test_an_empty_list_is_one() -> None:
    assert read(b" [ ] ") == Batch((), is_list=True)


def test_a_thousand_items_are_taken_and_no_more() -> None:
    assert len(read([ITEM] * 1_000).items) == 1_000
    with pytest.raises(TooManyItemsError):
        read([ITEM] * 1_001)


@pytest.mark.parametrize("body", [{**ITEM, "tenant": "other"}, [ITEM, {**ITEM, "tenant": "other"}]])
def test_another_tenant_is_no_business_of_this_address(body: Any) -> None:
    with pytest.raises(ForeignTenantError):
        read(body)


def test_a_record_that_only_the_tenant_makes_too_large_is_told_so() -> None:
    room = (1 << 20) - len(orjson.dumps({**ITEM, "text": ""}))
    assert codes(read({**ITEM, "text": "x" * room})) == [("too_large", None)]
