"""Requests of people: a command or a contact event is appended, and what became of it is waited for."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import orjson

from interaction_router.application.intake import AGENTS, COMMANDS, CONTACTS
from interaction_router.application.letters import header_texts
from interaction_router.application.outcomes import OUTCOMES, Counting
from interaction_router.application.queries import AgentStanding, Queries
from interaction_router.application.views import DEAD_LETTERS, HEAD, LOG
from interaction_router.domain.events import Outcome, Refusal
from interaction_router.domain.ids import Place, partition_of_key
from interaction_router.domain.messages import Origin
from interaction_router.domain.names import topic_name
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Log, Outgoing, Received, Tables
from interaction_router.wire.agents import agent_record
from interaction_router.wire.commands import command_message
from interaction_router.wire.contacts import contact_message
from interaction_router.wire.updates import update_records

POLL_S: Final = 0.05
"""The pause before the outcomes are looked at again."""

_LAST_OUTCOME: Final = RowKey(HEAD, "outcome")

Fields = dict[str, Any]  # Any: the public JSON of a record


@dataclass(frozen=True, slots=True)
class Fate:
    """What has become of a request so far.

    `done` once everything that it led to, in other homes too, is decided and can be read; `updates` are what
    subscribers hear of it. A refused one is done, with the code of its dead letter.
    """

    place: Place
    done: bool
    updates: Sequence[Fields] = ()
    refusal: Refusal | None = None
    changed: bool = False


class Requests:
    """Appends what people ask for. What cannot be right is refused here and never appended."""

    def __init__(self, log: Log, tables: Tables, *, namespace: str, inputs: str | None = None) -> None:
        """`namespace` begins the names of topics in the updates that are told, and `inputs` those of raw records."""
        self._log = log
        self._tables = tables
        self._namespace = namespace
        self._inputs = inputs

    async def command(self, fields: Fields, *, wait_s: float) -> Fate:
        """Append a command and wait for what becomes of it; one without a `command_id` gets one.

        Raises:
            RejectedError: it breaks a rule of commands; nothing was appended.
        """
        fields = {"command_id": str(uuid4()), **{name: value for name, value in fields.items() if value is not None}}
        value = orjson.dumps(fields)
        command_message(value)
        key = fields.get("conversation_id") or fields.get("contact_id") or ""
        return await self._ask(COMMANDS, Outgoing(f"{fields['tenant']}|{key}".encode(), value), wait_s)

    async def contact_event(self, fields: Fields, *, region: str | None, wait_s: float) -> Fate:
        """Append a contact event and wait for what becomes of it; `region` is the tenant's, for national numbers.

        Raises:
            RejectedError: it breaks a rule of contact events; nothing was appended.
        """
        value = orjson.dumps({name: value for name, value in fields.items() if value is not None})
        contact_message(value, region_of=lambda _: region)
        key = f"{fields['tenant']}|{fields['contact_id']}".encode()
        return await self._ask(CONTACTS, Outgoing(key, value), wait_s)

    async def set_agent(self, tenant: str, agent_id: str, *, name: str | None, channels: Sequence[str]) -> None:
        """Write an agent's record; workers have it within a second.

        Raises:
            RejectedError: it breaks a rule of agent records; nothing was appended.
        """
        fields = {"tenant": tenant, "agent_id": agent_id, "name": name, "channels": list(channels)}
        value = orjson.dumps(fields)
        key = f"{tenant}|{agent_id}".encode()
        agent_record(value, key)
        standing = await Queries(self._log, self._tables).agent(tenant, agent_id)
        await self._write_agent(key, value, standing)

    async def remove_agent(self, tenant: str, agent_id: str) -> bool:
        """Write an agent's tombstone; return whether there was such an agent."""
        standing = await Queries(self._log, self._tables).agent(tenant, agent_id)
        if standing is None:
            return False
        await self._write_agent(standing.key, None, standing)
        return True

    async def _write_agent(self, key: bytes, value: bytes | None, standing: AgentStanding | None) -> None:
        """Write it wherever a record of the agent stands: compaction and order know one partition alone.

        Another writer's client may place the key elsewhere than this one would.
        """
        partitions: Iterable[int] = () if standing is None else standing.partitions
        if not partitions:
            partitions = [partition_of_key(key, await self._log.partitions(AGENTS))]
        for partition in partitions:
            await self._log.append(AGENTS, partition, [Outgoing(key, value)])

    async def _ask(self, stream: str, record: Outgoing, wait_s: float) -> Fate:
        """Append to the partition of the key, and follow what it leads to for so long; 0 does not wait."""
        partition = partition_of_key(record.key or b"", await self._log.partitions(stream))
        if wait_s <= 0:
            (offset,) = await self._log.append(stream, partition, [record])
            return Fate(Place(stream, partition, offset), done=False)
        trail = Trail(self._log, self._tables, namespace=self._namespace, inputs=self._inputs)
        await trail.begin(stream, partition)
        (offset,) = await self._log.append(stream, partition, [record])
        return await trail.follow(Place(stream, partition, offset), wait_s=wait_s)


