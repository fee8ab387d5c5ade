"""Proofs of origin that several vendors share. Each compares in constant time."""

import base64
import binascii
import hmac
from hashlib import sha256

from interaction_router.channels.kit import Credentials, Request, Verdict


def same(given: str, expected: str) -> bool:
    """Compare two secrets in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))


def hex_hmac(key: str, message: bytes) -> str:
    """Return the HMAC-SHA256 in hexadecimal."""
    return hmac.new(key.encode(), message, sha256).hexdigest()


def bearer_or_basic(request: Request, credentials: Credentials) -> Verdict:
    """Check a bearer token, or a name and password, whichever of them the tenant has set."""
    header = request.headers.get("authorization", "").strip()
    if not header:
        return "missing"
    scheme, _, rest = header.partition(" ")
    match scheme.lower():
        case "bearer" if "token" in credentials:
            return "authentic" if same(rest.strip(), credentials["token"]) else "wrong"
        case "basic" if {"username", "password"} <= credentials.keys():
            return "authentic" if _is_login(rest.strip(), credentials) else "wrong"
        case _:
            return "wrong"


def _is_login(encoded: str, credentials: Credentials) -> bool:
    try:
        login = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return False
    return same(login, f"{credentials['username']}:{credentials['password']}")


LOGIN = (frozenset({"username", "password"}),)
LOGIN_OR_TOKEN = (*LOGIN, frozenset({"token"}))
