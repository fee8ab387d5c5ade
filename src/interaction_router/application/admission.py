"""What intake would refuse, told before anything is appended, as far as it can be known by then."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from interaction_router.application.intake import Agents, IntakeSettings, admitted
from interaction_router.domain.errors import RejectedError, RouterError
from interaction_router.ports import Clock
from interaction_router.wire.interactions import RawInteraction

AGENTS_AGE_MS: Final = 5_000
"""How old what is known of agents may be where nothing is against an interaction."""

_PATIENCE_S: Final = 0.5
"""How long the agents' topic may take: who asks waits for 5 s at most, and there is a record to be stored in them."""


class Admission:
    """Looks at raw interactions as intake will. Intake has the last word: what passes here it may refuse."""

    def __init__(self, agents: Agents, settings: IntakeSettings, clock: Clock) -> None:
        """`agents` are read on where that may change an answer."""
        self._agents = agents
        self._settings = settings
        self._clock = clock
        self._read_at_ms: int | None = None
        self._reading: asyncio.Task[None] | None = None

    async def refusals(self, raws: Sequence[RawInteraction]) -> list[RejectedError | None]:
        """Return why each will be refused, None where nothing is known against it.

        Nobody is refused for an agent by what was known before the call: that agent may have been saved meanwhile.
        """
        called_at_ms = self._clock.now_ms()
        if not any(raw.interaction.direction == "outbound" and raw.interaction.agent_id for raw in raws):
            return [self._refusal(raw) for raw in raws]
        await self._know(called_at_ms - AGENTS_AGE_MS)
        found = [self._refusal(raw) for raw in raws]
        if not any(map(_is_for_agent, found)):
            return found
        if await self._know(called_at_ms):
            return [self._refusal(raw) for raw in raws]
        return [None if _is_for_agent(error) else error for error in found]

    def _refusal(self, raw: RawInteraction) -> RejectedError | None:
        try:
            admitted(raw, self._settings, self._agents)
        except RejectedError as error:
            return error
        return None

    async def _know(self, since_ms: int) -> bool:
        """Return whether the agents are known as they were then or later; one reads for all who ask."""
        for _ in range(2):  # a reading that is under way may have begun before
            if self._read_at_ms is not None and self._read_at_ms >= since_ms:
                return True
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._follow(), name="agents")
            await asyncio.wait([self._reading], timeout=_PATIENCE_S)
        return self._read_at_ms is not None and self._read_at_ms >= since_ms

    async def _follow(self) -> None:
        begun_at_ms = self._clock.now_ms()
        with suppress(RouterError):  # nothing is known then, and intake decides
            await self._agents.follow()
            self._read_at_ms = begun_at_ms


def _is_for_agent(error: RejectedError | None) -> bool:
    return error is not None and error.field == "agent_id"
