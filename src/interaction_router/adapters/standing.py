"""How far tables are, as both adapters keep it beside the rows: a log offset, or how much they have of a snapshot."""

from typing import Final

from interaction_router.domain.errors import RetryableError
from interaction_router.ports import Restoring, Standing

_RESTORING: Final = "restoring"
_SEPARATOR: Final = " "


def kept(standing: Standing) -> str:
    """Return how it is kept."""
    if isinstance(standing, int):
        return str(standing)
    return _SEPARATOR.join((_RESTORING, str(standing.chunks), standing.snapshot, standing.lineage))


def read(text: str) -> Standing:
    """Return what `kept` has made."""
    if not text.startswith(_RESTORING):
        return int(text)
    _, chunks, snapshot, lineage = text.split(_SEPARATOR)
    return Restoring(lineage, snapshot, int(chunks))


def folded(standing: Standing) -> int:
    """Return up to which log offset the tables are folded.

    Raises:
        RetryableError: they are being filled with a snapshot.
    """
    if isinstance(standing, int):
        return standing
    cause = "The partition's tables are being filled with a snapshot."
    raise RetryableError("tables_restoring", cause, "Whoever takes the partition over goes on with it.")
