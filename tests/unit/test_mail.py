"""Mail, read: each case is a message and what the raw interaction says of it."""

import hashlib
from collections.abc import Mapping

import orjson
import pytest

from interaction_router.channels.mail import Envelope, Mail, message_id, read_mail
from interaction_router.channels.quoting import reply_of
from interaction_router.wire.interactions import parse_interaction
from tests.unit.fuzzing import within

RECEIVED_AT_MS = 1795335330000
PLAIN = b"""\
From: Ann <Ann@Example.com>
To: support@acme.example
Message-ID: <1@example.com>
Date: Sun, 22 Nov 2026 10:15:30 +0200
Subject: My parcel

Where is it?
"""


def read(content: bytes, **envelope: object) -> Mail:
    mail = read_mail(content, Envelope("acme", RECEIVED_AT_MS, **envelope))  # type: ignore[arg-type]  # by the case
    parse_interaction(orjson.dumps(mail.fields), channel_of_topic="email")
    return mail


def changed(*lines: bytes) -> bytes:
    """Return the plain mail with these headers in place of its own."""
    names = {line.partition(b":")[0].lower() for line in lines}
    kept = [line for line in PLAIN.splitlines() if line.partition(b":")[0].lower() not in names]
    return b"\n".join((*lines, *kept)) + b"\n"


def test_a_plain_mail() -> None:
    assert read(PLAIN).fields == {
        "tenant": "acme",
        "channel": "email",
        "direction": "inbound",
        "interaction_id": "1@example.com",
        "status": "received",
        "occurred_at": "2026-11-22T08:15:30.000Z",
        "from": {"address": "Ann@Example.com", "name": "Ann"},
        "to": ["support@acme.example"],
        "subject": "My parcel",
        "text": "Where is it?",
        "provider": "mail",
    }


_READ: list[tuple[bytes, Mapping[str, object]]] = [
    (changed(b"From: ann@example.com"), {"from": "ann@example.com"}),
    (changed(b"From: =?utf-8?q?Ann_=C3=9F?= <a@b.example>"), {"from": {"address": "a@b.example", "name": "Ann ß"}}),
    (changed("From: Ann ß <a@b.example>".encode()), {"from": {"address": "a@b.example", "name": "Ann ß"}}),
    (changed(b"From: =?utf-8?q?A=2C_B?= <a@b.example>"), {"from": {"address": "a@b.example", "name": "A, B"}}),
    (changed(b"From: <>"), {"from": None, "metadata": {"broken": "addresses"}}),
    (changed(b"From: " + b"x" * 600 + b"@example.com"), {"from": None, "metadata": {"broken": "addresses"}}),
    (changed(b"From:", b"Sender: s@b.example"), {"from": "s@b.example"}),
    (
        changed(b'To: "Help, please" <h@acme.example>, b@acme.example, B@acme.example'),
        {"to": [{"address": "h@acme.example", "name": "Help, please"}, "b@acme.example"]},
    ),
    (changed(b"To: undisclosed-recipients:;"), {"to": [], "metadata": {"broken": "addresses"}}),
    (changed(b"Cc: c@acme.example"), {"cc": ["c@acme.example"], "to": ["support@acme.example"]}),
    (changed(b"Subject: =?iso-8859-1?q?=FCber?=\n =?utf-8?b?w7zDtg==?="), {"subject": "überüö"}),
    (changed(b"Subject: =?x-unknown?q?=FCber?="), {"subject": "über"}),
    (changed(b"Subject: folded\n\tsubject"), {"subject": "folded subject"}),
    (changed(b"Date: Sun, 22 Nov 2026 08:15:30"), {"occurred_at": "2026-11-22T08:15:30.000Z"}),
    (changed(b"Date: soon"), {"occurred_at": "2026-11-22T08:15:30.000Z", "metadata": {"broken": "date"}}),
    (changed(b"Date: Thu, 1 Jan 1901 00:00:00 +0000"), {"metadata": {"broken": "date"}}),
    (changed(b"Message-ID: 2@example.com"), {"interaction_id": "2@example.com"}),
    (changed(b"Message-ID:\n <2@exam\n ple.com>"), {"interaction_id": "2@example.com"}),
    (
        changed(b"References: <1@x>\n <2@x>", b"In-Reply-To: <2@x> (yours)"),
        {"references": ["1@x", "2@x"]},
    ),
    (changed(b"In-Reply-To: 3@x"), {"references": ["3@x"]}),
    (changed(b"Auto-Submitted: auto-replied; x=y"), {"auto_response": True}),
    (changed(b"Precedence: auto_reply"), {"auto_response": True}),
    (changed(b"X-Autoreply: yes"), {"auto_response": True}),
    (changed(b"Return-Path: <>"), {"auto_response": True}),
    (changed(b"Content-Type: text/plain; charset=iso-8859-1") + b"\xfc", {"text": "Where is it?\nü"}),
    (changed(b"Content-Type: text/plain; charset=utf-8") + b"\xfc", {"metadata": {"broken": "charset"}}),
    (changed(b"Content-Type: text/plain; charset=wrong") + "ü".encode(), {"text": "Where is it?\nü"}),
    (changed(b"Content-Type: text/html"), {"html": "Where is it?"}),
    (changed(b"Content-Transfer-Encoding: base64"), {"metadata": {"broken": "encoding"}}),
]


