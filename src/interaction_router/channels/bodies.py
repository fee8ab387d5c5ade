"""The bodies of requests: JSON, and forms of both kinds. What cannot be read is an `UnreadableError`, never a crash."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote

import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from interaction_router.channels.kit import MULTIPART, Json, Request, UnreadableError

_FIELDS_LIMIT: Final = 2_000
_HEADERS: Final = 64
_HEADER_BYTES: Final = 64 * 1024
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class File:
    """A file of a form: what it is called, what it is said to be, how large it is, and its SHA-256."""

    name: str | None
    content_type: str | None
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form, the last of those of one name, and its files in order; `raw` are the fields' bytes."""

    fields: Mapping[str, str]
    files: tuple[File, ...] = ()
    raw: Mapping[str, bytes] | None = None

    def get(self, name: str) -> str | None:
        """Return a field that has a word in it."""
        value = self.fields.get(name)
        return value if value and value.strip() else None

    def content(self, name: str) -> bytes | None:
        """Return a field that has a word in it, byte for byte."""
        value = self.get(name)
        if value is None:
            return None
        return value.encode("utf-8", "replace") if self.raw is None else self.raw.get(name)


@lru_cache(maxsize=2)  # a request's query and body are read for its proof, and then for what they tell
def pairs(text: str) -> Sequence[tuple[str, str]]:
    """Return the fields of a query or a urlencoded form, also empty ones, in order.

    The same as `urllib.parse.parse_qsl`, which takes three times as long.

    Raises:
        UnreadableError: there are more than anybody sends.
    """
    pieces = text.split("&")
    if len(pieces) > _FIELDS_LIMIT:
        raise UnreadableError("the form has too many fields")
    found: list[tuple[str, str]] = []
    for piece in pieces:
        if piece:
            name, _, value = piece.partition("=")
            found.append((_unquoted(name), _unquoted(value)))
    return tuple(found)


def _unquoted(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    return unquote(text, errors="replace") if "%" in text else text


def readable_pairs(text: str) -> Sequence[tuple[str, str]]:
    """Return the same, none where there are too many: for proofs, which are looked at before anything is read."""
    try:
        return pairs(text)
    except UnreadableError:
        return ()


def form_of(request: Request) -> Form:
    """Return the form that a request brings: in its body, else in its query.

    Raises:
        UnreadableError: it is none.
    """
    if request.media_type == MULTIPART:
        return _multipart(request)
    body = request.body.decode("utf-8", "replace")
    return Form(dict([*pairs(request.query), *pairs(body)]))


def json_of(body: bytes) -> Json:
    """Return the JSON of a body, more leniently than for records: vendors do not know our rules.

    Lone surrogates become U+FFFD, of two equal keys the last stands.

    Raises:
        UnreadableError: it is no JSON, or nested too deep.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return _scrubbed(json.loads(body.decode("utf-8-sig", "replace")))
    except (ValueError, RecursionError):
        raise UnreadableError("the body is no JSON") from None


def json_field(form: Form, name: str) -> Json:
    """Return the JSON that a field has, None where it has none."""
    try:
        return json_of((form.get(name) or "null").encode())
    except UnreadableError:
        return None


def _scrubbed(value: Json) -> Json:
    match value:
        case str():
            return scrubbed(value)
        case list():
            return [_scrubbed(item) for item in value]
        case dict():
            return {scrubbed(name): _scrubbed(item) for name, item in value.items()}
        case float() if value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124 - NaN
            return None
        case _:
            return value


def scrubbed(text: str) -> str:
    """Return the text without halves of characters."""
    return _LONE_SURROGATE.sub("\ufffd", text)


class _Parts:
    """Collects what the multipart parser calls out."""

    def __init__(self) -> None:
        self.raw: dict[str, bytes] = {}
        self.files: list[File] = []
        self._headers: dict[str, bytes] = {}
        self._name = bytearray()
        self._value = bytearray()
        self._data = bytearray()
        self._count = 0

    def begin(self) -> None:
        """Begin a part."""
        self._headers, self._data = {}, bytearray()
        self._count += 1
        if self._count > _FIELDS_LIMIT:
            raise UnreadableError("the form has too many fields")

    def header_field(self, data: bytes, start: int, end: int) -> None:
        """Take some of a header's name."""
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        """Take some of a header's value."""
        self._value += data[start:end]

    def header_end(self) -> None:
        """Keep a header."""
        self._headers[self._name.decode("latin-1").strip().lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def data(self, data: bytes, start: int, end: int) -> None:
        """Take some of a part's content."""
        self._data += data[start:end]

    def end(self) -> None:
        """Keep a part."""
        _, options = parse_options_header(self._headers.get("content-disposition"))
        if b"filename" in options:
            name = options[b"filename"].decode("utf-8", "replace")
            kind = self._headers.get("content-type", b"").decode("latin-1").strip()
            self.files.append(File(name or None, kind or None, len(self._data), sha256(self._data).hexdigest()))
        elif b"name" in options:
            self.raw[options[b"name"].decode("utf-8", "replace")] = bytes(self._data)


def _multipart(request: Request) -> Form:
    _, options = parse_options_header(request.headers.get("content-type", ""))
    parts = _Parts()
    callbacks: Any = {  # Any: the library's own type names each of its callbacks
        "on_part_begin": parts.begin,
        "on_header_field": parts.header_field,
        "on_header_value": parts.header_value,
        "on_header_end": parts.header_end,
        "on_part_data": parts.data,
        "on_part_end": parts.end,
    }
    try:
        parser = MultipartParser(
            options.get(b"boundary", b""), callbacks, max_header_count=_HEADERS, max_header_size=_HEADER_BYTES
        )
        parser.write(request.body)
        parser.finalize()
    except (FormParserError, ValueError, UnicodeError):
        raise UnreadableError("the body is no multipart form") from None
    fields = {name: value.decode("utf-8", "replace") for name, value in parts.raw.items()}
    return Form(fields, tuple(parts.files), parts.raw)
