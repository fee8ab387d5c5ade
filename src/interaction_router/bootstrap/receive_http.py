"""The gateways, the gate and their server."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from interaction_router.adapters.clock import SystemClock
from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.memory import EmbeddedMemory
from interaction_router.adapters.redis.client import open_client
from interaction_router.adapters.redis.memory import RedisMemory
from interaction_router.adapters.redis.tables import RedisTables
from interaction_router.application.admission import Admission
from interaction_router.application.intake import Agents
from interaction_router.application.prospects import Outlook, outlook
from interaction_router.application.queries import Queries
from interaction_router.bootstrap.embedded import answering
from interaction_router.bootstrap.receiving import Ready, delivery, look_at_topics, meanwhile, spool_of
from interaction_router.bootstrap.storage import embedded_file, kafka_log
from interaction_router.bootstrap.terms import credentials_of, intake_settings
from interaction_router.ports import Log, Memory, Tables
from interaction_router.receivers.counts import Counts
from interaction_router.receivers.gateways import Gateways
from interaction_router.receivers.http import http_app, http_server
from interaction_router.receivers.outbound import Gate
from interaction_router.receivers.postponed import Postponed
from interaction_router.settings import Settings

_LOGGER = logging.getLogger("interaction_router.receivers")


@dataclass(frozen=True, slots=True)
class _Ground:
    """What the receiver stands on."""

    log: Log
    tables: Tables
    memory: Memory


@asynccontextmanager
async def _ground(settings: Settings) -> AsyncIterator[_Ground]:
    """Have the servers, which need not answer yet, or a router on embedded storage in this very process."""
    path = embedded_file(settings)
    if path is not None:
        async with answering(settings) as (log, tables):
            with EmbeddedDatabase(path.with_suffix(".receivers.sqlite")) as database:
                yield _Ground(log, tables, EmbeddedMemory(database, SystemClock()))
        return
    client = open_client(settings.redis)
    try:
        async with kafka_log(settings) as log:
            tables = RedisTables(client, settings.namespace)
            yield _Ground(log, tables, RedisMemory(client, settings.namespace))
    finally:
        await client.close()


@asynccontextmanager
async def _postponed(settings: Settings) -> AsyncIterator[Postponed | None]:
    async with spool_of(settings, "http-postponed") as spool:
        postponed = None if spool is None else Postponed(spool)
        if postponed is not None:
            await postponed.start()
        yield postponed


async def receive_http(settings: Settings, ready: Ready) -> None:
    """Take webhooks until cancelled; `ready` hears where.

    Raises:
        FatalError: a topic is missing, or it cannot listen.
    """
    gateways = credentials_of(settings)
    if not any(gateways.values()):
        _LOGGER.warning("no_gateways")
    async with AsyncExitStack() as stack:
        ground = await stack.enter_async_context(_ground(settings))
        await look_at_topics(settings, ground.log)
        taker = await stack.enter_async_context(delivery(settings, ground.log, "http"))
        agents, rules, clock = Agents(ground.log), intake_settings(settings), SystemClock()
        admission = Admission(agents, rules, clock)

        async def look(tenant: str, agent_id: str | None, channel: str, party: str) -> Outlook:
            # A question is rare: the agents' topic is read on for each, so that no answer is older than it has to be.
            await agents.follow()
            queries = Queries(ground.log, ground.tables)
            return await outlook(
                queries,
                agents,
                rules,
                tenant=tenant,
                agent_id=agent_id,
                channel=channel,
                party=party,
            )

        postponed = await stack.enter_async_context(_postponed(settings))
        counts = Counts(lambda: taker.spooled + (0 if postponed is None else postponed.waiting))
        taking = Gateways(
            gateways, settings.channels, taker, ground.memory, admission.refusals, counts, postponed=postponed
        )
        if postponed is not None:
            await stack.enter_async_context(meanwhile(postponed.run(taking.store_postponed), name="postponed"))
        app = http_app(
            taking,
            Gate(gateways, settings.channels, look),
            counts,
            clock,
            public_url=settings.receivers.http.public_url,
        )
        at = settings.receivers.http
        host, port, ended = await stack.enter_async_context(http_server(app, at.host, at.port))
        ready(f"{host}:{port}")
        await ended()
