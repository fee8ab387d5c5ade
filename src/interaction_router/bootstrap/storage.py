"""The log and the tables: on Kafka and Redis, or in the file of the embedded storage."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from interaction_router.adapters.clock import SystemClock
from interaction_router.adapters.embedded.database import EmbeddedDatabase, unopened
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.adapters.redis.client import open_client
from interaction_router.adapters.redis.tables import RedisTables
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.views import LOG, Views
from interaction_router.domain.errors import FatalError
from interaction_router.ports import Log, Tables
from interaction_router.settings import Settings


@asynccontextmanager
async def kafka_log(settings: Settings) -> AsyncIterator[KafkaLog]:
    """Have the log on Kafka as long as the context lasts; it connects at its first call."""
    log = KafkaLog(client_options(settings.kafka), settings.namespace, inputs=settings.inputs_namespace)
    try:
        yield log
    finally:
        await log.stop()


@asynccontextmanager
async def redis_tables(settings: Settings) -> AsyncIterator[RedisTables]:
    """Have the tables on Redis as long as the context lasts; the server is checked first."""
    client = open_client(settings.redis)
    try:
        tables = RedisTables(client, settings.namespace)
        await tables.check()
        yield tables
    finally:
        await client.close()


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[Log, Tables]]:
    """Have the log and the tables, to look at: of the embedded data directory where one is set, else of the servers."""
    if settings.embedded.data_dir is None:
        async with kafka_log(settings) as log, redis_tables(settings) as tables:
            yield log, tables
        return
    with EmbeddedDatabase(existing_file(settings)) as database:
        yield EmbeddedLog(database, SystemClock()), EmbeddedTables(database)


@asynccontextmanager
async def opened_log(settings: Settings) -> AsyncIterator[Log]:
    """Have the log alone, likewise."""
    if settings.embedded.data_dir is None:
        async with kafka_log(settings) as log:
            yield log
    else:
        async with opened(settings) as (embedded, _):
            yield embedded


def embedded_file(settings: Settings) -> Path | None:
    """Return the file of the embedded storage, None where it is in memory."""
    directory = settings.embedded.data_dir
    return None if directory is None else directory / f"{settings.namespace}.sqlite"


def new_file(settings: Settings) -> Path | None:
    """Return the file of the embedded storage, which need not be there; its folder is made.

    Raises:
        FatalError: the folder cannot be made.
    """
    path = embedded_file(settings)
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unopened(error, path) from error
    return path


def existing_file(settings: Settings) -> Path:
    """Return the file of the embedded storage, which has to be there.

    Raises:
        FatalError: it is not.
    """
    path = embedded_file(settings)
    if path is None or not path.exists():
        cause = f"There is no router's storage at {path}."
        advice = "Check the directory and `namespace`; `interaction-router topics apply --data DIR` makes a new one."
        raise FatalError("embedded_missing", cause, advice)
    return path


async def lineage_of(log: Log) -> str:
    """Return what names the internal log as a whole: its two topics."""
    return f"{await log.lineage(LOG)}/{await log.lineage(OUTCOMES)}"


async def views_of(settings: Settings, log: Log) -> Views:
    """Return what makes the views of this router's outcomes."""
    return Views(
        namespace=settings.namespace,
        partitions=await log.partitions(LOG),
        lineage=await lineage_of(log),
        inputs=settings.inputs_namespace,
    )
