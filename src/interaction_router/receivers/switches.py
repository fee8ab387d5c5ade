"""A connection to a telephone switch, kept up: what it tells, to interactions, delivered in order.

A switch does not repeat what nobody heard. So what runs is listed after each connection: calls that began meanwhile
are told from there, calls that ended meanwhile end then; those of which something may have been missed carry
`metadata.gap` at their end. A call that began and ended while nobody was connected is known by its record only, if the
switch sends one later, else not at all: `switch_gap` says for how long that may have been so.

What is told of a call is kept before it is delivered. So a program that is killed and started again knows every call
that anybody was told of, ends it, and delivers again at most what was on its way.
"""

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import orjson

from interaction_router.application.delivery import Delivery, party_key, raw_stream
from interaction_router.channels.calls import CHANNEL, party_of
from interaction_router.domain.errors import RetryableError
from interaction_router.ports import Clock, RawRecord
from interaction_router.receivers.kept import Kept
from interaction_router.wire.strict_json import JsonObject

CONNECT_S: Final = 10.0
SILENCE_S: Final = 60.0
"""A switch that says nothing for this long is not there any more: both kinds say something every 20 s."""
LINE_LIMIT: Final = 1024 * 1024
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_WAITING_LIMIT: Final = 20_000
_BATCH: Final = 500
_LAST_WORDS_S: Final = 8.0
_KEEP_EVERY_S: Final = 0.2

_LOGGER = logging.getLogger("interaction_router.receivers.switches")

Event = Mapping[str, str]


class ConversationError(Exception):
    """The switch said something that it should not have, or refused; it says what, and nothing of a call."""


@dataclass(frozen=True, slots=True)
class Listed:
    """The channels that run; None where the switch does not list them, because of `why`."""

    rows: Sequence[Event] | None
    why: str = ""


class Machine(Protocol):
    """A vendor's states of calls."""

    def take(self, event: Event, received_at_ms: int) -> list[JsonObject]:
        """Return what an event tells."""
        ...

    def snapshot(self) -> JsonObject:
        """Return what it knows of calls."""
        ...

    def restore(self, kept: JsonObject) -> None:
        """Go on with what was known before."""
        ...

    def begin_resume(self) -> None:
        """What runs is about to be listed."""
        ...

    def end_resume(self, rows: Iterable[Event], received_at_ms: int) -> list[JsonObject]:
        """Take the list."""
        ...


Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], AsyncIterator[Event | Listed]]
"""Logs in, subscribes, asks for what runs, and yields what comes; raises `ConversationError` where that goes wrong."""


@dataclass(frozen=True, slots=True)
class SwitchHost:
    """A tenant's switch; with `tls`, its certificate must have the name."""

    kind: str
    tenant: str
    host: str
    port: int
    tls: ssl.SSLContext | None = None
    server_name: str | None = None

    @property
    def identity(self) -> Sequence[str]:
        """What its calls are kept by."""
        return (self.tenant, self.host, str(self.port))


