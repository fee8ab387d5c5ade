"""Addresses in canonical form (section 3 of the contract): what decides that two of them are one party.

An interaction's address always has one, if only an opaque one; a contact's is refused where it has none.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

from interaction_router.domain.errors import RejectedError
from interaction_router.wire.mailboxes import mailbox
from interaction_router.wire.phone_numbers import digits_of, e164, e164_global, e164_of_user_id

TEL_OPAQUE: Final = "tel:opaque/"
EMAIL_OPAQUE: Final = "email:opaque/"

_CACHED: Final = 65_536
_PHONE_CHANNELS: Final = frozenset({"voice", "sms"})
_CHANNELS_WITH_NAMES: Final = frozenset({"email", "voice", "sms", "whatsapp"})
_RESERVED_SCHEMES: Final = frozenset({"tel", "mailto", "sip", "sips", "wa", "email", "whatsapp", "voice", "sms"})
_OF_CHANNEL: Final = re.compile(r"(?P<channel>[a-z][a-z0-9_-]*):\S(?:.*\S)?", re.DOTALL)
_ANGLE: Final = re.compile(r"[^<>]*<\s*(?P<address>[^<>]*[^<>\s])\s*>\s*")
_SIP: Final = re.compile(r"sips?:(?:(?P<user>[^@;?\s]+)@)?(?P<host>[^@;?\s]+)(?P<rest>[;?].*)?", re.IGNORECASE)
_WHATSAPP: Final = "whatsapp:"


class Canonical(NamedTuple):
    """A party's endpoint; `opaque` where it is in doubt whether others write the same address differently."""

    endpoint: str
    opaque: bool


@lru_cache(maxsize=_CACHED)
def canonical(channel: str, address: str, region: str | None) -> Canonical:
    """Return the endpoint of an address that came over the channel; national numbers are those of the region."""
    text = _plain(address) if channel in _CHANNELS_WITH_NAMES else unicodedata.normalize("NFC", address).strip()
    taken = _taken_as_it_is(text)
    if taken is not None:
        return taken
    if channel == "email":
        return _email(text)
    if channel == "whatsapp":
        return _whatsapp(text, region)
    if channel in _PHONE_CHANNELS:
        return _phone(text, region)
    return Canonical(f"{channel}:{text}", opaque=False)


@lru_cache(maxsize=_CACHED)
def _contact_endpoint(address: str, region: str | None) -> str | None:
    text = _plain(address)
    taken = _taken_as_it_is(text)
    if taken is not None:
        return taken.endpoint
    scheme = text.partition(":")[0].lower()
    if scheme in {"sip", "sips"}:
        return _sip(text)
    if "@" in text:
        found = _email(text)
        return None if found.opaque else found.endpoint
    number = e164(_number_in(text), region)
    return None if number is None else f"tel:{number}"


def canonical_contact_address(address: str, region: str | None, *, field: str | None = None) -> str:
    """Return the endpoint of an address that a contact is saved with.

    Raises:
        RejectedError: `address_invalid` where it is neither canonical nor a possible number nor a mailbox.
    """
    endpoint = _contact_endpoint(address, region)
    if endpoint is None:
        raise RejectedError("address_invalid", "is no canonical address, possible number or mailbox", field=field)
    return endpoint


def canonical_own_addresses(addresses: tuple[str, ...], region: str | None) -> frozenset[str]:
    """Return the endpoints of a tenant's own addresses, short codes and alphanumeric senders too."""
    return frozenset(_contact_endpoint(each, region) or canonical("sms", each, region).endpoint for each in addresses)


def _plain(address: str) -> str:
    """Return the address without what only surrounds it: space, and a name before it in angle brackets."""
    text = unicodedata.normalize("NFC", address).strip()
    match = _ANGLE.fullmatch(text)
    return match["address"] if match else text


def _taken_as_it_is(text: str) -> Canonical | None:
    """Return an address that is in canonical form, whatever channel it came over; None for any other."""
    scheme, colon, rest = text.partition(":")
    if not colon or not rest:
        return None
    endpoint = Canonical(text, opaque=False)
    if text.startswith(TEL_OPAQUE):
        opaque = text.removeprefix(TEL_OPAQUE)
        unnamed = opaque == _opaque_number(opaque) and e164_global(opaque) is None
        return Canonical(text, opaque=True) if opaque and unnamed else None
    if text.startswith(EMAIL_OPAQUE):
        opaque = text.removeprefix(EMAIL_OPAQUE)
        return Canonical(text, opaque=True) if opaque and _email(opaque).endpoint == text else None
    if scheme == "tel":
        return endpoint if e164_global(rest) == rest else None
    if scheme == "mailto":
        return endpoint if mailbox(rest) == rest else None
    if scheme == "sip":
        return endpoint if _sip(text) == text else None
    if scheme == "wa":
        return endpoint if _whatsapp(rest, None).endpoint == text else None
    match = _OF_CHANNEL.fullmatch(text)
    return endpoint if match is not None and scheme not in _RESERVED_SCHEMES else None


def _email(text: str) -> Canonical:
    if text[:7].lower() == "mailto:":
        text = text[7:].partition("?")[0]
    found = mailbox(text)
    if found is not None:
        return Canonical(f"mailto:{found}", opaque=False)
    return Canonical(EMAIL_OPAQUE + unicodedata.normalize("NFC", " ".join(text.lower().split())), opaque=True)


def _phone(text: str, region: str | None) -> Canonical:
    sip = _sip(text)
    if sip is not None:
        return Canonical(sip, opaque=False)
    if "@" in text:
        sip = _sip(f"sip:{text}")
        if sip is not None:
            return Canonical(sip, opaque=False)
    return _number_or_opaque(_number_in(text), region)


def _number_or_opaque(text: str, region: str | None) -> Canonical:
    number = e164(text, region)
    if number is not None:
        return Canonical(f"tel:{number}", opaque=False)
    return Canonical(TEL_OPAQUE + _opaque_number(text), opaque=True)


def _number_in(text: str) -> str:
    """Return the number without the schemes that stand before one."""
    lower = text.lower()
    for scheme in (_WHATSAPP, TEL_OPAQUE):
        if lower.startswith(scheme):
            return text[len(scheme) :].strip() or text
    return text


def _opaque_number(text: str) -> str:
    """Return what names a sender that has no number: of digits the digits, of text the text."""
    return digits_of(text) or " ".join(text.split())


def _whatsapp(text: str, region: str | None) -> Canonical:
    text = _number_in(text)
    if text[:3].lower() == "wa:":
        text = text[3:].strip() or text
    if digits_of(text) is None:
        return Canonical(f"wa:{text}", opaque=False)
    number = e164_of_user_id(text, region)
    if number is not None:
        return Canonical(f"tel:{number}", opaque=False)
    return Canonical(TEL_OPAQUE + _opaque_number(text), opaque=True)


def _sip(text: str) -> str | None:
    """Return a SIP address without its parameters, its host in lower case; None for what is none.

    A user part that is said to be a telephone number is one. Source: RFC 3261 sections 19.1.4 and 19.1.6.
    """
    match = _SIP.fullmatch(text)
    if match is None:
        return None
    user, host = match["user"], match["host"].lower()
    if user is not None and "user=phone" in (match["rest"] or "").lower():
        number = e164_global(user)
        if number is not None:
            return f"tel:{number}"
    return f"sip:{host}" if user is None else f"sip:{user}@{host}"
