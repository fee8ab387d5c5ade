"""Contact events (section 4 of the contract), and what they tell the log."""

from collections.abc import Callable
from typing import Annotated, Final

from pydantic import Field

from interaction_router.domain.errors import RejectedError
from interaction_router.domain.ids import Entity
from interaction_router.domain.messages import ContactDeleted, ContactMerged, ContactSaved
from interaction_router.wire import schema
from interaction_router.wire.addresses import canonical_contact_address
from interaction_router.wire.schema import Address, Envelope, Id, Text
from interaction_router.wire.strict_json import read_object

_ADDRESSES_LIMIT: Final = 1_000
"""Each address is claimed and answered on its own, and each answer writes the contact with all of them."""

ContactMessage = ContactSaved | ContactDeleted | ContactMerged


class _ContactEvent(Envelope):
    contact_id: Id
    at: Text | None = None


class _ContactSaved(_ContactEvent):
    name: Text | None = None
    addresses: Annotated[list[Address], Field(max_length=_ADDRESSES_LIMIT)]


class _ContactMerged(_ContactEvent):
    into: Id


def contact_message(value: bytes | None, *, region_of: Callable[[str], str | None]) -> tuple[Entity, ContactMessage]:
    """Return what a contact event tells, and whom; `region_of` a tenant is for its national numbers.

    Raises:
        RejectedError: `too_large`, `malformed_json`, `schema_invalid`, `unsupported_type` or `address_invalid`.
    """
    fields = read_object(value)
    kind = schema.validated(Envelope, fields).type
    match kind:
        case "contact.saved":
            return _saved(schema.validated(_ContactSaved, fields), region_of)
        case "contact.deleted":
            event = schema.validated(_ContactEvent, fields)
            schema.check_time("at", event.at)
            return Entity(event.tenant, "contact", event.contact_id), ContactDeleted(event.contact_id)
        case "contact.merged":
            merge = schema.validated(_ContactMerged, fields)
            schema.check_time("at", merge.at)
            return Entity(merge.tenant, "aliases", ""), ContactMerged(merge.contact_id, merge.into)
        case _:
            raise RejectedError("unsupported_type", "no type of a contact event", field="type")


def _saved(event: _ContactSaved, region_of: Callable[[str], str | None]) -> tuple[Entity, ContactSaved]:
    schema.check_time("at", event.at)
    region = region_of(event.tenant)
    endpoints: dict[str, None] = {}
    for nth, address in enumerate(event.addresses):
        endpoints[canonical_contact_address(address, region, field=f"addresses.{nth}")] = None
    entity = Entity(event.tenant, "contact", event.contact_id)
    return entity, ContactSaved(event.contact_id, event.name, tuple(endpoints))
