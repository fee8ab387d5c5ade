"""What a request is answered, whatever serves it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

RETRY_AFTER_S: Final = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a body, and headers besides its type."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> Answer:
    """Return the answer to a request that is not taken."""
    return Answer(status, orjson.dumps({"code": code, "field": None, "message": message}), headers=headers or {})


NOT_FOUND: Final = refusal(404, "not_found", "there is no such gateway")


def not_allowed(methods: Iterable[str]) -> Answer:
    """Return the answer to a request whose method is none of these."""
    allowed = {"Allow": ", ".join(methods)}
    return refusal(405, "not_allowed", "the gateway does not take this method", headers=allowed)


TOO_SLOW: Final = refusal(408, "too_slow", "the body did not come in time")
TOO_LARGE: Final = refusal(413, "too_large", "the request is too large")
UNSUPPORTED: Final = refusal(415, "unsupported_media_type", "the gateway does not take bodies of this type")
FORBIDDEN: Final = refusal(403, "forbidden", "the credentials or the signature are wrong")
UNAUTHENTICATED: Final = refusal(
    401,
    "unauthenticated",
    "there are no credentials and no signature",
    headers={"WWW-Authenticate": 'Basic realm="interaction-router", Bearer'},
)
UNAVAILABLE: Final = refusal(
    503, "unavailable", "nothing can be stored for now", headers={"Retry-After": str(RETRY_AFTER_S)}
)
