"""Intake: raw records in, log records out. All that is uncertain is resolved here, once, and written down."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from interaction_router.application.appending import append_batches
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.application.views import DEAD_LETTERS, LOG, Batches
from interaction_router.domain.errors import RejectedError
from interaction_router.domain.ids import Entity, Place, home
from interaction_router.domain.interactions import Flag
from interaction_router.domain.messages import (
    ContactMerged,
    InteractionEvent,
    LogRecord,
    Message,
    Origin,
    Raw,
    can_be_refused,
)
from interaction_router.domain.names import topic_name
from interaction_router.domain.rows import Endpoint, endpoint_key
from interaction_router.ports import Clock, Log, Observer, Outgoing, Received, Tables
from interaction_router.wire.agents import agent_record
from interaction_router.wire.codec import decode_row, encode_log_record
from interaction_router.wire.commands import command_message
from interaction_router.wire.contacts import contact_message
from interaction_router.wire.interactions import RawInteraction, interaction_message, parse_interaction
from interaction_router.wire.updates import dead_letter, refusal_of

_LOGGER = logging.getLogger("interaction_router.intake")
AGENTS = "agents.v1"
CONTACTS = "contacts.v1"
COMMANDS = "commands.v1"
Objection = Literal["agent_unknown", "agent_not_qualified"]
_OBJECTIONS: Mapping[Objection, str] = {
    "agent_unknown": "the tenant has no agent of this id",
    "agent_not_qualified": "the agent does not qualify for this channel",
}
_TRACE_LIMIT = 512
"""Characters of a `traceparent`: it goes into every header, and later versions of it may be longer than 55."""
_HINTS = 50_000
_OWNER_HINT_MS = 60_000
_NO_OWNER_HINT_MS = 2_000


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """What a tenant's interactions are read with; `addresses` are its own, canonical."""

    region: str | None = None
    addresses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """What raw records are read with."""

    namespace: str
    channels: tuple[str, ...]
    default_region: str | None = None
    tenants: Mapping[str, TenantSettings] = field(default_factory=dict)
    unqualified: Literal["reject", "flag"] = "reject"
    inputs: str | None = None

    def region(self, tenant: str) -> str | None:
        """Return the region of a tenant's national numbers."""
        known = self.tenants.get(tenant)
        return (known.region if known is not None else None) or self.default_region

    def addresses(self, tenant: str) -> frozenset[str]:
        """Return a tenant's own addresses."""
        known = self.tenants.get(tenant)
        return frozenset() if known is None else known.addresses


class Agents:
    """Who is qualified for what, as the agents' topic has it."""

    def __init__(self, log: Log) -> None:
        """Begin with nobody; `follow` reads."""
        self._log = log
        self._channels: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
        self._next: dict[int, int | None] = {}
        self._told: dict[tuple[str, str], tuple[int, int]] = {}

    async def follow(self) -> None:
        """Read on to the end of the topic."""
        if not self._next:
            self._next = dict.fromkeys(range(await self._log.partitions(AGENTS)))
        for partition in self._next:
            start = self._next.get(partition)
            if start is None:
                start = (await self._log.bounds(AGENTS, partition)).first
            while records := await self._log.read(AGENTS, partition, start):
                for record in records:
                    self._take(partition, record)
                start = records[-1].offset + 1
            self._next[partition] = start

    def _take(self, partition: int, record: Received) -> None:
        try:
            agent = agent_record(record.value, record.key)
        except RejectedError as error:
            _LOGGER.warning("agent_record_refused", extra={"code": error.code, "offset": record.offset})
            return
        # Producers with partitioners of their own may put one agent on two partitions: the later record stands.
        at, stamp_ms = self._told.get((agent.tenant, agent.agent_id), (partition, 0))
        if at != partition and record.timestamp < stamp_ms:
            return
        self._told[agent.tenant, agent.agent_id] = (partition, record.timestamp)
        if agent.gone:
            self._channels[agent.tenant].pop(agent.agent_id, None)
        else:
            self._channels[agent.tenant][agent.agent_id] = agent.channels

    def objection(self, tenant: str, agent_id: str | None, channel: str) -> Objection | None:
        """Return why the agent may not use the channel; of a tenant without agents nobody is checked."""
        agents = self._channels.get(tenant)
        if not agents or agent_id is None:
            return None
        channels = agents.get(agent_id)
        if channels is None:
            return "agent_unknown"
        return None if channel in channels else "agent_not_qualified"


