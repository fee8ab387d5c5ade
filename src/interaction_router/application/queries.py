"""What people ask: conversations and why they are as they are, contacts, agents, and updates as they come."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from interaction_router.application.intake import AGENTS
from interaction_router.application.outcomes import OUTCOMES, known_done, read_range
from interaction_router.application.views import CONTACTS, LOG, UPDATES, contact_score, last_activity_ms
from interaction_router.domain.errors import RejectedError, RetryableError
from interaction_router.domain.ids import Entity, conversation_hash, home
from interaction_router.domain.interactions import Interaction
from interaction_router.domain.rows import (
    Contact,
    Conversation,
    Endpoint,
    Entry,
    Moved,
    RowKey,
    contact_key,
    conversation_key,
    endpoint_key,
    entry_field,
    index_bucket,
)
from interaction_router.ports import Log, Received, Tables
from interaction_router.wire.agents import AgentRecord, agent_record
from interaction_router.wire.codec import decode_row
from interaction_router.wire.times import read_time, spell_time
from interaction_router.wire.updates import state_record

ALL_TIME: Final = float(1 << 53)
"""Above every time in milliseconds, and a number that every store of scores holds."""

MOVES: Final = 32
"""How many stubs are followed: a conversation moves once a save, a merge, or by hand."""

ALIASES: Final = 32
"""How many merges are followed from an alias to its survivor."""

REMEMBERED: Final = 100_000
"""Of how many conversations a follower knows the highest `seq`; those heard of last."""

Status = Literal["open", "closed"]
Fields = dict[str, Any]  # Any: the public JSON of a record


@dataclass(frozen=True, slots=True)
class Step:
    """One update of a conversation with how it stood before; `happened_at` is when people say it happened."""

    update: Fields
    happened_at: str
    status_before: str | None
    contact_before: str | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """A conversation's updates in the order in which they are shown.

    `first_seq` is the first that the topic still has; `last_seq` the last that it has yet.
    """

    steps: Sequence[Step]
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class AgentStanding:
    """A living agent record, its key as it stands, and the partitions that have one of it."""

    agent: AgentRecord
    key: bytes
    partitions: tuple[int, ...]


class Queries:
    """Reads the tables and the topics; changes nothing."""

    def __init__(self, log: Log, tables: Tables) -> None:
        """Ask these two."""
        self._log = log
        self._tables = tables

    async def conversation(self, tenant: str, conversation_id: str) -> Conversation | None:
        """Return the conversation, wherever it is by now."""
        row = await self.find_conversation(conversation_id)
        return row if row is not None and row.tenant == tenant else None

    async def refuse_emptied(self) -> None:
        """Do nothing where all that is known to be told is in the tables.

        Raises:
            RetryableError: `tables_emptied`: what is not found may be there all the same.
        """
        for partition in range(await self._log.partitions(LOG)):
            if (await self._tables.load(partition, ())).applied >= 0:
                continue
            if await known_done(self._log, partition, await self._log.bounds(OUTCOMES, partition)) >= 0:
                cause = (
                    f"The tables of partition {partition} were emptied: what is not found may be there all the same."
                )
                advice = (
                    "A worker folds them again once something comes, `interaction-router state rebuild --yes` at once."
                )
                raise RetryableError("tables_emptied", cause, advice)

    async def find_conversation(self, conversation_id: str) -> Conversation | None:
        """Return the conversation of an id, whose tenant is not known."""
        partitions = await self._log.partitions(LOG)
        partition = conversation_hash(conversation_id) % partitions
        for _ in range(MOVES):
            (value,) = await self._tables.peek([(partition, conversation_key(conversation_id))])
            row = None if value is None else decode_row(value)
            if not isinstance(row, Moved):
                return row if isinstance(row, Conversation) else None
            partition = home(row.to, partitions)
        return None

    async def conversations(
        self,
        tenant: str,
        *,
        status: Status | None = None,
        contact_id: str | None = None,
        endpoint: str | None = None,
        after: Conversation | None = None,
        limit: int,
    ) -> list[Conversation]:
        """Return a tenant's conversations, newest activity first; of a contact or an endpoint theirs, by opening.

        `after` is the last of the page before.
        """
        count = await self._log.partitions(LOG)
        if contact_id is not None:
            contact = Entity(tenant, "contact", contact_id)
            shelves = [(home(contact, count), f"of:{contact_key(tenant, contact_id).bucket}")]
        elif endpoint is not None:
            shelves = [(each, f"of:{endpoint_key(tenant, endpoint).bucket}") for each in range(count)]
        else:
            names = ("open", "closed") if status is None else (status,)
            shelves = [(each, f"{name}:{tenant}") for each in range(count) for name in names]

        def wanted(row: Conversation) -> bool:
            return (
                row.tenant == tenant
                and (status is None or row.status == status)
                and (endpoint is None or row.endpoint == endpoint)
                and (contact_id is None or row.contact_id == contact_id)
            )

        below = (ALL_TIME, "")
        if after is not None:
            by_opening = contact_id is not None or endpoint is not None
            below = (after.opened_at_ms if by_opening else last_activity_ms(after), after.conversation_id)
        shelved = await asyncio.gather(*(self._newest(*shelf, wanted, limit, below) for shelf in shelves))
        newest: dict[str, tuple[float, Conversation]] = {}
        for score, row in (each for found in shelved for each in found):
            # One that moves between homes while we read is seen in both.
            known = newest.get(row.conversation_id)
            if known is None or known[1].seq < row.seq:
                newest[row.conversation_id] = (score, row)
        ordered = sorted(newest.values(), key=lambda each: (each[0], each[1].conversation_id), reverse=True)
        return [row for _, row in ordered[:limit]]

    async def _newest(
        self,
        partition: int,
        shelf: str,
        wanted: Callable[[Conversation], bool],
        limit: int,
        below: tuple[float, str],
    ) -> list[tuple[float, Conversation]]:
        """Return up to `limit` of a shelf's conversations that are wanted, newest first, from `below` on."""
        found: list[tuple[float, Conversation]] = []
        passed: set[str] = set()
        high = below[0]
        while len(found) < limit:
            asked = limit + len(passed)
            members = await self._tables.scored(partition, shelf, low=0, high=high, limit=asked, newest_first=True)
            fresh = [(member, score) for member, score in members if member not in passed]
            values = await self._tables.peek([(partition, conversation_key(member)) for member, _ in fresh])
            for (member, score), value in zip(fresh, values, strict=True):
                row = None if value is None else decode_row(value)
                if isinstance(row, Conversation) and (score, member) < below and wanted(row):
                    found.append((score, row))
                passed.add(member)
            if len(members) < asked:
                break
            # Members of equal score are asked for again and passed over: none is missed between two pages.
            low = members[-1][1]
            passed = {member for member, score in members if score == low} | (passed if low == high else set())
            high = low
        return found[:limit]

    async def timeline(self, conversation: Conversation) -> Timeline:
        """Return why the conversation is as it is: each update that the topic still has, once."""
        partition = conversation_hash(conversation.conversation_id) % await self._log.partitions(LOG)
        start = await self._log.offset_at(UPDATES, partition, conversation.opened_at_ms)
        end = (await self._log.bounds(UPDATES, partition)).end
        key = conversation.conversation_id.encode()
        steps: list[Step] = []
        seq, status, contact = 0, None, None
        async for records in read_range(self._log, UPDATES, partition, start, end):
            for record in records:
                if record.key != key:
                    continue
                update = orjson.loads(record.value or b"{}")
                if update["seq"] <= seq:
                    continue
                steps.append(Step(update, _happened_at(update), status, contact))
                seq, status, contact = update["seq"], update["status"], update["contact_id"]
            if seq >= conversation.seq:
                break
        first = steps[0].update["seq"] if steps else conversation.seq + 1
        return Timeline(sorted(steps, key=_shown_order), first, seq)

    async def contact(self, tenant: str, contact_id: str) -> Contact | None:
        """Return the contact's row; an alias is one too."""
        partitions = await self._log.partitions(LOG)
        entity = Entity(tenant, "contact", contact_id)
        (value,) = await self._tables.peek([(home(entity, partitions), contact_key(tenant, contact_id))])
        row = None if value is None else decode_row(value)
        return row if isinstance(row, Contact) else None

    async def contacts(self, tenant: str, *, after: str = "", limit: int, every: bool = False) -> list[Contact]:
        """Return a tenant's contacts by id, those behind `after`; only those that are saved now, unless `every` one."""
        found: list[Contact] = []
        while len(found) < limit:
            page = await self._contacts_page(tenant, after, limit)
            if not page:
                break
            after = page[-1][1]
            keys = [(partition, contact_key(tenant, contact_id)) for partition, contact_id in page]
            values = await self._tables.peek(keys)
            rows = [decode_row(value) for value in values if value is not None]
            found += [
                row
                for row in rows
                if isinstance(row, Contact) and row.state != "absent" and (every or row.state == "live")
            ]
        return found[:limit]

    async def _contacts_page(self, tenant: str, after: str, limit: int) -> list[tuple[int, str]]:
        """Return the ids of the next contacts, each with its partition."""
        partitions = range(await self._log.partitions(LOG))
        pages = await asyncio.gather(*(self._contacts_of(each, tenant, after, limit) for each in partitions))
        ids = ((contact_id, partition) for partition, page in enumerate(pages) for contact_id in page)
        return [(partition, contact_id) for contact_id, partition in sorted(ids, key=_by_bytes)[:limit]]

    async def _contacts_of(self, partition: int, tenant: str, after: str, limit: int) -> list[str]:
        """Return up to `limit` ids behind `after`; where many begin alike, those before it are read as well."""
        low, asked = contact_score(after), limit + 1
        while True:
            members = await self._tables.scored(partition, f"{CONTACTS}:{tenant}", low=low, high=ALL_TIME, limit=asked)
            behind = [member for member, _ in members if member.encode() > after.encode()]
            if len(behind) >= limit or len(members) < asked:
                return behind[:limit]
            asked *= 4

    async def survivor(self, contact: Contact) -> Contact:
        """Return the contact that an alias goes to in the end; another contact is its own."""
        for _ in range(ALIASES):
            if contact.state != "alias" or contact.into is None:
                break
            following = await self.contact(contact.tenant, contact.into)
            if following is None:
                break
            contact = following
        return contact

    async def owner(self, tenant: str, endpoint: str) -> str | None:
        """Return the id of the contact that an endpoint belongs to."""
        partitions = await self._log.partitions(LOG)
        entity = Entity(tenant, "endpoint", endpoint)
        (value,) = await self._tables.peek([(home(entity, partitions), endpoint_key(tenant, endpoint))])
        row = None if value is None else decode_row(value)
        return row.owner if isinstance(row, Endpoint) else None

    async def conversation_of(
        self, tenant: str, endpoint: str, contact_id: str | None, interaction: Interaction
    ) -> str | None:
        """Return the conversation of an interaction that the endpoint's index, or the contact's, knows."""
        partitions = await self._log.partitions(LOG)
        homes = [Entity(tenant, "endpoint", endpoint)]
        homes += [] if contact_id is None else [Entity(tenant, "contact", contact_id)]
        name = entry_field(tenant, endpoint, interaction.channel, interaction.interaction_id)
        for value in await self._tables.peek([(home(at, partitions), RowKey(index_bucket(at), name)) for at in homes]):
            row = None if value is None else decode_row(value)
            if isinstance(row, Entry):
                return row.conversation_id
        return None

    async def agents(self, tenant: str | None = None) -> list[AgentStanding]:
        """Return the living agents by tenant and id, as the topic has them now."""
        standing: dict[tuple[str, str], AgentStanding] = {}
        stamps: dict[tuple[str, str], int] = {}
        for partition in range(await self._log.partitions(AGENTS)):
            first, end = await self._log.bounds(AGENTS, partition)
            latest: dict[tuple[str, str], tuple[AgentRecord, Received]] = {}
            async for records in read_range(self._log, AGENTS, partition, first, end):
                for record in records:
                    agent = _agent(record)
                    if agent is not None and tenant in {None, agent.tenant}:
                        latest[agent.tenant, agent.agent_id] = (agent, record)
            for name, (agent, record) in latest.items():
                if agent.gone:
                    continue
                known = standing.get(name)
                partitions = (*(() if known is None else known.partitions), partition)
                newest = known is None or record.timestamp >= stamps[name]
                stamps[name] = record.timestamp if newest else stamps[name]
                shown = (agent, record.key or b"") if known is None or newest else (known.agent, known.key)
                standing[name] = AgentStanding(*shown, partitions)
        return [standing[name] for name in sorted(standing)]

    async def agent(self, tenant: str, agent_id: str) -> AgentStanding | None:
        """Return one living agent."""
        return next((each for each in await self.agents(tenant) if each.agent.agent_id == agent_id), None)


