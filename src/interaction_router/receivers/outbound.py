"""`POST /v1/outbound/check`: a dialler asks before it dials."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Final

import orjson

from interaction_router.application.prospects import Outlook
from interaction_router.channels.kit import JSON, Credentials, Request
from interaction_router.channels.proofs import bearer_or_basic
from interaction_router.channels.vendors import JSON_GATEWAY
from interaction_router.domain.errors import RejectedError, RouterError
from interaction_router.receivers.answers import (
    FORBIDDEN,
    NOT_FOUND,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNSUPPORTED,
    Answer,
)
from interaction_router.wire.schema import Address, Id, IdOrNone, Record, Tenant, validated
from interaction_router.wire.strict_json import read_object

Look = Callable[[str, str | None, str, str], Awaitable[Outlook]]
"""Looks what would become of an interaction of tenant, agent, channel and party."""

_UNPROVEN: Final = {"missing": UNAUTHENTICATED, "wrong": FORBIDDEN}


class Question(Record):
    """What is asked."""

    tenant: Tenant
    agent_id: IdOrNone = None
    channel: Id
    party: Address


class Gate:
    """Answers for the tenants that have a JSON gateway, to whoever has its token."""

    def __init__(
        self, gateways: Mapping[str, Mapping[str, Credentials]], channels: tuple[str, ...], look: Look
    ) -> None:
        self._gateways = gateways
        self._channels = channels
        self._look = look

    async def answer(self, request: Request) -> Answer:
        """Return the answer to a question."""
        proof = self._proof(request)
        if proof is not None:
            return proof
        if request.media_type != JSON:
            return UNSUPPORTED
        try:
            question = self._question(request.body)
        except RejectedError as error:
            body = {"code": error.code, "field": error.field, "message": error.cause}
            return Answer(422, orjson.dumps(body))
        credentials = self._gateways.get(question.tenant, {}).get(JSON_GATEWAY)
        if credentials is None or bearer_or_basic(request, credentials) != "authentic":
            return FORBIDDEN
        try:
            found = await self._look(question.tenant, question.agent_id or None, question.channel, question.party)
        except RouterError:
            return UNAVAILABLE
        told = {"allowed": found.allowed, "code": found.code, **asdict(found.prospect)}
        return Answer(200, orjson.dumps(told))

    def _question(self, body: bytes) -> Question:
        question = validated(Question, read_object(body))
        if question.channel not in self._channels:
            rule = f"has to be one of {', '.join(self._channels)}"
            raise RejectedError("channel_mismatch", rule, field="channel")
        return question

    def _proof(self, request: Request) -> Answer | None:
        """Refuse who has no tenant's token before anything is read; the tenant itself is in the body."""
        tokens = [each[JSON_GATEWAY] for each in self._gateways.values() if "token" in each.get(JSON_GATEWAY, {})]
        if not tokens:
            return NOT_FOUND
        verdicts = [bearer_or_basic(request, each) for each in tokens]
        return None if "authentic" in verdicts else _UNPROVEN[verdicts[0]]