def admitted(raw: RawInteraction, settings: IntakeSettings, agents: Agents) -> tuple[Entity, InteractionEvent]:
    """Return what a raw interaction tells, and the endpoint that it is for.

    Raises:
        RejectedError: `own_address`, `too_large`, `agent_unknown` or `agent_not_qualified`.
    """
    return interaction_message(
        raw,
        region=settings.region(raw.tenant),
        own_addresses=settings.addresses(raw.tenant),
        flags=_agent_flags(raw, settings, agents),
    )


def _agent_flags(raw: RawInteraction, settings: IntakeSettings, agents: Agents) -> tuple[Flag, ...]:
    interaction = raw.interaction
    objection = agents.objection(raw.tenant, interaction.agent_id, interaction.channel)
    if objection is None:
        return ()
    if interaction.direction == "outbound" and settings.unqualified == "reject":
        raise RejectedError(objection, _OBJECTIONS[objection], field="agent_id")
    return (objection,)


class Hints:
    """Who is thought to own an endpoint. A wrong hint costs a detour and nothing else."""

    def __init__(self, tables: Tables, clock: Clock, *, partitions: int) -> None:
        """Begin with none; those that are asked for are remembered for a while."""
        self._tables = tables
        self._clock = clock
        self._partitions = partitions
        self._owners: dict[Entity, tuple[Entity, int]] = {}

    async def learn(self, endpoints: Sequence[Entity]) -> None:
        """Look up all that are not known: one round trip."""
        now_ms = self._clock.now_ms()
        if len(self._owners) > _HINTS:
            self._owners.clear()
        asked = [each for each in dict.fromkeys(endpoints) if self._owners.get(each, (each, 0))[1] <= now_ms]
        if not asked:
            return
        keys = [(home(each, self._partitions), endpoint_key(each.tenant, each.key)) for each in asked]
        for each, value in zip(asked, await self._tables.peek(keys), strict=True):
            row = None if value is None else decode_row(value)
            if isinstance(row, Endpoint) and row.owner is not None:
                self._owners[each] = (Entity(each.tenant, "contact", row.owner), now_ms + _OWNER_HINT_MS)
            else:
                self._owners[each] = (each, now_ms + _NO_OWNER_HINT_MS)

    def best(self, endpoint: Entity) -> Entity:
        """Return where an interaction of the endpoint goes first."""
        return self._owners.get(endpoint, (endpoint, 0))[0]


class RawReading:
    """What raw records say, each by itself: no state, and the same answer to the same record and settings."""

    def __init__(self, agents: Agents, settings: IntakeSettings, *, lineages: Mapping[str, str]) -> None:
        """`lineages` name the topics, as repeats are told by their place."""
        self._agents = agents
        self._settings = settings
        self._lineages = lineages
        self._channel = {f"interactions.{channel}.v1": channel for channel in settings.channels}

    @property
    def interactions(self) -> Sequence[str]:
        """The streams of interactions."""
        return tuple(self._channel)

    @property
    def streams(self) -> Sequence[str]:
        """The raw streams."""
        return (*self._channel, CONTACTS, COMMANDS)

    def interaction(self, stream: str, record: Received) -> tuple[Entity, InteractionEvent]:
        """Return what an interaction's record says, and the endpoint that it is for.

        Raises:
            RejectedError: it cannot be taken.
        """
        raw = parse_interaction(record.value, channel_of_topic=self._channel[stream])
        return admitted(raw, self._settings, self._agents)

    def other(self, stream: str, record: Received) -> tuple[Entity, Message]:
        """Return what a contact event or a command says, likewise."""
        if stream == CONTACTS:
            return contact_message(record.value, region_of=self._settings.region)
        return command_message(record.value)

    def log_record(self, place: Place, record: Received, to: Entity, message: Message) -> LogRecord:
        """Return the record of the internal log, not stamped yet."""
        by_hint = isinstance(message, InteractionEvent) and not message.withheld
        return LogRecord(
            to=to,
            message=message,
            cause=place,
            stamp_ms=None,
            origin=None if by_hint else self._origin(place),
            trace=_trace(record) if record.headers else None,
            raw=_raw(record) if can_be_refused(message) else None,
        )

    def _origin(self, place: Place) -> Origin:
        return Origin(f"{place.stream}/{self._lineages[place.stream]}", place.partition, place.offset, 0)

    def letter(self, place: Place, record: Received, error: RejectedError) -> Outgoing:
        """Return the dead letter of a record that cannot be taken."""
        return dead_letter(
            _raw(record),
            refusal_of(error),
            stage="intake",
            place=place,
            topic=topic_name(self._settings.namespace, place.stream, self._settings.inputs),
        )


