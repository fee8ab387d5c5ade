"""`ports.Observer` where nobody looks."""

from collections.abc import Awaitable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, TypeVar

from interaction_router.domain.events import Outcome
from interaction_router.ports import Gap

T = TypeVar("T")


class Unobserved:
    """Takes note of nothing."""

    async def reached(self, gap: Gap, at: int | str) -> None:
        """Do nothing."""

    async def during(self, gap: Gap, effect: Awaitable[T]) -> T:
        """Let it happen."""
        del gap
        return await effect

    def decided(self, outcomes: Sequence[Outcome]) -> None:
        """Do nothing."""

    def looked_up(self, *, hits: int, misses: int) -> None:
        """Do nothing."""

    def cached(self, partition: int, rows: int) -> None:
        """Do nothing."""

    def taking_over(self) -> AbstractContextManager[None]:
        """Measure nothing."""
        return nullcontext()

    def ticked(self, conversations: int) -> None:
        """Do nothing."""


UNOBSERVED: Final = Unobserved()
