"""Reads a router's topics and tables, at rest, and says what is not as the contract has it."""

from collections.abc import Sequence

from interaction_router.application.intake import IntakeSettings
from interaction_router.ports import Log, Tables
from tests.checker.assigned import check_assigned
from tests.checker.folded import check_tables
from tests.checker.source import Difference, read_source
from tests.checker.told import check_state, read_updates

__all__ = ["Difference", "check"]


async def check(log: Log, tables: Tables, settings: IntakeSettings) -> Sequence[Difference]:
    """Return every difference; none where all promises are kept. The router has to have nothing left to do."""
    source = await read_source(log, namespace=settings.namespace, channels=settings.channels)
    told = read_updates(source)
    return [
        *told.differences,
        *check_assigned(source, told, settings),
        *check_state(source, told),
        *await check_tables(source, tables),
    ]
