"""What the commands about the state stand on."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from interaction_router.adapters.clock import SystemClock
from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.adapters.embedded.upkeep import EmbeddedUpkeep
from interaction_router.adapters.redis.client import open_client
from interaction_router.adapters.redis.tables import RedisTables
from interaction_router.adapters.redis.upkeep import RedisUpkeep
from interaction_router.application.verification import Difference, Verification
from interaction_router.application.views import Views
from interaction_router.bootstrap.observing import observer_of
from interaction_router.bootstrap.storage import existing_file, kafka_log, views_of
from interaction_router.ports import Log, Observer, Tables, Upkeep
from interaction_router.settings import Settings

_PATIENCE = timedelta(seconds=60)
SETTLE_S = 0.3
"""The pause before a difference of the state topic is looked at again."""


@dataclass(frozen=True, slots=True)
class State:
    """What the commands about the state stand on; `shared` where workers may be at it meanwhile."""

    log: Log
    tables: Tables
    upkeep: Upkeep
    views: Views
    observer: Observer
    shared: bool


@asynccontextmanager
async def opened_state(settings: Settings) -> AsyncIterator[State]:
    """Have log and tables as `opened` does, with what acts on the tables as a whole."""
    if settings.embedded.data_dir is not None:
        with EmbeddedDatabase(existing_file(settings)) as database:
            log = EmbeddedLog(database, SystemClock())
            tables = (EmbeddedTables(database), EmbeddedUpkeep(database))
            yield State(log, *tables, await views_of(settings, log), observer_of(settings), shared=False)
        return
    await _look_at_redis(settings)
    # A flip of many rows takes long, and its answer is worth waiting for.
    client = open_client(settings.redis.model_copy(update={"timeout": max(settings.redis.timeout, _PATIENCE)}))
    try:
        async with kafka_log(settings) as kafka:
            shared = (RedisTables(client, settings.namespace), RedisUpkeep(client, settings.namespace))
            yield State(kafka, *shared, await views_of(settings, kafka), observer_of(settings), shared=True)
    finally:
        await client.close()


async def _look_at_redis(settings: Settings) -> None:
    """See that it answers, as soon as it is to answer anything else."""
    client = open_client(settings.redis)
    try:
        await RedisTables(client, settings.namespace).check()
    finally:
        await client.close()


@contextmanager
def scratch() -> Iterator[tuple[Tables, Upkeep]]:
    """Have empty tables of one's own, which are gone afterwards."""
    with EmbeddedDatabase(spills=True) as database:
        yield EmbeddedTables(database), EmbeddedUpkeep(database)


async def verified(
    state: State, partitions: Sequence[int], told: Callable[[str, int, int], None], *, topic: bool
) -> list[Difference]:
    """Compare the rows of these partitions with the fold of their outcomes, and the state topic with the rows."""
    with scratch() as fold:
        live = (state.tables, state.upkeep)
        settle_s = SETTLE_S if state.shared else 0.0
        verification = Verification(state.log, live, fold, state.views, told, settle_s=settle_s)
        found = [each for partition in partitions for each in await verification.partition(partition)]
        return found + (await verification.state_topic() if topic else [])