@pytest.mark.parametrize(("content", "expected"), _READ, ids=lambda value: str(value)[:40])
def test_what_a_mail_is_read_as(content: bytes, expected: Mapping[str, object]) -> None:
    fields = read(content).fields
    assert {name: fields.get(name) for name in expected} == expected


@pytest.mark.parametrize("header", [b"Auto-Submitted: no", b"Precedence: bulk", b"X-Autoreply: no"])
def test_what_is_no_answer_of_a_machine(header: bytes) -> None:
    assert "auto_response" not in read(changed(header)).fields


def test_the_empty_return_path_is_a_machines() -> None:
    assert read(PLAIN, sender="").fields["auto_response"] is True
    assert "auto_response" not in read(PLAIN, sender="ann@example.com").fields


def test_whom_it_was_brought_to_unnamed_is_a_recipient() -> None:
    fields = read(PLAIN, recipients=["Support@acme.example", "hidden@acme.example"]).fields
    assert fields["to"] == ["support@acme.example", "hidden@acme.example"]


def test_a_mail_that_was_sent_names_its_recipient_as_the_party() -> None:
    mail = read(PLAIN, direction="outbound")
    assert (mail.fields["direction"], mail.fields["status"], mail.party) == ("outbound", "sent", "support@acme.example")
    assert read(PLAIN).party == "Ann@Example.com"


def test_acceptance_44_no_message_id_is_a_stable_synthetic_one() -> None:
    first = read(changed(b"Message-ID:"), sender="a@b.example").fields["interaction_id"]
    assert first.startswith("synthetic:")
    assert read(changed(b"Message-ID:"), recipients=["x@acme.example"]).fields["interaction_id"] == first
    for header in (b"From: b@example.com", b"Subject: other", b"Date: Mon, 23 Nov 2026 10:15:30 +0200"):
        assert read(changed(b"Message-ID:", header)).fields["interaction_id"] != first
    assert read(changed(b"Message-ID:") + b"more").fields["interaction_id"] != first


@pytest.mark.parametrize("text", ["", "<>", "< >", "<" + "x" * 513 + ">", "<a\x01b>"])
def test_what_is_no_message_id(text: str) -> None:
    assert message_id(text) is None


PARTS = b"""\
From: ann@example.com
To: support@acme.example
Message-ID: <1@example.com>
Date: Sun, 22 Nov 2026 10:15:30 +0200
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Gr=C3=BC=C3=9Fe
--inner
Content-Type: text/html; charset=utf-8

<p>Gr&uuml;&szlig;e</p>
--inner--
--outer
Content-Type: application/pdf; name="x.pdf"
Content-Disposition: attachment; filename*=utf-8''..%2Fr%C3%A9sum%C3%A9.pdf
Content-Transfer-Encoding: base64

JVBERi0=
--outer
Content-Type: message/rfc822

From: b@example.com
Subject: inner

forwarded
--outer--
"""


