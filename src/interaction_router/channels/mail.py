"""Mail as it is sent between servers (RFC 5322, MIME), read into raw interactions.

No mail is refused for its form: what is broken arrives with `metadata.broken`. Pure; attachments are handed back to be
stored, named by their digests.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from typing import Final

from interaction_router.channels.mail_fields import synthetic_id
from interaction_router.channels.mail_limits import TEXT_BYTES_LIMIT, cut, shortened
from interaction_router.channels.mail_parts import (
    Faults,
    Part,
    decoded,
    header,
    leaves,
    parse_message,
    raw_header,
    text_of,
)
from interaction_router.channels.quoting import reply_of
from interaction_router.domain.interactions import Direction
from interaction_router.wire.schema import TEXT_LIMIT
from interaction_router.wire.strict_json import JsonObject
from interaction_router.wire.times import read_time, spell_time

CHANNEL: Final = "email"
_NAME_LIMIT: Final = 255
_TEXT_READ_LIMIT: Final = 4 * TEXT_BYTES_LIMIT
_MACHINES: Final = ("x-autoreply", "x-autorespond", "x-auto-response", "x-autoresponse")
_ADDRESSES_LIMIT: Final = 8 * 1024


@dataclass(frozen=True, slots=True)
class Attachment:
    """Something that came with a mail; `digest` is the SHA-256 of its content, in hexadecimal."""

    name: str | None
    content_type: str
    digest: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """How a mail came: what the servers said to one another, which may differ from its headers.

    `sender` is None where unknown, "" for the empty return path of a machine's mail.
    """

    tenant: str
    received_at_ms: int
    sender: str | None = None
    recipients: Sequence[str] = ()
    direction: Direction = "inbound"


@dataclass(frozen=True, slots=True)
class Mail:
    """A raw interaction, and what came with it; `fields["attachments"]` has one entry for each of `attachments`."""

    fields: JsonObject
    attachments: Sequence[Attachment]

    def linked(self, urls: Sequence[str | None]) -> JsonObject:
        """Return the raw interaction with its attachments where they are stored now."""
        entries = [{**entry, "url": url} for entry, url in zip(self.fields.get("attachments", ()), urls, strict=True)]
        return {**self.fields, "attachments": entries} if entries else self.fields

    @property
    def party(self) -> str | None:
        """The customer's address, None when withheld."""
        side = self.fields["from"]
        if self.fields["direction"] == "outbound":
            side = self.fields["to"][0] if self.fields["to"] else None
        address = side["address"] if isinstance(side, dict) else side
        return address if isinstance(address, str) else None


def read_mail(content: bytes, envelope: Envelope, damage: str | None = None) -> Mail:
    """Return what a mail is; anything is one. `damage` happened to it on its way here."""
    faults = Faults([damage] if damage else [])
    message = parse_message(content, faults)
    text, html, attached = _bodies(message, faults)
    subject = header(message, "subject")
    senders = _addresses(message, ("from",), faults) or _addresses(message, ("sender", "reply-to"), faults)
    sender = senders[0] if senders else envelope.sender or None
    fields: JsonObject = {
        "tenant": envelope.tenant,
        "channel": CHANNEL,
        "direction": envelope.direction,
        "interaction_id": _identity(message, text, faults),
        "status": "received" if envelope.direction == "inbound" else "sent",
        "occurred_at": spell_time(_sent_at_ms(message, envelope, faults)),
        "from": sender if isinstance(sender, dict) else _address(sender),
        **_recipients(message, envelope, faults),
        "subject": subject,
        "text": text,
        "html": html,
        "references": _references(message),
        "attachments": [_entry(each) for each in attached],
        "auto_response": True if _is_automatic(message, envelope) else None,
        "provider": "mail",
        "reply": reply_of(text) if text else None,
    }
    if faults.words:
        fields["metadata"] = {"broken": ",".join(sorted(faults.words))}
    fields = shortened({name: value for name, value in fields.items() if value not in (None, []) or name in _REQUIRED})
    return Mail(fields, attached[: len(fields.get("attachments", ()))])


_REQUIRED: Final = frozenset({"from", "to"})


def message_id(text: str) -> str | None:
    """Return a Message-ID without angle brackets; None for what is none, or longer than an id may be."""
    found = _bracketed(text) or text.split()
    identity = found[0].strip("<>").strip() if found else ""
    usable = 0 < len(identity) <= TEXT_LIMIT and identity.isprintable()
    return identity if usable else None


def _identity(message: Message, text: str | None, faults: Faults) -> str:
    raw = raw_header(message, "message-id")
    identity = message_id(raw)
    if identity is not None:
        return identity
    if raw:
        faults.add("message_id")
    sender, date, subject = (raw_header(message, name) for name in ("from", "date", "subject"))
    return synthetic_id(sender, date, subject, text or "")


