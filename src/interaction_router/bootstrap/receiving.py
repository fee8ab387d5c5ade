"""What every receiver stands on: what takes its records, and a group for its tasks."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

from interaction_router.adapters.kafka.topics import check_topics
from interaction_router.adapters.spool import DiskSpool
from interaction_router.application.delivery import PATIENCE_S, Delivery
from interaction_router.bootstrap.embedded import answering, first_of
from interaction_router.bootstrap.storage import kafka_log
from interaction_router.domain.errors import ConfigurationError, RetryableError, RouterError
from interaction_router.ports import Log
from interaction_router.receivers.kept import Kept
from interaction_router.settings import Settings

Ready = Callable[[str], None]
"""Hears, once, that a receiver receives, and where."""

_LOGGER = logging.getLogger("interaction_router.receivers")


@asynccontextmanager
async def receiving(settings: Settings, receiver: str, channel: str) -> AsyncIterator[Delivery]:
    """Have what takes a receiver's records: Kafka, or a router on embedded storage in this very process.

    Raises:
        ConfigurationError: the channel is none of the settings'.
        FatalError: a topic is missing.
    """
    if channel not in settings.channels:
        cause = f"What comes by {receiver} is of the channel {channel}, which is none of the settings'."
        raise ConfigurationError(
            "channel_unset", cause, f"Add {channel} to `channels`, and run `interaction-router topics apply`."
        )
    if settings.embedded.data_dir is None:
        async with kafka_log(settings) as log:
            await look_at_topics(settings, log)
            async with delivery(settings, log, receiver) as taker:
                yield taker
    else:
        async with answering(settings) as (embedded, _), delivery(settings, embedded, receiver) as taker:
            yield taker


async def look_at_topics(settings: Settings, log: Log) -> None:
    """Refuse to start where a topic is missing; a broker that is away may come back, and there is the spool."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            await check_topics(log, settings.channels)
    except (RetryableError, TimeoutError) as error:
        _LOGGER.warning("kafka_away_at_start", extra={"error": type(error).__name__})


@asynccontextmanager
async def delivery(settings: Settings, log: Log, receiver: str) -> AsyncIterator[Delivery]:
    """Have what takes a receiver's records as long as the context lasts; its spool is drained meanwhile.

    `receiver` names the spool's file, since a spool is one process's.
    """
    async with spool_of(settings, receiver) as spool:
        taker = Delivery(log, spool)
        await taker.start()
        async with meanwhile(taker.run(), name="spool"):
            yield taker


@asynccontextmanager
async def spool_of(settings: Settings, name: str) -> AsyncIterator[DiskSpool | None]:
    """Have a spool of this name; None where no folder is set."""
    at = settings.receivers.spool
    if at.dir is None:
        yield None
        return
    spool = DiskSpool(at.dir / f"{settings.namespace}.{name}.spool", max_bytes=at.max_bytes)
    try:
        yield spool
    finally:
        await spool.close()


@asynccontextmanager
async def meanwhile(work: Coroutine[None, None, None], *, name: str) -> AsyncIterator[None]:
    """Have work done for as long as the context lasts; where it fails, the context ends with its error."""
    async with tasks() as group:
        task = group.create_task(work, name=name)
        yield
        task.cancel()


def kept_of(settings: Settings, receiver: str) -> Kept | None:
    """Return where a receiver keeps how far it has got; None where no folder is set."""
    folder = settings.receivers.state_dir or settings.embedded.data_dir
    return None if folder is None else Kept(folder, settings.namespace, receiver)


@asynccontextmanager
async def tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """Have a group of tasks; an error of the program's own comes out of it as it was raised."""
    failure: RouterError | None = None
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except* RouterError as errors:
        failure = first_of(errors)
    if failure is not None:
        raise failure


def nothing_to_receive(receiver: str, *, setting: str, what: str) -> ConfigurationError:
    """Return the error that no tenant has this setting; `what` says what it is for."""
    cause = f"No tenant has anything to receive by {receiver}."
    return ConfigurationError("nothing_to_receive", cause, f"Set tenants.<tenant>.{setting}, {what}.")
