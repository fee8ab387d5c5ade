"""A mail's bytes to its parts, whatever is wrong with it, in time and memory that the bytes bound.

The standard parser takes anything, but of a mail made to harm it takes its time: each limit here is against one such.
Headers are read by the older policy, whose values are plain text; the newer one's grammar fails on broken ones.
"""

import codecs
import email.header
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.message import Message
from email.parser import BytesHeaderParser, BytesParser
from email.policy import Compat32
from typing import Any, Final

_HEADERS_LIMIT: Final = 1_000
_HEADER_LIMIT: Final = 16 * 1024
_PARAMETERS_LIMIT: Final = 2 * 1024
_PARTS_LIMIT: Final = 1_000
_NESTED_LIMIT: Final = 50
_LINES_LIMIT: Final = 1_000_000
_HEAD_LIMIT: Final = 1024 * 1024
_NESTING: Final = (b"multipart/", b"message/")
_PARAMETRIC: Final = frozenset({"content-type", "content-disposition", "content-transfer-encoding"})
_UNTEXTUAL: Final = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7"})
_BLANK: Final = re.compile(r"\s+")
_UNREADABLE: Final = (LookupError, ValueError, TypeError, AttributeError, AssertionError, RecursionError)
"""What the standard package raises for broken headers and bodies."""


class _TooManyPartsError(Exception):
    """The mail has more parts than any that a person wrote."""


class _Bounded(Message):
    """A message that keeps at most so many headers, each at most so long."""

    def set_raw(self, name: str, value: str) -> None:
        """Keep a header as it was parsed; bytes that are no ASCII are taken for UTF-8, as most are."""
        headers = self._headers  # type: ignore[attr-defined]  # what the method of the base class appends to
        if len(headers) < _HEADERS_LIMIT:
            limit = _PARAMETERS_LIMIT if name.lower() in _PARAMETRIC else _HEADER_LIMIT
            headers.append((plain(name), plain(value[:limit])))


@dataclass(slots=True)
class Faults:
    """What is broken of a mail, by words for its metadata."""

    words: list[str] = field(default_factory=list)

    def add(self, word: str) -> None:
        """Note it, once."""
        if word not in self.words:
            self.words.append(word)


@dataclass(frozen=True, slots=True)
class Part:
    """A part that holds something: its decoded bytes, and how it is named."""

    content_type: str
    charset: str | None
    name: str | None
    attached: bool
    content: bytes
    alternative: bool


def parse_message(content: bytes, faults: Faults) -> Message:
    """Return the message; one that is too large a structure has its headers only, and its body as one text."""
    if not _is_outsized(content):
        try:
            message: Message = BytesParser(_counted(), policy=_policy()).parsebytes(content)
        except (_TooManyPartsError, *_UNREADABLE):
            pass
        else:
            if any(part.defects for part in message.walk()):
                faults.add("structure")
            return message
    faults.add("structure")
    head, body = _halves(content)
    headers: Message = BytesHeaderParser(_Bounded, policy=_policy()).parsebytes(head)
    for name in _PARAMETRIC:
        del headers[name]
    headers.set_payload(body.decode("ascii", "surrogateescape"))
    return headers


def _is_outsized(content: bytes) -> bool:
    """Return whether the parser would take long over the structure: each line is compared with each level."""
    lowered = content.lower()
    return content.count(b"\n") > _LINES_LIMIT or sum(map(lowered.count, _NESTING)) > _NESTED_LIMIT


def _policy() -> Any:  # Any: the parsers' types know only the policies of other message classes
    return Compat32()


def _counted() -> Any:  # Any: the parser's type asks for a class, and takes what makes messages
    made = 0

    def make(policy: Any = None) -> Message:
        nonlocal made
        made += 1
        if made > _PARTS_LIMIT:
            raise _TooManyPartsError
        return _Bounded(policy or _policy())

    return make


