"""The parties of calls, for events that name none, such as a recording."""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from secrets import token_bytes
from typing import Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from interaction_router.channels.kit import Event
from interaction_router.domain.errors import RetryableError, RouterError
from interaction_router.ports import Memory

DAY_S: Final = 24 * 60 * 60
_UNKEPT_LIMIT: Final = 10_000
_NONCE_BYTES: Final = 12
_PARTY: Final = ("interaction_id", "direction", "from", "to")
_LOGGER = logging.getLogger("interaction_router.receivers")


class NotRecalledError(RetryableError):
    """Whether anything is known of a call cannot be told for now."""


class Calls:
    """Remembers who a call is with, for a day, under every id that a later event may name it by.

    What is kept can be read only by who has the call's id: the key that it is under is a digest of the id, and the
    value is encrypted under another. So no address lies in the open where erasing a contact does not reach.
    """

    def __init__(self, memory: Memory) -> None:
        """Share the memory with every receiver of the namespace."""
        self._memory = memory
        self._unkept: OrderedDict[str, bytes] = OrderedDict()
        """What the memory did not take, for events that come to this very receiver."""

    async def complete(self, source: str, events: Sequence[Event]) -> tuple[list[Event], str | None]:
        """Return the events with their parties, and why others are left out; remember what they tell.

        `source` names vendor and tenant. The first that is told of a call stands.

        Raises:
            NotRecalledError: the memory does not answer for an event without a party.
        """
        found: list[Event] = []
        unread: str | None = None
        for event in events:
            if not event.calls:
                found.append(event)
            elif event.names_party:
                await self._remember(source, event)
                found.append(event)
            elif (known := await self._recall(source, event)) is not None:
                found.append(known)
            else:
                unread = "nothing is known of the call's party"
        return found, unread

    async def _remember(self, source: str, event: Event) -> None:
        """Do not keep the event back where it cannot be remembered: most have no recording."""
        told = orjson.dumps({name: event.fields.get(name) for name in _PARTY})
        sealed = {_name(source, call): _sealed(source, call, told) for call in event.calls}
        try:
            for name, value in sealed.items():
                await self._memory.keep(name, value, ttl_s=DAY_S)
        except RouterError as error:
            _LOGGER.warning("call_not_remembered", extra={"source": source, "code": error.code})
            for name, value in sealed.items():
                self._unkept.setdefault(name, value)
            while len(self._unkept) > _UNKEPT_LIMIT:
                self._unkept.popitem(last=False)

    async def _recall(self, source: str, event: Event) -> Event | None:
        try:
            for call in event.calls:
                name = _name(source, call)
                kept = self._unkept.get(name) or await self._memory.recall(name)
                told = None if kept is None else _opened(source, call, kept)
                if told is not None:
                    return replace(event, fields={**event.fields, **orjson.loads(told)})
        except RouterError as error:
            _LOGGER.warning("call_not_recalled", extra={"source": source, "code": error.code})
            raise NotRecalledError(error.code, error.cause, error.advice) from error
        return None


def _name(source: str, call: str) -> str:
    return f"call:{_digest('name', source, call, size=16).hex()}"


def _digest(use: str, source: str, call: str, *, size: int) -> bytes:
    words = f"{source}\0{call}".encode("utf-8", "replace")
    return blake2b(words, digest_size=size, person=use.encode()).digest()


def _sealed(source: str, call: str, told: bytes) -> bytes:
    nonce = token_bytes(_NONCE_BYTES)
    return nonce + ChaCha20Poly1305(_digest("key", source, call, size=32)).encrypt(nonce, told, None)


def _opened(source: str, call: str, kept: bytes) -> bytes | None:
    key = ChaCha20Poly1305(_digest("key", source, call, size=32))
    try:
        return key.decrypt(kept[:_NONCE_BYTES], kept[_NONCE_BYTES:], None)
    except (InvalidTag, ValueError):
        return None
