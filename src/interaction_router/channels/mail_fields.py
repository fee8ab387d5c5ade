"""The fields of a mail that vendors have taken apart: addresses, Message-IDs, answers of machines."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import getaddresses
from hashlib import sha256
from typing import Any, Final

from interaction_router.channels.kit import Event, Fields, first, plain, when, words
from interaction_router.channels.mail_parts import decoded
from interaction_router.channels.quoting import reply_of

_ID: Final = re.compile(r"<([^<>\s]+)>")
_AUTO_PRECEDENCE: Final = frozenset({"auto_reply", "auto-reply"})
_ADDRESSES_BYTES: Final = 64 * 1024
"""The most of an address header that is looked at; the standard parser is slow on nonsense."""

Headers = Mapping[str, str]
"""Header names in lower case, of several of one name the first."""


def message_id(value: object) -> str | None:
    """Return a Message-ID without its angle brackets."""
    text = words(value)
    if text is None:
        return None
    found = _ID.search(text)
    return found[1] if found else text.strip().strip("<>").strip() or None


def synthetic_id(sender: str, date: str, subject: str, text: str) -> str:
    """Return the id of a mail that has none: the same mail, delivered again, has the same one."""
    digest = sha256()
    for each in (sender, date, subject, text):
        digest.update(each.encode("utf-8", "surrogatepass") + b"\x00")
    return f"synthetic:{digest.hexdigest()}"


def references(headers: Headers) -> list[str]:
    """Return the Message-IDs that a mail refers to, oldest first, each once."""
    ids = _ID.findall(f"{headers.get('references', '')} {headers.get('in-reply-to', '')}")
    return list(dict.fromkeys(ids))


def party(address: object, name: object = None) -> Any:  # Any: an address of a raw interaction
    """Return a mailbox as a raw interaction has it, with the name that came with it; None for none."""
    text = words(address)
    if text is None:
        return None
    called = first(name)
    return text.strip() if called is None else {"address": text.strip(), "name": called.strip()}


def parties(header: object) -> list[Any]:
    """Return the mailboxes of an address header."""
    text = words(header)
    if text is None:
        return []
    pairs = getaddresses([text[:_ADDRESSES_BYTES]])
    found = [party(address, decoded(name)) for name, address in pairs if address.strip()]
    return found or [text.strip()]


def header_map(pairs: Iterable[tuple[object, object]]) -> Headers:
    """Return headers by name."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if isinstance(name, str) and isinstance(value, str):
            found.setdefault(name.strip().lower(), value)
    return found


def header_lines(text: str) -> Headers:
    """Return the headers of a mail's header block."""
    unfolded = re.sub(r"\r?\n[ \t]+", " ", text)
    split = (line.partition(":") for line in unfolded.splitlines())
    return header_map((name, value.strip()) for name, colon, value in split if colon)


def auto_response(headers: Headers) -> bool | None:
    """Tell whether a machine has answered; None where nothing says so. Source: RFC 3834 section 5."""
    submitted = headers.get("auto-submitted", "no").partition(";")[0].strip().lower()
    if submitted not in {"", "no"} or "x-autoreply" in headers or "x-autorespond" in headers:
        return True
    return True if headers.get("precedence", "").strip().lower() in _AUTO_PRECEDENCE else None


def attachment(name: object, content_type: object, size: int | None, url: object = None) -> Fields:
    """Return an attachment as a raw interaction has it."""
    told = {"name": words(name), "content_type": words(content_type), "size": size, "url": words(url)}
    return {key: value for key, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as a vendor has taken it apart; `sender` and `recipients` are address headers or mailboxes."""

    headers: Headers
    sender: Any  # Any: an address of a raw interaction
    recipients: Sequence[Any]
    subject: str | None
    text: str | None
    html: str | None
    attachments: Sequence[Fields]
    date: str | None


def mail_event(mail: Mail, provider: str, *, received_at_ms: int, also_at: object = None) -> Event:
    """Return the event of a mail that came in."""
    identity = message_id(mail.headers.get("message-id")) or _synthetic(mail)
    fields = plain(
        channel="email",
        direction="inbound",
        interaction_id=identity,
        status="received",
        occurred_at=when(received_at_ms, mail.date, also_at),
        from_=mail.sender,
        to=list(mail.recipients) or None,
        cc=parties(mail.headers.get("cc")) or None,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        reply=reply_of(mail.text) if mail.text else None,
        attachments=list(mail.attachments) or None,
        references=references(mail.headers) or None,
        auto_response=auto_response(mail.headers),
        provider=provider,
    )
    return Event(fields)


def _synthetic(mail: Mail) -> str:
    address = mail.sender["address"] if isinstance(mail.sender, dict) else mail.sender
    sender = mail.headers.get("from") or address or ""
    return synthetic_id(sender, mail.date or "", mail.subject or "", mail.text or "")


def mail_receipt(  # noqa: PLR0913 - what a receipt has
    *, identity: str, status: str, at: str, recipient: object, provider: str, sender: object = None, why: object = None
) -> Event:
    """Return the event of what became of a mail that went out."""
    senders = parties(sender)
    reason = words(why)
    fields = plain(
        channel="email",
        direction="outbound",
        interaction_id=identity,
        status=status,
        occurred_at=at,
        from_=senders[0] if senders else None,
        to=party(recipient),
        provider=provider,
        metadata=None if reason is None or status != "failed" else {"error": reason},
    )
    return Event(fields)