class Switch:
    """One switch of one tenant."""

    def __init__(
        self,
        place: SwitchHost,
        converse: Converse,
        machine: Machine,
        delivery: Delivery,
        kept: Kept | None,
        clock: Clock,
    ) -> None:
        """Without `kept`, the calls that run are forgotten when the program ends."""
        self._place = place
        self._converse = converse
        self._machine = machine
        self._delivery = delivery
        self._clock = clock
        self._waiting: list[RawRecord] = []
        self._delivering: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._lost_at_ms: int | None = None
        self._kept = kept
        self.tried = asyncio.Event()
        """Set once the switch has been connected, or has failed to be, for the first time."""

    async def run(self) -> None:
        """Keep connected until cancelled; what was heard before is delivered then."""
        await self._remember()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._deliver(), name=f"{self._place.kind}:{self._place.tenant}")
                await self._keep_connected()
        finally:
            await self._last_words()

    async def _remember(self) -> None:
        """Go on with the calls that ran when the program ended; until when is a gap like any other."""
        kept = None if self._kept is None else await asyncio.to_thread(self._kept.load, self._place.identity)
        if kept is None:
            return
        try:
            self._machine.restore(kept["calls"])
            self._lost_at_ms = int(kept["at_ms"])
            self._hand_over(kept["told"])
        except (KeyError, TypeError, ValueError):
            _LOGGER.warning("calls_forgotten", extra=self._about())

    async def _keep(self) -> None:
        """Keep the calls that run, and what is told of them and not delivered yet; a full disk keeps none back."""
        if self._kept is None:
            return
        told = [orjson.Fragment(record.value) for record in self._waiting]
        kept = {"calls": self._machine.snapshot(), "told": told, "at_ms": self._clock.now_ms()}
        try:
            await asyncio.to_thread(self._kept.save, self._place.identity, kept)
        except RetryableError as error:
            _LOGGER.warning("calls_not_kept", extra=self._about(code=error.code))

    async def _keep_connected(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            begun = asyncio.get_running_loop().time()
            try:
                await self._connection()
            except (OSError, EOFError, TimeoutError, ConversationError, ValueError) as error:
                _LOGGER.warning("switch_lost", extra=self._about(cause=str(error) or type(error).__name__))
            self.tried.set()
            if self._lost_at_ms is None:
                self._lost_at_ms = self._clock.now_ms()
            if asyncio.get_running_loop().time() - begun > _LONGEST_PAUSE_S:
                pause_s = _FIRST_PAUSE_S
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - so that receivers do not come at once
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _connection(self) -> None:
        at = self._place
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                at.host, at.port, limit=LINE_LIMIT, ssl=at.tls, server_hostname=at.server_name
            )
        try:
            self._machine.begin_resume()
            async for said in self._converse(reader, writer):
                self._take(said)
        finally:
            writer.close()
        raise EOFError("the switch closed the connection")

    def _take(self, said: Event | Listed) -> None:
        now_ms = self._clock.now_ms()
        if isinstance(said, Listed):
            self._resumed(said, now_ms)
            self.tried.set()
        else:
            self._hand_over(self._machine.take(said, now_ms))
        if len(self._waiting) > _WAITING_LIMIT:
            raise ConversationError(f"over {_WAITING_LIMIT} events wait to be stored: no more are heard")

    def _resumed(self, listed: Listed, now_ms: int) -> None:
        if listed.rows is None:
            _LOGGER.warning("switch_not_listed", extra=self._about(cause=listed.why))
        else:
            self._hand_over(self._machine.end_resume(listed.rows, now_ms))
            _LOGGER.info("switch_connected", extra=self._about(running=len(listed.rows)))
        if self._lost_at_ms is not None:
            _LOGGER.warning("switch_gap", extra=self._about(seconds=round((now_ms - self._lost_at_ms) / 1000, 1)))
            self._lost_at_ms = None

    def _hand_over(self, told: Iterable[JsonObject]) -> None:
        for fields in told:
            key = party_key(fields["tenant"], party_of(fields))
            self._waiting.append(RawRecord(raw_stream(CHANNEL), key, orjson.dumps(fields)))
            self._arrived.set()

    async def _deliver(self) -> None:
        """Deliver what waits, in order, and what cannot be stored for now again and again."""
        pause_s = _FIRST_PAUSE_S
        while True:
            await self._arrived.wait()
            try:
                self._delivering = asyncio.create_task(self._deliver_all())
                await asyncio.shield(self._delivering)
                pause_s = _FIRST_PAUSE_S
                await asyncio.sleep(0 if self._kept is None else _KEEP_EVERY_S)
            except RetryableError as error:
                _LOGGER.warning("calls_wait", extra=self._about(code=error.code, waiting=len(self._waiting)))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _deliver_all(self) -> None:
        """Keep what waits now, and then deliver it; what comes meanwhile has not been kept, and waits."""
        left = len(self._waiting)
        await self._keep()
        while left:
            batch = self._waiting[: min(left, _BATCH)]
            await self._delivery.deliver(batch)
            del self._waiting[: len(batch)]
            left -= len(batch)
        if not self._waiting:
            self._arrived.clear()
            await self._keep()

    async def _last_words(self) -> None:
        """Store what was heard; what cannot be is said to be lost."""
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                if self._delivering is not None:
                    await asyncio.wait({self._delivering})  # what is being stored would be there twice
                await self._deliver_all()
        except (RetryableError, TimeoutError):
            _LOGGER.warning("calls_lost", extra=self._about(waiting=len(self._waiting)))

    def _about(self, **more: object) -> dict[str, object]:
        """Return what a log event says besides its name."""
        return {"switch": self._place.kind, "tenant": self._place.tenant, **more}
