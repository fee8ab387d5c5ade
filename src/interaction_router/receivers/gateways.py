"""Webhooks: who may send them, what becomes of them, and what they are answered. Knows no HTTP server."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal

import orjson

from interaction_router.application.delivery import Delivery, party_key, raw_stream, traced
from interaction_router.channels.bodies import form_of
from interaction_router.channels.fitting import fitted
from interaction_router.channels.json_gateway import (
    Accepted,
    Batch,
    ForeignTenantError,
    TooManyItemsError,
    read_batch,
)
from interaction_router.channels.kit import (
    JSON,
    MULTIPART,
    Credentials,
    Event,
    Reading,
    Request,
    UnreadableError,
    Vendor,
    Verdict,
    with_topics,
)
from interaction_router.channels.proofs import bearer_or_basic
from interaction_router.channels.vendors import JSON_GATEWAY, VENDORS
from interaction_router.domain.errors import RejectedError, RouterError
from interaction_router.ports import Memory, RawRecord
from interaction_router.receivers.answers import (
    FORBIDDEN,
    NOT_FOUND,
    TOO_LARGE,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNSUPPORTED,
    Answer,
    not_allowed,
)
from interaction_router.receivers.calls import DAY_S, Calls, NotRecalledError
from interaction_router.receivers.postponed import Postponed
from interaction_router.wire.interactions import RawInteraction

_LOGGER = logging.getLogger("interaction_router.receivers")
_TAKEN: Final = {"status": "taken"}

Outcome = Literal["taken", "nothing", "unread", "refused", "forged", "unavailable", "challenge"]
Refusals = Callable[[Sequence[RawInteraction]], Awaitable[Sequence[RejectedError | None]]]
"""Tells why the router will refuse each raw interaction, as far as that can be known; None for those that it takes."""

Count = Callable[[str, Outcome], None]
"""Counts a request by its vendor and what became of it."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where a request goes: a vendor's gateway that a tenant has set up."""

    name: str
    tenant: str
    credentials: Credentials
    vendor: Vendor | None
    """None is the JSON gateway."""

    @property
    def source(self) -> str:
        """The gateway's name in dead letters."""
        return f"gateways/{self.name}/{self.tenant}"


class Gateways:
    """The gateways of all tenants. An event is answered 2xx only once the broker, or the spool, has it."""

    def __init__(  # noqa: PLR0913 - each a thing of its own; a bundle would hide which are used
        self,
        gateways: Mapping[str, Mapping[str, Credentials]],
        channels: tuple[str, ...],
        delivery: Delivery,
        memory: Memory,
        refusals: Refusals,
        count: Count,
        *,
        postponed: Postponed | None = None,
    ) -> None:
        """`gateways` are credentials by tenant and vendor; `channels` are those that have a topic.

        Without `postponed`, a payload that cannot be understood for now is the sender's to send again.
        """
        self._gateways = gateways
        self._channels = channels
        self._delivery = delivery
        self._memory = memory
        self._refusals = refusals
        self._calls = Calls(memory)
        self._count = count
        self._postponed = postponed

    def door(self, name: str, tenant: str, head: Request) -> Door | Answer:
        """Return where a request goes, by its head alone, or why it goes nowhere."""
        credentials = self._gateways.get(tenant, {}).get(name)
        if not credentials or (name not in VENDORS and name != JSON_GATEWAY):
            return NOT_FOUND
        vendor = VENDORS.get(name)
        methods = ("POST",) if vendor is None or not vendor.gets else ("GET", "POST")
        if head.method not in methods:
            return not_allowed(methods)
        needs = (frozenset({"token"}),) if vendor is None else vendor.needs(head)
        if not any(group <= credentials.keys() for group in needs):
            return NOT_FOUND
        return Door(name, tenant, credentials, vendor)

    async def take(self, door: Door, request: Request) -> Answer:
        """Return the answer to a request whose body is there."""
        check = bearer_or_basic if door.vendor is None else door.vendor.check
        verdict = check(request, door.credentials)
        if verdict != "authentic":
            return self._refused(door, verdict)
        try:
            if door.vendor is None:
                return await self._take_json(door, request)
            return await self._take_payload(door, door.vendor, request)
        except RouterError as error:
            _LOGGER.warning("event_not_stored", extra={"gateway": door.source, "code": error.code})
            self._count(door.name, "unavailable")
            return UNAVAILABLE

    def _refused(self, door: Door, verdict: Verdict) -> Answer:
        self._count(door.name, "forged")
        _LOGGER.info("request_not_authentic", extra={"gateway": door.source, "proof": verdict})
        return UNAUTHENTICATED if verdict == "missing" else FORBIDDEN

    async def _take_payload(self, door: Door, vendor: Vendor, request: Request) -> Answer:
        if vendor.challenge is not None and request.method == "GET":
            self._count(door.name, "challenge")
            return Answer(200, vendor.challenge(request).encode("utf-8", "replace"), "text/plain; charset=utf-8")
        if not _is_supported(vendor, request):
            self._count(door.name, "refused")
            return UNSUPPORTED
        if vendor.token is not None and not await self._is_first(door, vendor.token(request), request):
            return self._refused(door, "wrong")
        try:
            await self._store(door, request, _read(door, vendor, request))
        except NotRecalledError:
            if self._postponed is None:
                raise
            await self._postponed.add(door.source, request)
        content_type, body = vendor.answer
        return Answer(200, body, content_type)

    async def store_postponed(self, source: str, request: Request) -> None:
        """Store what a request tells that was postponed; of a gateway that is no more, as a dead letter.

        Raises:
            RetryableError: it cannot be, for now.
        """
        _, name, tenant = source.split("/")
        door = self.door(name, tenant, request)
        if isinstance(door, Answer) or door.vendor is None:
            await self._store_letter(source, request, "its gateway is not set up any more")
        else:
            await self._store(door, request, _read(door, door.vendor, request))

    async def _store(self, door: Door, request: Request, reading: Reading) -> None:
        """Store what was read, then the payload where some of it was not."""
        events, partyless = await self._calls.complete(f"{door.name}/{door.tenant}", reading.events)
        known, foreign = with_topics(events, self._channels)
        await self._delivery.deliver([_record(door.tenant, event, request.headers) for event in known])
        unread = reading.unread or partyless or foreign
        if unread is not None:
            await self._store_letter(door.source, request, unread)
        self._count(door.name, "unread" if unread is not None else "taken" if known else "nothing")

    async def _store_letter(self, source: str, request: Request, cause: str) -> None:
        content_type = request.headers.get("content-type")
        body = request.body or request.query.encode()
        await self._delivery.deliver_letter(source, body, content_type=content_type, cause=cause)

    async def _is_first(self, door: Door, token: str | None, request: Request) -> bool:
        """Spend the token on this body; a repeat of the same body may have it again."""
        digest = _body_digest(door.tenant, request)
        name = f"token:{sha256((token or '').encode('utf-8', 'replace')).hexdigest()}"
        return await self._memory.keep(name, digest, ttl_s=DAY_S) == digest

    async def _take_json(self, door: Door, request: Request) -> Answer:
        if request.media_type != JSON:
            self._count(door.name, "refused")
            return UNSUPPORTED
        key = request.headers.get("idempotency-key") or None
        try:
            batch = read_batch(request.body, tenant=door.tenant, key=key, channels=self._channels)
        except ForeignTenantError:
            return _described(403, RejectedError("schema_invalid", "is not that of the address", field="tenant"))
        except TooManyItemsError:
            return TOO_LARGE
        batch = await self._admitted(batch)
        taken = [item for item in batch.items if isinstance(item, Accepted)]
        headers = tuple(traced(request.headers))
        await self._delivery.deliver([_json_record(item, headers) for item in taken])
        self._count(door.name, "taken" if len(taken) == len(batch.items) else "refused")
        return _batch_answer(batch, all_taken=len(taken) == len(batch.items))

    async def _admitted(self, batch: Batch) -> Batch:
        """Return the batch without what the router will refuse, each with the reason in its place."""
        refusals = iter(await self._refusals([item.raw for item in batch.items if isinstance(item, Accepted)]))
        items = [(next(refusals) or item) if isinstance(item, Accepted) else item for item in batch.items]
        return Batch(tuple(items), is_list=batch.is_list)