def test_the_parts_of_a_mail() -> None:
    mail = read(PARTS)
    assert (mail.fields["text"], mail.fields["html"]) == ("Grüße", "<p>Gr&uuml;&szlig;e</p>")
    forwarded = b"From: b@example.com\nSubject: inner\n\nforwarded"
    contents = [b"%PDF-", forwarded]
    assert [each.content for each in mail.attachments] == contents
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    assert mail.fields["attachments"] == [
        {"name": "résumé.pdf", "content_type": "application/pdf", "size": 5, "sha256": digests[0]},
        {"name": None, "content_type": "message/rfc822", "size": len(forwarded), "sha256": digests[1]},
    ]
    linked = mail.linked(["file:///x", None])
    assert [each["url"] for each in linked["attachments"]] == ["file:///x", None]


_LARGE: list[tuple[bytes, str]] = [
    (changed() + b"x" * (300 * 1024), "text"),
    (changed() + b"\x01" * (250 * 1024), "text"),
    (changed(b"Content-Type: text/html") + b"x" * (300 * 1024), "html"),
    (changed(b"References: " + b" ".join(b"<%d@x>" % each for each in range(101))), "references"),
    (changed(b"To: " + b", ".join(b"%d@acme.example" % each for each in range(101))), "to"),
    (
        changed(b"Content-Type: multipart/mixed; boundary=b")
        + b"\n".join(b"--b\nContent-Disposition: attachment\n\n%d" % each for each in range(101)),
        "attachments",
    ),
]


@pytest.mark.parametrize(("content", "name"), _LARGE, ids=[name for _, name in _LARGE])
def test_what_is_too_large_is_shortened_and_told(content: bytes, name: str) -> None:
    mail = read(content)
    assert name in mail.fields["metadata"]["shortened"].split(",")
    assert len(mail.attachments) == len(mail.fields.get("attachments", ()))


def test_of_references_the_nearest_are_kept() -> None:
    mail = read(changed(b"References: " + b" ".join(b"<%d@x>" % each for each in range(101))))
    assert mail.fields["references"][-1] == "100@x"


_NESTED = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (each, each) for each in range(60))
_BROKEN = [
    b"",
    b"\n",
    b"\x00\xff\xfe",
    b"Content-Type: multipart/mixed; boundary=x\n\nno part",
    b"Content-Type: multipart/mixed\n\nno boundary",
    b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\n" * 2_000,
    b"Content-Type: text/plain" + b';"' * 100_000 + b"\n\nx",
    b"Content-Disposition: attachment; filename*" + b"9" * 5_000 + b"=x\n\nx",
    b"From: " + b"(" * 100_000 + b"\nTo: " + b"<" * 100_000 + b'\nCc: "\\' + b"\\" * 100_000 + b"\n\nx",
    b"Subject: " + b"=?a?q?" * 100_000 + b"\n\nx",
    b"Content-Type: text/plain; charset=punycode\n\nx",
    b"Content-Type: text/plain; charset=\x00\n\nx",
    b"Content-Type:;charset*\n\x80",
    _NESTED + b"x",
    b"a:b\n" * 100_000 + b"\nx",
    b"Subject: x\n\n" + b"\n" * 1_000_001,
]


@pytest.mark.parametrize("content", _BROKEN, ids=lambda content: str(content[:40]))
def test_a_broken_mail_arrives_with_a_flag(content: bytes) -> None:
    fields = read(content).fields
    assert fields["interaction_id"].startswith("synthetic:")
    assert "date" in fields["metadata"]["broken"].split(",")


def test_a_structure_that_is_none_is_told() -> None:
    assert "structure" in read(b"Content-Type: multipart/mixed\n\nno boundary").fields["metadata"]["broken"].split(",")