class IntakeStage:
    """Reads raw records, refuses the bad ones, and appends the others to the log of the entity they are for."""

    def __init__(
        self, log: Log, reading: RawReading, hints: Hints, *, partitions: int, observer: Observer = UNOBSERVED
    ) -> None:
        """`partitions` are the internal log's."""
        self._log = log
        self._observer = observer
        self._reading = reading
        self._hints = hints
        self._partitions = partitions

    @property
    def streams(self) -> Sequence[str]:
        """The raw streams."""
        return self._reading.streams

    async def committed(self, stream: str, partition: int) -> int | None:
        """Leave it to the group's committed offset: it moves only behind what has been appended."""
        del stream, partition
        return None

    def progress(self, stream: str, partition: int) -> int:
        """Tell of none: a call is as long as one append."""
        del stream, partition
        return 0

    def forget(self, stream: str, partition: int) -> None:
        """Nothing of a partition is kept."""

    async def handle(self, stream: str, partition: int, records: Sequence[Received]) -> int:
        """Append all of the records, refused ones to the dead letters; return where to go on.

        What was appended when it fails is appended again: what has a fixed home is known by its origin, interactions
        that follow a hint by the index.
        """
        at = f"{stream}:{partition}"
        await self._observer.reached("intake_polled", at)
        if stream in self._reading.interactions:
            await self._take_interactions(stream, partition, records)
        else:
            await self._take_others(stream, partition, records)
        await self._observer.reached("intake_appended", at)
        return records[-1].offset + 1

    async def _take_interactions(self, stream: str, partition: int, records: Sequence[Received]) -> None:
        letters: list[Outgoing] = []
        read: list[tuple[Received, Entity, InteractionEvent]] = []
        for record in records:
            try:
                read.append((record, *self._reading.interaction(stream, record)))
            except RejectedError as error:
                letters.append(self._reading.letter(Place(stream, partition, record.offset), record, error))
        await self._hints.learn([to for _, to, message in read if not message.withheld])
        batches: Batches = defaultdict(list)
        for record, endpoint, message in read:
            to = endpoint if message.withheld else self._hints.best(endpoint)
            self._put(batches, Place(stream, partition, record.offset), record, to, message)
        await self._append(stream, partition, batches, letters)

    async def _append(self, stream: str, partition: int, batches: Batches, letters: list[Outgoing]) -> None:
        await self._observer.reached("intake_read", f"{stream}:{partition}")
        appending = append_batches(self._log, (LOG, batches), (DEAD_LETTERS, self._letters(partition, letters)))
        await self._observer.during("intake_produced", appending)

    async def _take_others(self, stream: str, partition: int, records: Sequence[Received]) -> None:
        """Append contact events and commands; what came before a merge is acknowledged before the merge is appended."""
        letters: list[Outgoing] = []
        batches: Batches = defaultdict(list)
        for record in records:
            place = Place(stream, partition, record.offset)
            try:
                to, message = self._reading.other(stream, record)
            except RejectedError as error:
                letters.append(self._reading.letter(place, record, error))
                continue
            if isinstance(message, ContactMerged):
                await append_batches(self._log, (LOG, batches))
                await self._observer.reached("intake_before_merge", f"{stream}:{partition}")
                batches = defaultdict(list)
            self._put(batches, place, record, to, message)
        await self._append(stream, partition, batches, letters)

    def _put(self, batches: Batches, place: Place, record: Received, to: Entity, message: Message) -> None:
        made = self._reading.log_record(place, record, to, message)
        batches[home(to, self._partitions)].append(encode_log_record(made))

    def _letters(self, partition: int, letters: list[Outgoing]) -> Batches:
        return {partition % self._partitions: letters} if letters else {}


def _trace(record: Received) -> str | None:
    """Return the trace that the record is part of; what can be no `traceparent` is none (W3C Trace Context, 3.2.2)."""
    for name, value in record.headers:
        if name == "traceparent" and value is not None:
            return value.decode() if len(value) <= _TRACE_LIMIT and value.isascii() else None
    return None


def _raw(record: Received) -> Raw:
    return Raw(record.key, record.value, tuple(record.headers))
