"""A payload tried outside of a server: what it becomes, item by item. Nobody's proof is asked for."""

from dataclasses import dataclass

import orjson

from interaction_router.channels.fitting import fitted
from interaction_router.channels.json_gateway import Accepted, ForeignTenantError, TooManyItemsError, read_batch
from interaction_router.channels.kit import FORM, JSON, Fields, Request, UnreadableError, with_topics
from interaction_router.channels.unsent import READERS
from interaction_router.channels.vendors import JSON_GATEWAY, VENDORS
from interaction_router.domain.errors import RejectedError
from interaction_router.wire.interactions import RawInteraction, interaction_of


@dataclass(frozen=True, slots=True)
class Tried:
    """One item: its fields, and as the router reads them, or why it refuses them.

    Without a party it would get that of its call, which only a receiver remembers.
    """

    fields: Fields | None
    raw: RawInteraction | None
    refusal: RejectedError | None
    awaits_call: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """What a payload becomes; `unread` says what of it goes to the dead letters."""

    items: tuple[Tried, ...]
    unread: str | None


def try_payload(vendor: str, request: Request, *, tenant: str, channels: tuple[str, ...]) -> Trial:
    """Read a payload as the receiver would."""
    if vendor == JSON_GATEWAY:
        return _try_json(request.body, tenant, channels)
    if vendor in READERS:
        told = READERS[vendor](request.body, tenant, request.received_at_ms)
        return Trial(
            tuple(Tried(each, interaction_of(each, channel_of_topic=each["channel"]), None) for each in told), None
        )
    try:
        reading = VENDORS[vendor].read(request)
    except UnreadableError as error:
        return Trial((), str(error))
    items = []
    known, foreign = with_topics(reading.events, channels)
    for event in known:
        fields: Fields = {"tenant": tenant, **fitted(event.fields)}
        raw = interaction_of(fields, channel_of_topic=fields["channel"])
        items.append(Tried(fields, raw, None, awaits_call=not event.names_party))
    return Trial(tuple(items), reading.unread or foreign)


def _try_json(body: bytes, tenant: str, channels: tuple[str, ...]) -> Trial:
    try:
        batch = read_batch(body, tenant=tenant, key=None, channels=channels)
    except ForeignTenantError:
        return Trial((), "an item is of another tenant")
    except TooManyItemsError:
        return Trial((), "the list is too long")
    return Trial(
        tuple(
            Tried(orjson.loads(item.value), item.raw, None) if isinstance(item, Accepted) else Tried(None, None, item)
            for item in batch.items
        ),
        None,
    )


def guessed_type(body: bytes) -> str:
    """Return the media type that a body looks like."""
    return JSON if body.lstrip()[:1] in {b"{", b"["} else FORM
