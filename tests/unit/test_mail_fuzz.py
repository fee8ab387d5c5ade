"""Mail that nobody would send: whatever the bytes, a record that intake takes, in time."""

import importlib.util
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interaction_router.channels.mail import Envelope, read_mail
from interaction_router.wire.interactions import parse_interaction
from tests.unit.fuzzing import fuzzed, within
from tests.unit.test_mail import PARTS, PLAIN

_PIECES = st.sampled_from(
    [
        *(line + b"\n" for line in (PLAIN + PARTS).splitlines()),
        b"\r",
        b"\n\n",
        b"--outer\n",
        b"--inner--\n",
        b"Content-Type: multipart/mixed; boundary=outer\n",
        b"Content-Type: message/rfc822\n\n",
        b"Content-Type: message/delivery-status\n\n",
        b"Content-Type: text/plain; charset=utf-16\n",
        b"Content-Type: text/plain; charset*=x''%ff\n",
        b"Content-Transfer-Encoding: base64\n",
        b"Content-Transfer-Encoding: x-uuencode\n\nbegin 644 x\n",
        b"Content-Disposition: attachment; filename*0*=utf-8''%; filename*1=x\n",
        b"Subject: =?utf-8?b?/w==?= =?utf-16?q?=d8=00?=\n",
        b"From: =?utf-8?q?=00?= <(>,@;:\\\n",
        b"Message-ID: <\xff@\x00>\n",
        b"Date: Mon, 99 Foo 99999 99:99 +9999\n",
        b"References: <<>><>>\n",
        b"> quoted\n",
        b"wrote:\n",
    ]
)
_MUTATED = st.tuples(
    st.sampled_from([PLAIN, PARTS]), st.lists(st.tuples(st.integers(0, 700), st.integers(0, 3), st.binary(max_size=4)))
).map(lambda drawn: _mutated(*drawn))
_MAILS = st.binary(max_size=300) | st.lists(_PIECES | st.binary(max_size=9), max_size=40).map(b"".join) | _MUTATED
_MOST_S = 2.0


def _mutated(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Replace some bytes at some places by others."""
    for place, length, by in edits:
        content = content[:place] + by + content[place + length :]
    return content


@fuzzed
@given(content=_MAILS, sender=st.sampled_from([None, "", "<>", "a@b.example", "x" * 600, "a\x00"]))
def test_any_bytes_are_a_mail(content: bytes, sender: str | None) -> None:
    envelope = Envelope("acme", 1795335330000, sender=sender, recipients=["support@acme.example"])
    with within(_MOST_S):
        mail = read_mail(content, envelope)
    parse_interaction(orjson.dumps(mail.fields), channel_of_topic="email")
    assert len(mail.attachments) == len(mail.fields.get("attachments", ()))
    assert read_mail(content, envelope) == mail


def _of_the_interpreter() -> list[Path]:
    found = importlib.util.find_spec("test.test_email")
    if found is None or found.origin is None:
        return []
    return sorted(path for path in (Path(found.origin).parent / "data").glob("*") if path.is_file())


@pytest.mark.skipif(not _of_the_interpreter(), reason="this interpreter comes without its own tests")
def test_the_mails_that_the_standard_package_is_tested_with() -> None:
    read = {}
    for path in _of_the_interpreter():
        with within(_MOST_S):
            mail = read_mail(path.read_bytes(), Envelope("acme", 1795335330000))
        parse_interaction(orjson.dumps(mail.fields), channel_of_topic="email")
        read[path.name] = mail
    with_text = [name for name, mail in read.items() if mail.fields.get("text")]
    assert len(with_text) > len(read) // 2
