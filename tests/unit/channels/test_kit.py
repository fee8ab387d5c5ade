"""How JSON from outside is looked into: what makes no sense is nothing, never a crash."""

import pytest

from interaction_router.channels.kit import inner, international, seconds, size, when, words

RECEIVED_AT_MS = 1_700_000_000_000
RECEIVED_AT = "2023-11-14T22:13:20.000Z"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00.000Z"),
        ("2026-01-01T10:00:00.1234567+0200", "2026-01-01T08:00:00.123Z"),
        ("2026-01-01 10:00:00", "2026-01-01T10:00:00.000Z"),
        ("Wed, 11 Oct 2017 18:31:04 -0700", "2017-10-12T01:31:04.000Z"),
        (1_600_000_000, "2020-09-13T12:26:40.000Z"),
        ("1600000000", "2020-09-13T12:26:40.000Z"),
        (1_600_000_000_500, "2020-09-13T12:26:40.500Z"),
        (1_600_000_000.25, "2020-09-13T12:26:40.250Z"),
        ("0001-01-01T00:00:00Z", RECEIVED_AT),
        ("9999-12-31T23:59:59-14:00", RECEIVED_AT),
        ("1960-01-01T00:00:00Z", RECEIVED_AT),
        (-5, RECEIVED_AT),
        (1e300, RECEIVED_AT),
        ("1e999", RECEIVED_AT),
        ("nan", RECEIVED_AT),
        ("9" * 5000, RECEIVED_AT),
        ("yesterday", RECEIVED_AT),
        ("", RECEIVED_AT),
        (True, RECEIVED_AT),
        (None, RECEIVED_AT),
        ([], RECEIVED_AT),
    ],
)
def test_a_time_is_read_or_is_when_it_was_received(value: object, expected: str) -> None:
    assert when(RECEIVED_AT_MS, value) == expected


def test_the_first_time_that_is_one_stands() -> None:
    assert when(RECEIVED_AT_MS, None, "no", 1_600_000_000, 1) == "2020-09-13T12:26:40.000Z"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("27821234567", "+27821234567"),
        ("1 555-079-8077", "+15550798077"),
        ("+27821234567", "+27821234567"),
        ("0821234567", "0821234567"),
        ("45678", "45678"),
        ("ACMEBANK", "ACMEBANK"),
        ("ZA.13491208655302741918", "ZA.13491208655302741918"),
        ("٢٧٨٢١٢٣٤٥٦٧", "٢٧٨٢١٢٣٤٥٦٧"),
        (None, None),
    ],
)
def test_a_number_gets_its_plus_and_nothing_else_does(address: str | None, expected: str | None) -> None:
    assert international(address) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), ("60", 60), ("1.5", 1.5), (-1, None), ("x", None), ("inf", None), (True, None), (None, None), ([], None)],
)
def test_a_span_is_a_number_that_is_not_below_zero(value: object, expected: float | None) -> None:
    assert seconds(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(5, 5), ("45", 45), (1e308, None), (10**30, None), (-1, None)])
def test_a_size_is_one_that_a_record_may_have(value: object, expected: int | None) -> None:
    assert size(value) == expected


def test_what_is_not_there_is_nothing() -> None:
    assert inner({"a": {"b": 1}}, "a", "b") == 1
    assert inner({"a": [1]}, "a", "b") is None
    assert inner(None, "a") is None
    odd: list[object] = ["x", " ", 5, 1.5, True, None, []]
    assert [words(value) for value in odd] == ["x", None, "5", "1.5", None, None, None]