_OUTSIZED = [
    b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\n" * 2_000,
    _NESTED + b"x",
    b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\ny" + b"\n" * 1_000_001,
]


@pytest.mark.parametrize("content", _OUTSIZED, ids=["parts", "levels", "lines"])
def test_of_an_outsized_structure_the_body_is_one_text(content: bytes) -> None:
    fields = read(content).fields
    assert "structure" in fields["metadata"]["broken"].split(",")
    assert fields["text"].startswith("--")
    assert "attachments" not in fields


@pytest.mark.parametrize(
    "header", [b"Content-Type: text/plain", b"Content-Disposition: attachment", b"From: a", b"To: a"]
)
@pytest.mark.parametrize("filling", [b';"', b"(", b"<", b'"\\', b"=?a?q?", b", ", b"a@b.example,"])
def test_a_long_header_takes_no_long_time(header: bytes, filling: bytes) -> None:
    with within(2.0):
        read(header + filling * 400_000 + b"\n\nx")


def test_encodings_that_are_no_charsets_are_not_obeyed() -> None:
    fields = read(b"Content-Type: text/plain; charset=utf-7\n\n+ADw-script+AD4-").fields
    assert (fields["text"], fields["metadata"]["broken"]) == ("+ADw-script+AD4-", "charset,date")


_OUTLOOK = "From: Bob\nSent: Monday\nTo: Ann\nSubject: RE: it\n\nwhat you wrote"
_REPLIES: list[tuple[str, str | None]] = [
    ("Yes.", None),
    ("Yes.\n\nOn Mon, 23 Nov 2026 at 10:00, Bob <b@x> wrote:\n\n> Is it?\n", "Yes."),
    ("Yes.\n\nOn Mon, 23 Nov 2026 at 10:00, Bob\n<b@x> wrote:\n> Is it?\n> really", "Yes."),
    ("Ja.\n\nAm 23.11.2026 schrieb Bob:\n> Ist es so?", "Ja."),
    ("Oui.\n\nLe lun. 23 nov. 2026, Bob a écrit :\n> Alors ?", "Oui."),
    ("はい\n\n2026年11月23日 Bob:\n> 本当に\n> ?\n\n", "はい"),
    ("Yes.\n> Is it?", "Yes."),
    ("On Monday, Bob wrote:\n> Is it?\nYes.\n> Really?\nYes.", None),
    ("Bob wrote:\n> Is it?\n\nYes.", None),
    ("Hello Bob,\n\nBob wrote:\n> Is it?\n\nYes.", None),
    ("> Is it?\n\nYes.", None),
    ("> only\n> quoted", None),
    (f"Yes.\n\n{_OUTLOOK}", "Yes."),
    (f"Yes.\n\n-----Original Message-----\n{_OUTLOOK}", "Yes."),
    ("Yes.\n\n________________________________\n*Von:* Bob\n*Gesendet:* Montag\n*An:* Ann\n\nText", "Yes."),
    ("To: do\nCc: them\nand all", None),
    ("Yes.\n-- \nAnn\n\nBob wrote:\n> Is it?\n-- \nBob", "Yes.\n-- \nAnn"),
    ("He wrote:\nnothing", None),
    ("\n" * 200_000, None),
    ("> \n" * 100_000 + "x", None),
    ("x:\n" * 100_000, None),
    ("On " * 100_000 + "wrote:", None),
]


@pytest.mark.parametrize(("text", "reply"), _REPLIES, ids=lambda value: str(value)[:30])
def test_what_was_written_above_the_quoted_mail(text: str, reply: str | None) -> None:
    assert reply_of(text) == reply


def test_the_reply_stands_beside_the_whole_text() -> None:
    fields = read(PLAIN + b"\nBob wrote:\n> hello\n").fields
    assert (fields["reply"], fields["text"]) == ("Where is it?", "Where is it?\n\nBob wrote:\n> hello")
