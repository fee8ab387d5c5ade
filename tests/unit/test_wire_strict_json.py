"""The reader takes what every reader takes, and nothing that two of them would read differently."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interaction_router.domain.errors import RejectedError
from interaction_router.wire.strict_json import BYTES_LIMIT, DEPTH_LIMIT, read_object


def _nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def _of_size(size: int) -> bytes:
    return b'{"a":"' + b"x" * (size - 8) + b'"}'


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b" ",
        b"{",
        b"null",
        b"[]",
        b'"a"',
        b"1",
        b"{}{}",
        b"{}\x00",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":01}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e400}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00x"}',
        b'{"\\ud83d":1}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xff"}',
        b'{"a":"\xc0\xaf"}',
        b'{"a":"\x01"}',
        b'{"a":"\n"}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b'{"a":1,"a":1}',
        b'{"a":1,"a" :2}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":{"b":1,"c":2,"b":3}}',
        b'{"a":[{"b":1},{"b":1,"b":1}]}',
        b'{"a":"\\"","a":"\\\\"}',
        b'{"x":"\\\\","y":"\\\\","a":1,"a":1}',
        b'{"x":"\\"","a":1,"a":1}',
        b'{"":1,"":1}',
        _nested(DEPTH_LIMIT + 1),
        b'{"a":' + b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT + b"}",
        _nested(100_000),
    ],
)
def test_what_is_malformed(value: bytes | None) -> None:
    with pytest.raises(RejectedError) as caught:
        read_object(value)
    assert caught.value.code == "malformed_json"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"{}", {}),
        (b' \t\r\n{"a": 1} ', {"a": 1}),
        (b'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}', {"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 2}]}),
        (b'{"a":"a\\"b","b":"c\\\\"}', {"a": 'a"b', "b": "c\\"}),
        (b'{"a":"\\\\\\"\\\\","b":["\\"","\\\\"]}', {"a": '\\"\\', "b": ['"', "\\"]}),
        (b'{"a":"\\u0022:","b":"\\":"}', {"a": '":', "b": '":'}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":"\x7f\xc2\x80"}', {"a": "\x7f\x80"}),
        (b'{"A":1,"a":2}', {"A": 1, "a": 2}),
        (b'{"a":18446744073709551615,"b":-9223372036854775808}', {"a": 2**64 - 1, "b": -(2**63)}),
        (b'{"a":100000000000000000000}', {"a": 1e20}),
        (b'{"a":-0.0}', {"a": -0.0}),
    ],
)
def test_what_is_read(value: bytes, expected: object) -> None:
    assert read_object(value) == expected


def test_the_limits_are_reached_and_not_passed() -> None:
    assert read_object(_of_size(BYTES_LIMIT))
    with pytest.raises(RejectedError) as caught:
        read_object(_of_size(BYTES_LIMIT + 1))
    assert caught.value.code == "too_large"
    assert read_object(_nested(DEPTH_LIMIT))
    assert read_object(b'{"a":' + b"[" * (DEPTH_LIMIT - 1) + b"]" * (DEPTH_LIMIT - 1) + b"}")
    assert read_object(b'{"a":"' + b"{" * 100 + b'"}')


def test_an_error_does_not_repeat_the_value() -> None:
    with pytest.raises(RejectedError) as caught:
        read_object(b'{"ann@example.com":1,"ann@example.com":2}')
    assert "ann" not in str(caught.value)


class _Refused(Exception):  # noqa: N818 - what the reference says, not an error of the program
    pass


def _slowly(value: bytes) -> object:
    """Read with the standard library and every rule spelt out."""

    def pairs(members: list[tuple[str, object]]) -> dict[str, object]:
        if len({key for key, _ in members}) < len(members):
            raise _Refused
        return dict(members)

    def number(text: str) -> object:
        read: object = json.loads(text)
        whole = isinstance(read, int) and -(2**63) <= read < 2**64
        return read if whole else _finite(float(text))

    def constant(_: str) -> object:
        raise _Refused

    try:
        read = json.loads(
            value.decode(),
            object_pairs_hook=pairs,
            parse_int=number,
            parse_float=lambda text: _finite(float(text)),
            parse_constant=constant,
        )
    except (ValueError, RecursionError) as error:
        raise _Refused from error
    if not isinstance(read, dict) or _depth(read) > DEPTH_LIMIT:
        raise _Refused
    try:
        json.dumps(read, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise _Refused from error
    return read


def _finite(number: float) -> float:
    if number in {float("inf"), float("-inf")}:
        raise _Refused
    return number


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


_KEYS = st.sampled_from(['"a"', '"b"', '"\\u0061"', '"a\\""', '"\\\\"', '"\\\\\\""', '"a:"', '"\\ud800"'])
_SCALARS = _KEYS | st.sampled_from(["1", "-0.5", "1e5", "null", "true", "NaN", "1e400", "01", '":"', '"\u2028"', "{}"])
_SPACE = st.sampled_from(["", "", "", " ", "\n", "\ufeff"])


def _objects(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.builds("{}{}:{}{}".format, _KEYS, _SPACE, _SPACE, inner)
    members = st.lists(member, max_size=4).map(",".join).map("{{{}}}".format)
    return members | st.lists(inner, max_size=4).map(",".join).map("[{}]".format)


_TEXTS = st.recursive(_SCALARS, _objects, max_leaves=12)


@given(text=_TEXTS | _objects(_SCALARS))
@example(text="{" + '"a":{' * 31 + "}" * 32)
@example(text="{" + '"a":{' * 32 + "}" * 33)
def test_the_quick_reader_is_as_strict_as_the_slow_one(text: str) -> None:
    _same(text.encode())


@given(value=st.binary(max_size=12) | st.text('{}[]":,\\ua0dn18 ', max_size=14).map(str.encode))
def test_the_quick_reader_is_as_strict_as_the_slow_one_on_noise(value: bytes) -> None:
    _same(value)


def _same(value: bytes) -> None:
    expected: Any
    try:
        expected = _slowly(value)
    except _Refused:
        with pytest.raises(RejectedError):
            read_object(value)
        return
    assert read_object(value) == expected
