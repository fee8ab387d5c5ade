"""E-mail addresses in canonical form."""

import re
import unicodedata
from typing import Final

import idna

_DOMAIN_LIMIT: Final = 253
_LOCAL: Final = re.compile(r'"[^"]*"|[^\s"@<>,;:\\()\[\]]+')
_DOMAIN: Final = re.compile(r"\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")


def mailbox(text: str) -> str | None:
    """Return the mailbox in lower case, its domain as DNS has it, a `+tag` kept; None for what is no mailbox.

    Source: RFC 5321 section 4.1.2; UTS 46 for the domain.
    """
    local, at, domain = text.rpartition("@")
    local, domain = unicodedata.normalize("NFC", local.lower()), domain.rstrip(".").lower()
    if not at or _LOCAL.fullmatch(local) is None:
        return None
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii").lower()
        except idna.IDNAError:
            return None
    if len(domain) > _DOMAIN_LIMIT or ".." in domain or _DOMAIN.fullmatch(domain) is None:
        return None
    return f"{local}@{domain}"