@dataclass(slots=True)
class _Found:
    """What has been seen so far of one request.

    An answer may be read before the outcome that it answers to, since that stands on another partition.
    """

    cause: Place
    awaited: set[Origin]
    decided: set[Origin] = field(default_factory=set)
    updates: list[Fields] = field(default_factory=list)
    refusal: Refusal | None = None
    changed: bool = False
    reached: dict[int, int] = field(default_factory=dict)

    def fate(self, *, done: bool) -> Fate:
        """Return it for the one who asked."""
        return Fate(self.cause, done, self.updates, self.refusal, self.changed)


class Trail:
    """Follows one record through the outcomes: its own, and those of everything that was sent on because of it.

    A send is known by its origin, so the end is known too: when nothing that was sent is undecided.
    """

    def __init__(self, log: Log, tables: Tables, *, namespace: str, inputs: str | None = None) -> None:
        """Follow nothing yet; `begin` comes before the record is appended."""
        self._log = log
        self._tables = tables
        self._namespace = namespace
        self._inputs = inputs
        self._counting: dict[int, Counting] = {}
        self._next: dict[int, int] = {}
        self._letters = (0, 0)
        self._root = ""
        self._internal = ""

    async def begin(self, stream: str, partition: int) -> None:
        """Take note of where everything ends now."""
        partitions = await self._log.partitions(LOG)
        self._root = f"{stream}/{await self._log.lineage(stream)}"
        lineage = f"{await self._log.lineage(LOG)}/{await self._log.lineage(OUTCOMES)}"
        self._internal = f"{LOG}/{lineage}"
        letters = partition % partitions
        self._letters = (letters, (await self._log.bounds(DEAD_LETTERS, letters)).end)
        await asyncio.gather(*(self._begin_at(each) for each in range(partitions)))

    async def _begin_at(self, partition: int) -> None:
        """Go on from what the tables have, as a takeover does: only so is it known which outcomes count."""
        loaded = await self._tables.load(partition, [_LAST_OUTCOME])
        (value,) = loaded.rows
        self._counting[partition] = Counting(loaded.applied)
        self._next[partition] = 0 if value is None else int(value) + 1

    async def follow(self, cause: Place, *, wait_s: float) -> Fate:
        """Return what has become of the record at `cause`, after `wait_s` at the latest."""
        found = _Found(cause, {Origin(self._root, cause.partition, cause.offset, 0)})
        try:
            async with asyncio.timeout(wait_s):
                while not await self._look(found):  # noqa: ASYNC110 - what is waited for is in other processes
                    await asyncio.sleep(POLL_S)
                await self._be_readable(found)
        except TimeoutError:
            return found.fate(done=False)
        return found.fate(done=True)

    async def _look(self, found: _Found) -> bool:
        """Read on; return whether everything is decided."""
        await self._look_at_letters(found)
        if found.refusal is None:
            for partition in self._next:
                await self._look_at(partition, found)
        return found.refusal is not None or found.awaited <= found.decided

    async def _look_at(self, partition: int, found: _Found) -> None:
        while records := await self._log.read(OUTCOMES, partition, self._next[partition]):
            for outcome, _ in self._counting[partition].count(records):
                # Without an origin it is a repeat, which decides nothing.
                if outcome.cause == found.cause and outcome.origin is not None:
                    found.decided.add(outcome.origin)
                    self._take(partition, outcome, found)
            self._next[partition] = records[-1].offset + 1

    def _take(self, partition: int, outcome: Outcome, found: _Found) -> None:
        decision = outcome.decision
        found.awaited.update(
            Origin(self._internal, partition, outcome.offset, nth) for nth in range(len(decision.sends))
        )
        found.updates += [
            orjson.loads(each.value)
            for each in update_records(outcome, partition=partition, namespace=self._namespace, inputs=self._inputs)
        ]
        found.refusal = found.refusal or decision.refusal
        found.changed = found.changed or bool(decision.events)
        found.reached[partition] = outcome.offset

    async def _look_at_letters(self, found: _Found) -> None:
        """Intake refuses before there is an outcome."""
        partition, position = self._letters
        while records := await self._log.read(DEAD_LETTERS, partition, position):
            position = records[-1].offset + 1
            for record in records:
                found.refusal = found.refusal or self._refusal(record, found.cause)
        self._letters = (partition, position)

    def _refusal(self, letter: Received, cause: Place) -> Refusal | None:
        """Return why the record was refused, where the dead letter is the record's."""
        headers = header_texts(letter.headers)
        place = (headers.get("dlq_topic"), headers.get("dlq_partition"), headers.get("dlq_offset"))
        if place != (topic_name(self._namespace, cause.stream, self._inputs), str(cause.partition), str(cause.offset)):
            return None
        return Refusal(headers["dlq_code"], headers.get("dlq_message", ""))  # type: ignore[arg-type]  # as it was written

    async def _be_readable(self, found: _Found) -> None:
        """Wait until the tables have what was decided, so that whoever asks next sees it."""
        for partition, offset in found.reached.items():
            while (await self._tables.load(partition, ())).applied < offset:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(POLL_S)