def _halves(content: bytes) -> tuple[bytes, bytes]:
    """Return head and body; they are parted by the first empty line."""
    found = re.search(rb"\r?\n\r?\n|\r\r", content[:_HEAD_LIMIT])
    return (content[: found.start()], content[found.end() :]) if found else (content[:_HEAD_LIMIT], b"")


def header(message: Message, name: str) -> str | None:
    """Return a header's text, decoded, on one line; None where it is missing or empty."""
    raw = raw_header(message, name)
    return decoded(raw) if raw else None


def raw_header(message: Message, name: str) -> str:
    """Return a header as it came, on one line, "" where it is missing."""
    try:
        value = message.get(name)
    except _UNREADABLE:
        return ""
    return "" if value is None else _BLANK.sub(" ", plain(str(value))).strip()


def decoded(raw: str) -> str | None:
    """Return a header's text with its encoded words (RFC 2047) decoded; those that cannot be stay as they are."""
    if "=?" not in raw:
        return raw or None
    try:
        chunks = email.header.decode_header(raw)
    except (HeaderParseError, *_UNREADABLE):
        return raw
    text = "".join(chunk if isinstance(chunk, str) else text_of(chunk, charset)[0] for chunk, charset in chunks)
    return _BLANK.sub(" ", plain(text)).strip() or None


def plain(text: str) -> str:
    """Return text that JSON can hold: bytes that were no ASCII are read as UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if not text.isascii() else text


def text_of(content: bytes, charset: str | None) -> tuple[str, bool]:
    """Return the text of bytes, and whether the charset was known and fitted."""
    for name in (charset, "utf-8"):
        try:
            known = codecs.lookup(name or "ascii")
            if known.name not in _UNTEXTUAL:
                text = content.decode(known.name)
                return plain(text.encode("utf-8", "replace").decode()), name == charset or charset is None
        except _UNREADABLE:
            continue
    return content.decode("cp1252", "replace"), False


def leaves(message: Message, faults: Faults) -> Iterator[Part]:
    """Yield the parts that hold something, in order; an embedded message is one."""
    stack = [(message, False)]
    while stack:
        part, alternative = stack.pop()
        if part.is_multipart() and part.get_content_maintype() != "message":
            within = alternative or part.get_content_type() == "multipart/alternative"
            stack += [(each, within) for each in reversed(_inner(part))]
        else:
            yield _part(part, faults, alternative=alternative)


def _inner(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [each for each in payload if isinstance(each, Message)] if isinstance(payload, list) else []


def _part(part: Message, faults: Faults, *, alternative: bool) -> Part:
    content_type, disposition = part.get_content_type(), _lenient(part.get_content_disposition)
    name = _lenient(part.get_filename)
    charset = _lenient(part.get_content_charset)
    return Part(
        content_type=plain(content_type)[:255],
        charset=charset,
        name=_file_name(name),
        attached=disposition == "attachment" or name is not None or part.is_multipart(),
        content=_content(part, faults),
        alternative=alternative,
    )


def _lenient(read: Any) -> str | None:  # Any: a method of the standard package, which may fail on what is broken
    try:
        value = read()
    except _UNREADABLE:
        return None
    return value if isinstance(value, str) else None


def _file_name(name: str | None) -> str | None:
    """Return a name without what a folder or a terminal would obey."""
    text = (decoded(_BLANK.sub(" ", plain(name))) if name else None) or ""
    text = "".join(each for each in re.split(r"[/\\]", text)[-1] if each.isprintable()).strip()
    return text[:255] or None


def _content(part: Message, faults: Faults) -> bytes:
    try:
        if part.is_multipart():
            return b"\n".join(each.as_bytes() for each in _inner(part))
        content = part.get_payload(decode=True)
    except _UNREADABLE:
        faults.add("encoding")
        raw = _lenient(part.get_payload)
        return raw.encode("utf-8", "surrogateescape") if raw is not None else b""
    if part.defects:
        faults.add("encoding")
    return content if isinstance(content, bytes) else b""