def _is_supported(vendor: Vendor, request: Request) -> bool:
    """Tell whether the vendor's payloads are of this type; one that is all in the address has none."""
    in_address = vendor.gets and not request.body and not request.media_type
    return request.method == "GET" or in_address or request.media_type in vendor.media_types


def _read(door: Door, vendor: Vendor, request: Request) -> Reading:
    """Read the payload.

    An entry point: a fault of ours must not lose what is authentic, nor let it come again for ever.
    """
    try:
        return vendor.read(request)
    except UnreadableError as error:
        return Reading(unread=str(error))
    except Exception as error:  # noqa: BLE001 - likewise
        failed = {"gateway": door.source, "error": type(error).__name__}
        _LOGGER.error("payload_reader_failed", extra=failed)  # noqa: TRY400 - a traceback might show the payload
        return Reading(unread="it could not be read, by a fault of this program")


def _record(tenant: str, event: Event, headers: Mapping[str, str]) -> RawRecord:
    fields = fitted(event.fields)
    value = orjson.dumps({"tenant": tenant, **fields})
    party = fields["from"] if fields["direction"] == "inbound" else fields["to"]
    return RawRecord(raw_stream(fields["channel"]), party_key(tenant, _address(party)), value, tuple(traced(headers)))


def _address(party: Any) -> str | None:  # Any: an address of a raw interaction
    if isinstance(party, list):
        party = party[0] if party else None
    if isinstance(party, dict):
        party = party.get("address")
    return party if isinstance(party, str) else None


def _json_record(item: Accepted, headers: Sequence[tuple[str, bytes]]) -> RawRecord:
    told = item.raw.interaction
    party = told.sender if told.direction == "inbound" else list(told.recipients)
    return RawRecord(raw_stream(told.channel), party_key(item.raw.tenant, _address(party)), item.value, headers)


def _batch_answer(batch: Batch, *, all_taken: bool) -> Answer:
    results = [_TAKEN if isinstance(item, Accepted) else _description(item) for item in batch.items]
    if batch.is_list:
        return Answer(200 if all_taken else 207, orjson.dumps({"results": results}))
    return Answer(200 if all_taken else 422, orjson.dumps(results[0]))


def _described(status: int, error: RejectedError) -> Answer:
    return Answer(status, orjson.dumps(_description(error)))


def _description(error: RejectedError) -> dict[str, str | None]:
    return {"code": error.code, "field": error.field, "message": error.cause}


def _body_digest(tenant: str, request: Request) -> bytes:
    """Return what names a body: of a form its fields, since a repeat may draw its boundaries elsewhere."""
    digest = sha256(tenant.encode() + b"\0")
    if request.media_type != MULTIPART:
        digest.update(request.body)
        return digest.digest()
    form = form_of(request)
    for name, value in sorted((form.raw or {}).items()):
        for part in (name.encode("utf-8", "replace"), value):
            digest.update(len(part).to_bytes(8, "big") + part)
    for file in form.files:
        digest.update(orjson.dumps([file.name, file.content_type, file.size, file.digest]))
    return digest.digest()
