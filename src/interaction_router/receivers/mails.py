"""Mail, however it came: read, what came with it stored, and delivered, before anybody is told that it was taken."""

import asyncio
from collections.abc import Sequence

import orjson

from interaction_router.application.delivery import Delivery, party_key, raw_stream
from interaction_router.channels.mail import CHANNEL, Envelope, read_mail
from interaction_router.ports import RawRecord
from interaction_router.receivers.attachments import Attachments

_AT_ONCE = 4
"""Mails that are read at the same time: each may be 25 MiB, and several times that while it is read."""


class Mails:
    """Takes mails, each whole or not at all; one that is taken again becomes the same interaction."""

    def __init__(self, delivery: Delivery, attachments: Attachments) -> None:
        self._delivery = delivery
        self._attachments = attachments
        self._reading = asyncio.Semaphore(_AT_ONCE)

    async def take(self, content: bytes, envelopes: Sequence[Envelope], *, damage: str | None = None) -> None:
        """Return once the broker or the spool has the mail, for each tenant that it is for.

        `damage` is what happened to the mail before it came here, for `metadata.broken`.

        Raises:
            RetryableError: it could not be stored anywhere.
        """
        await self._delivery.deliver([await self._record(content, each, damage) for each in envelopes])

    async def _record(self, content: bytes, envelope: Envelope, damage: str | None) -> RawRecord:
        async with self._reading:
            mail = await asyncio.to_thread(read_mail, content, envelope, damage)
        fields = mail.linked(await self._attachments.store(envelope.tenant, mail.attachments))
        return RawRecord(raw_stream(CHANNEL), party_key(envelope.tenant, mail.party), orjson.dumps(fields))
