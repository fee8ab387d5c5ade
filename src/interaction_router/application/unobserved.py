"""`ports.Observer` where nobody looks."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from interaction_router.domain.events import Outcome


class Unobserved:
    """Takes note of nothing."""

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