def conversation_json(row: Conversation) -> Fields:
    """Return the conversation as it stands (section 8 of the contract); of an erased one what is left of it."""
    value = state_record(row).value
    if value is not None:
        fields: Fields = orjson.loads(value)
        return fields
    return {
        "tenant": row.tenant,
        "conversation_id": row.conversation_id,
        "seq": row.seq,
        "status": row.status,
        "opened_at": spell_time(row.opened_at_ms),
        "closed_at": None if row.closed_at_ms is None else spell_time(row.closed_at_ms),
        "close_reason": row.close_reason,
        "interaction_count": row.interaction_count,
        "channels": dict(row.channels),
    }


def _agent(record: Received) -> AgentRecord | None:
    """Return the agent of a record; one that cannot be read is passed over, as by the workers."""
    try:
        return agent_record(record.value, record.key)
    except RejectedError:
        return None


def _by_bytes(named: tuple[str, int]) -> bytes:
    return named[0].encode()


def _happened_at(update: Mapping[str, Any]) -> str:
    interaction = update.get("interaction")
    return str(update["at"] if interaction is None else interaction["occurred_at"])


def _shown_order(step: Step) -> tuple[bool, int, int]:
    """The opening first; then by the time at which it happened, and of equal times in log order."""
    return (step.update["seq"] != 1, read_time(step.happened_at) or 0, step.update["seq"])


@dataclass(slots=True)
class Follower:
    """A subscriber of the updates that keeps the highest `seq` of each conversation and drops what is not above it."""

    log: Log
    stream: str = UPDATES
    _next: dict[int, int] = field(default_factory=dict)
    _seen: OrderedDict[str, int] = field(default_factory=OrderedDict)

    async def begin(self, *, from_beginning: bool) -> None:
        """Take note of where each partition begins or ends now."""
        for partition in range(await self.log.partitions(self.stream)):
            first, end = await self.log.bounds(self.stream, partition)
            self._next[partition] = first if from_beginning else end

    async def read(self) -> AsyncIterator[tuple[int, Received]]:
        """Yield what is there now and was not yet read, partition by partition."""
        for partition in self._next:
            while records := await self.log.read(self.stream, partition, self._next[partition]):
                for record in records:
                    yield partition, record
                self._next[partition] = records[-1].offset + 1

    def is_new(self, update: Mapping[str, Any]) -> bool:
        """Tell whether an update is no repeat; those of contacts are known by their id."""
        name = update.get("conversation_id") or update["id"]
        seq = update.get("seq", 1)
        if self._seen.get(name, 0) >= seq:
            return False
        self._seen[name] = seq
        self._seen.move_to_end(name)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return True
