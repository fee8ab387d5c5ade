"""The public JSON of an interaction (section 7 of the contract): in updates, and in outcomes and rows just as well."""

from typing import Any

import orjson

from interaction_router.domain.interactions import Interaction
from interaction_router.wire.times import spell_time, spelt_time_ms
from interaction_router.wire.trimming import trimmed


def write_interaction(interaction: Interaction) -> bytes:
    """Return the JSON; `text` is always there, the other carried fields where they were given."""
    fields = {
        "interaction_id": interaction.interaction_id,
        "channel": interaction.channel,
        "direction": interaction.direction,
        "status": interaction.status,
        "occurred_at": spell_time(interaction.occurred_at_ms),
        "from": interaction.sender,
        "to": interaction.recipients,
        "agent_id": interaction.agent_id,
        "text": None,
        "flags": interaction.flags,
        **interaction.details,
    }
    return trimmed(orjson.dumps(fields))


def read_interaction(fields: dict[str, Any]) -> Interaction:  # Any: JSON that this module wrote
    """Return the interaction; takes its fields out of the given object, and what is left are the details."""
    take = fields.pop
    interaction = Interaction(
        take("interaction_id"),
        take("channel"),
        take("direction"),
        take("status"),
        spelt_time_ms(take("occurred_at")),
        take("from"),
        tuple(take("to")),
        take("agent_id"),
        tuple(take("flags")),
        fields,
    )
    if fields["text"] is None:
        del fields["text"]
    return interaction


def interaction_bytes(interaction: Interaction) -> bytes:
    """Return the interaction's JSON, written once: the log, outcome, update and row hold the same bytes."""
    written = interaction.written
    if written is None:
        written = write_interaction(interaction)
        object.__setattr__(interaction, "written", written)
    return written


def interaction_json(interaction: Interaction) -> orjson.Fragment:
    """Return the interaction's JSON, ready to be embedded."""
    return orjson.Fragment(interaction.written or interaction_bytes(interaction))


def written_interaction(text: bytes) -> Interaction:
    """Return the interaction of its JSON, which is kept as it is for whatever holds it next."""
    interaction = read_interaction(orjson.loads(text))
    object.__setattr__(interaction, "written", text)
    return interaction
