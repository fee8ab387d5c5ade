"""Versions of the program that decide differently, side by side, as while a new one is rolled out."""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace

from interaction_router.domain.decide import decide
from interaction_router.domain.events import Decision, Outcome
from interaction_router.domain.messages import InteractionEvent, LogRecord
from interaction_router.domain.rows import Head, Row, RowKey
from interaction_router.wire.codec import decode_outcome

VERSIONS = 2
RUNNING: ContextVar[int] = ContextVar("version")
"""The version whose code the present task runs."""


def decide_by_version(
    rows: Mapping[RowKey, Row | None],
    buckets: Mapping[str, tuple[str, ...]],
    head: Head,
    record: LogRecord,
    *,
    offset: int,
) -> tuple[Decision, Mapping[RowKey, Row | None]]:
    """Decide as the running version does: each makes another text of what is said in an interaction.

    Two decisions of one record by the same code are equal, so only this tells which of two outcomes was followed.
    """
    message = record.message
    if isinstance(message, InteractionEvent):
        details = {**message.interaction.details, "text": f"as version {RUNNING.get()} reads it"}
        message = replace(message, interaction=replace(message.interaction, details=details))
        record = replace(record, message=message)
    return decide(rows, buckets, head, record, offset=offset)


class Reading:
    """Decoding that remembers: a story reads the same outcomes many times, and the same bytes are the same outcome."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._known: dict[tuple[bytes, tuple[tuple[str, bytes], ...]], Outcome] = {}

    def decode(self, value: bytes, headers: Sequence[tuple[str, bytes]]) -> Outcome:
        """Return the outcome."""
        key = (value, tuple(headers))
        outcome = self._known.get(key)
        if outcome is None:
            outcome = self._known[key] = decode_outcome(value, headers)
        return outcome
