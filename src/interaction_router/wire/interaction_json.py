"""The public JSON of an interaction (section 7 of the contract): in updates, and in outcomes and rows just as well."""

from collections.abc import Mapping
from typing import Any

import orjson

from interaction_router.domain.interactions import Interaction
from interaction_router.wire.times import spell_time, spelt_time_ms

_COUNT_A_GENERATION = 2048
_BYTES_A_GENERATION = 8 << 20


def write_interaction(interaction: Interaction) -> bytes:
    """Return the JSON; `text` is always there, the other carried fields where they were given."""
    return orjson.dumps(
        {
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
    )


def read_interaction(fields: dict[str, Any]) -> Interaction:  # Any: JSON that this module wrote
    """Return the interaction; takes its fields out of the given object, and what is left are the details."""
    take = fields.pop
    interaction_id, channel, direction, status = (
        take("interaction_id"),
        take("channel"),
        take("direction"),
        take("status"),
    )
    occurred_at_ms = spelt_time_ms(take("occurred_at"))
    sender, recipients, agent_id, flags = take("from"), tuple(take("to")), take("agent_id"), tuple(take("flags"))
    if fields["text"] is None:
        del fields["text"]
    details: Mapping[str, Any] = fields
    return Interaction(
        interaction_id, channel, direction, status, occurred_at_ms, sender, recipients, agent_id, flags, details
    )


class InteractionJson:
    """Interactions as JSON, each written once: its outcome, its update and its row hold the same object.

    Remembered by identity, so the object is kept as long as its bytes are; of two generations the older one goes
    when the younger is full.
    """

    __slots__ = ("_old", "_size", "_young")

    def __init__(self) -> None:
        """Remember none yet."""
        self._young: dict[int, tuple[Interaction, orjson.Fragment]] = {}
        self._old: dict[int, tuple[Interaction, orjson.Fragment]] = {}
        self._size = 0

    def __call__(self, interaction: Interaction) -> orjson.Fragment:
        """Return the interaction's JSON, ready to be embedded."""
        known = self._young.get(id(interaction)) or self._old.get(id(interaction))
        return known[1] if known is not None else self._write(interaction)

    @property
    def size(self) -> int:
        """How many interactions are remembered."""
        return len(self._young) + len(self._old)

    def _write(self, interaction: Interaction) -> orjson.Fragment:
        text = write_interaction(interaction)
        fragment = orjson.Fragment(text)
        if len(self._young) >= _COUNT_A_GENERATION or self._size >= _BYTES_A_GENERATION:
            self._old, self._young, self._size = self._young, {}, 0
        self._young[id(interaction)] = (interaction, fragment)
        self._size += len(text)
        return fragment


interaction_json = InteractionJson()
"""The one memory of the process; what it returns depends on the interaction alone."""
