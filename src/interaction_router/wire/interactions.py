"""Raw interactions (section 3 of the contract), and what they tell the log."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, cast

from pydantic import Field

from interaction_router.domain.errors import RejectedError
from interaction_router.domain.ids import Entity
from interaction_router.domain.interactions import BYTES_LIMIT, VOICE, Direction, Flag, Interaction, Json, Status
from interaction_router.domain.messages import ANONYMOUS, InteractionEvent
from interaction_router.domain.values import dataclass, replace
from interaction_router.wire import schema
from interaction_router.wire.addresses import canonical
from interaction_router.wire.interaction_json import interaction_bytes
from interaction_router.wire.schema import Address, Id, IdOrNone, Record, Region, Size, Span, Tenant, Text
from interaction_router.wire.strict_json import JsonObject, read_object
from interaction_router.wire.times import read_time

_ITEMS_LIMIT: Final = 100
_WITHHELD: Final = frozenset({"", "anonymous", "unknown", "restricted", "withheld"})
_VOICE_STATUSES: Final = ("ringing", "answered", "ended", "missed", "failed", "cancelled")
_MESSAGE_STATUSES: Final = ("received", "queued", "sent", "delivered", "read", "failed")
_CARRIED: Final = (
    "subject",
    "text",
    "html",
    "attachments",
    "references",
    "duration_s",
    "recording_url",
    "auto_response",
    "provider",
    "metadata",
)


class _Party(Record):
    address: Address | None
    name: Text | None = None


class _Attachment(Record):
    name: Text | None = None
    content_type: Text | None = None
    size: Size | None = None
    url: Text | None = None


_One = Annotated[Address | _Party | None, Field(union_mode="left_to_right")]
_Several = Annotated[list[_One], Field(max_length=_ITEMS_LIMIT)]


class _RawInteraction(Record):
    tenant: Tenant
    channel: Text
    direction: Direction
    interaction_id: Id
    occurred_at: Text
    from_: _One = Field(alias="from")
    to: Annotated[Address | _Several | _Party | None, Field(union_mode="left_to_right")]
    status: Status | None = None
    event_id: IdOrNone = None
    region: Region | None = None
    agent_id: IdOrNone = None
    subject: Text | None = None
    text: Text | None = None
    html: Text | None = None
    attachments: Annotated[list[_Attachment], Field(max_length=_ITEMS_LIMIT)] | None = None
    references: Annotated[list[Text], Field(max_length=_ITEMS_LIMIT)] | None = None
    duration_s: Span | None = None
    recording_url: Text | None = None
    auto_response: schema.Flag | None = None
    provider: Text | None = None
    metadata: dict[Text, Text] | None = None


@dataclass(frozen=True, slots=True)
class RawInteraction:
    """A raw interaction that keeps to the contract. `region` is upper case; None where it names none.

    Of `interaction` the flags are missing: what they depend on is not in the record.
    """

    tenant: str
    event_id: str | None
    region: str | None
    interaction: Interaction


def parse_interaction(value: bytes | None, *, channel_of_topic: str) -> RawInteraction:
    """Return the raw interaction of a record.

    Raises:
        RejectedError: `too_large`, `malformed_json`, `schema_invalid` or `channel_mismatch`.
    """
    return interaction_of(read_object(value), channel_of_topic=channel_of_topic)


def interaction_of(fields: JsonObject, *, channel_of_topic: str) -> RawInteraction:
    """Return the raw interaction of an object that has been read.

    Raises:
        RejectedError: `schema_invalid` or `channel_mismatch`.
    """
    model = schema.validated(_RawInteraction, fields)
    occurred_at_ms = read_time(model.occurred_at)
    if occurred_at_ms is None:
        raise schema.invalid("occurred_at", schema.TIME_RULE)
    status = _status(model)
    if model.channel != channel_of_topic:
        raise RejectedError("channel_mismatch", f"the topic is that of {channel_of_topic}", field="channel")
    interaction = Interaction(
        model.interaction_id,
        model.channel,
        model.direction,
        status,
        occurred_at_ms,
        fields["from"],
        _recipients(fields["to"]),
        model.agent_id or None,
        (),
        _details(fields, model.model_extra),
    )
    region = model.region.upper() if model.region else None
    return RawInteraction(model.tenant, model.event_id or None, region, interaction)


def _status(model: _RawInteraction) -> Status:
    if model.status is None:
        if model.channel == VOICE:
            return "ended"
        return "received" if model.direction == "inbound" else "sent"
    known = _VOICE_STATUSES if model.channel == VOICE else _MESSAGE_STATUSES
    if model.status not in known:
        raise schema.invalid("status", f"has to be one of {', '.join(known)}")
    return model.status


def _recipients(to: Any) -> tuple[Json, ...]:  # Any: validated, but JSON
    if isinstance(to, list):
        return tuple(to)
    return () if to is None else (cast("Json", to),)


def _details(fields: JsonObject, extra: dict[str, Any] | None) -> dict[str, Json]:
    details = {name: value for name in _CARRIED if (value := fields.get(name)) is not None}
    if extra:
        details["extra"] = extra
    return details


def address_of(party: Json) -> str | None:
    """Return the address of one `from` or `to` as it came, None when withheld."""
    address = party["address"] if isinstance(party, dict) else party
    if not isinstance(address, str) or address.strip().lower() in _WITHHELD:
        return None
    return address


def interaction_message(
    raw: RawInteraction, *, region: str | None, own_addresses: frozenset[str], flags: Sequence[Flag] = ()
) -> tuple[Entity, InteractionEvent]:
    """Return what the record tells, and the endpoint that it is for.

    `region` is for national numbers where the record names none; `own_addresses` are canonical; `flags` are those
    that intake found.

    Raises:
        RejectedError: `own_address`.
    """
    region = raw.region or region
    interaction = raw.interaction
    sender, recipients = address_of(interaction.sender), interaction.recipients
    first = address_of(recipients[0]) if recipients else None
    if sender is not None and first is not None and _is_own(interaction, sender, region, own_addresses):
        raise RejectedError("own_address", "both sides are the same address, or the tenant's own")
    address = sender if interaction.direction == "inbound" else first
    if address is None:
        party = f"{ANONYMOUS}{interaction.channel}/{interaction.interaction_id}"
    else:
        party, opaque = canonical(interaction.channel, address, region)
        if opaque:
            flags = (*flags, "address_opaque")
    if flags:
        interaction = replace(interaction, flags=tuple(flags))
    if len(interaction_bytes(interaction)) > BYTES_LIMIT:
        raise RejectedError(
            "too_large", f"the interaction is over {BYTES_LIMIT} bytes when its numbers are written out"
        )
    return Entity(raw.tenant, "endpoint", party), InteractionEvent(party, raw.event_id, interaction)


def _is_own(interaction: Interaction, sender: str, region: str | None, own_addresses: frozenset[str]) -> bool:
    """Return whether `sender` and every address in `to` are equal, or all of them the tenant's; withheld is neither."""
    channel = interaction.channel
    first = canonical(channel, sender, region).endpoint
    same, own = True, first in own_addresses
    for recipient in interaction.recipients:
        address = address_of(recipient)
        if address is None:
            return False
        endpoint = canonical(channel, address, region).endpoint
        same = same and endpoint == first
        own = own and endpoint in own_addresses
        if not same and not own:
            return False
    return True