def _sent_at_ms(message: Message, envelope: Envelope, faults: Faults) -> int:
    """Return when the mail says that it was sent; when it came, where it does not say so."""
    raw = raw_header(message, "date")
    try:
        at = parsedate_to_datetime(raw[:_NAME_LIMIT])
        at_ms = read_time((at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat())
    except (ValueError, TypeError, IndexError, OverflowError):
        at_ms = None
    if at_ms is None:
        faults.add("date")
        return envelope.received_at_ms
    return at_ms


def _recipients(message: Message, envelope: Envelope, faults: Faults) -> JsonObject:
    """Return `to`, and `cc` beside it; whom the mail was brought to without being named is one of `to`."""
    to, cc = _addresses(message, ("to",), faults), _addresses(message, ("cc",), faults)
    named = {_folded(each) for each in (*to, *cc)}
    blind = [usable for each in envelope.recipients if each.lower() not in named and (usable := _address(each))]
    return {"to": [*to, *blind], "cc": cc}


def _folded(party: JsonObject | str) -> str:
    return str(party["address"] if isinstance(party, dict) else party).lower()


def _addresses(message: Message, names: Iterable[str], faults: Faults) -> list[JsonObject | str]:
    """Return the addresses of headers, each once, with their names where they have one."""
    found: dict[str, JsonObject | str] = {}
    for name in names:
        raw = raw_header(message, name)[:_ADDRESSES_LIMIT]
        pairs = _pairs(raw)
        if raw and not pairs:
            faults.add("addresses")
        for title, address in pairs:
            shown = (decoded(title) or "")[:_NAME_LIMIT]
            found.setdefault(address.lower(), {"address": address, "name": shown} if shown else address)
    return list(found.values())


def _pairs(raw: str) -> list[tuple[str, str]]:
    """Return names and addresses of one header; an unreadable one has none."""
    try:
        pairs = getaddresses([raw])
    except (ValueError, TypeError, IndexError, AttributeError, RecursionError):
        return []
    return [(title, usable) for title, address in pairs if (usable := _address(address)) and "@" in usable]


def _address(address: str | None) -> str | None:
    """Return an address that a record can hold."""
    address = (address or "").strip()
    return address if 0 < len(address) <= TEXT_LIMIT and address.isprintable() else None


def _references(message: Message) -> list[str]:
    """Return the mails that this one answers to, the nearest last."""
    found: dict[str, None] = {}
    for name in ("references", "in-reply-to"):
        raw = raw_header(message, name)
        for each in _bracketed(raw) or [word for word in raw.split() if "@" in word]:
            if (identity := message_id(each)) is not None:
                found.setdefault(identity)
    return list(found)


def _bracketed(text: str) -> list[str]:
    """Return what stands in angle brackets."""
    pieces = (piece.partition(">") for piece in text.split("<")[1:])
    return ["".join(inner.split()) for inner, closed, _ in pieces if closed and inner.strip()]


def _is_automatic(message: Message, envelope: Envelope) -> bool:
    """Return whether a machine answered. Source: RFC 3834 section 5; RFC 3464; RFC 5321 section 4.5.5."""
    said = raw_header(message, "auto-submitted").lower().partition(";")[0].strip()
    return (
        said not in {"", "no"}
        or envelope.sender == ""
        or raw_header(message, "return-path") == "<>"
        or raw_header(message, "precedence").lower() == "auto_reply"
        or message.get_content_type() == "multipart/report"
        or any(raw_header(message, name).lower() not in {"", "no"} for name in _MACHINES)
    )


def _bodies(message: Message, faults: Faults) -> tuple[str | None, str | None, list[Attachment]]:
    """Return text, HTML and what is attached."""
    texts: dict[str, list[str]] = {"text/plain": [], "text/html": []}
    attached: list[Attachment] = []
    taken: set[str] = set()
    for part in leaves(message, faults):
        kind = part.content_type
        if kind in texts and not part.attached:
            taken.add(kind)
            texts[kind].append(_text(part, faults))
        elif part.content or part.name:
            digest = hashlib.sha256(part.content).hexdigest()
            attached.append(Attachment(part.name, kind, digest, part.content))
    plain, html = ("\n".join(filter(None, texts[kind])).strip("\n") or None for kind in texts)
    return plain, html, attached


def _text(part: Part, faults: Faults) -> str:
    """Return a part's text with line breaks as they are in JSON's world."""
    content = part.content
    text, fitted = text_of(content[:_TEXT_READ_LIMIT], part.charset)
    if not fitted and len(content) <= _TEXT_READ_LIMIT:
        faults.add("charset")
    text = cut(text.replace("\r\n", "\n").replace("\r", "\n"), _TEXT_READ_LIMIT)
    return text.replace("\x00", "")


def _entry(attachment: Attachment) -> JsonObject:
    return {
        "name": attachment.name,
        "content_type": attachment.content_type,
        "size": len(attachment.content),
        "sha256": attachment.digest,
    }
