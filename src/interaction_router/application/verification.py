"""Whether the tables and the state topic are what the outcomes make of them; each difference by its name."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal, NamedTuple

import orjson

from interaction_router.application.folding import Folding
from interaction_router.application.outcomes import OUTCOMES, known_done
from interaction_router.application.queries import ALL_TIME
from interaction_router.application.rebuilding import UNUSABLE
from interaction_router.application.snapshots import Snapshots
from interaction_router.application.states import CONVERSATIONS, StateDifference, States
from interaction_router.application.views import DUE, HEAD, TENANTS, Views, read_head
from interaction_router.domain.errors import RetryableError, RouterError
from interaction_router.domain.rows import Conversation, Entry, RowKey, conversation_key
from interaction_router.domain.timers import due_at_ms
from interaction_router.ports import Log, Tables, Upkeep, Writes
from interaction_router.wire.codec import decode_row, encode_row

Kind = Literal[
    "row_changed",
    "row_missing",
    "row_extra",
    "score_changed",
    "score_missing",
    "score_extra",
    "tables_behind",
    "tables_ahead",
    "tables_of_another_log",
    "tables_unusable",
    "seq_gap",
    "two_open",
    "miscounted",
    "interaction_twice",
    "state_changed",
    "state_missing",
    "state_extra",
]

ATTEMPTS: Final = 3
"""How often a partition is begun anew whose tables went back under the eyes of the reader."""

_PARTITION_ANEW: Final = "tables_went_back"
Told = Callable[[str, int, int], None]
"""Hears what is under way, how far it is, and of how much."""


class Difference(NamedTuple):
    """What is not as the outcomes make it: the bytes that are there, and those that should be; None for none."""

    kind: Kind
    partition: int
    key: str
    found: bytes | None = None
    wanted: bytes | None = None


@dataclass(slots=True)
class _Reading:
    """One partition under the eyes: its fold, and the open conversations of its contacts."""

    partition: int
    fold: Folding
    open: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))


class Verification:
    """Folds each partition's outcomes into a scratch, and compares what the tables have with it.

    The tables move on meanwhile: each part of them is read together with `applied`, and compared with the fold up to
    just there. Nothing is written but the scratch, and a partition's rows need no room in memory.
    """

    def __init__(
        self,
        log: Log,
        live: tuple[Tables, Upkeep],
        scratch: tuple[Tables, Upkeep],
        views: Views,
        told: Told,
        *,
        settle_s: float,
    ) -> None:
        """The scratch is empty and nobody else's; `settle_s` is as for `States`."""
        self._log = log
        self._tables, self._upkeep = live
        self._scratch, self._scratch_upkeep = scratch
        self._views = views
        self._told = told
        self._states = States(log, self._tables, views, scratch, settle_s=settle_s)
        self._seen_at = 2 * views.partitions
        self._seen = -1

    async def partition(self, partition: int) -> list[Difference]:
        """Return the differences of one partition's tables.

        Raises:
            RetryableError: a server does not answer, or the tables go back again and again.
        """
        for attempt in range(ATTEMPTS):
            try:
                return [each async for each in self._differences(partition)]
            except RetryableError as error:
                if error.code != _PARTITION_ANEW or attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError

    async def state_topic(self) -> list[Difference]:
        """Return the differences of the state topic; every partition's rows come first."""
        differences: list[Difference] = []
        for partition in range(self._views.partitions):
            told = partial(self._told, f"records of partition {partition} of the state topic")
            differences += [_of_state(partition, each) for each in await self._states.compare(partition, told)]
        return differences

    async def _differences(self, partition: int) -> AsyncIterator[Difference]:
        done = await known_done(self._log, partition, await self._log.bounds(OUTCOMES, partition))
        try:
            loaded = await self._tables.load(partition, [], [HEAD])
        except RouterError as error:
            if error.code not in UNUSABLE:
                raise
            yield Difference("tables_unusable", partition, error.code)
            return
        _, _, lineage = read_head(loaded.buckets[0])
        if lineage not in {None, self._views.lineage}:
            yield Difference("tables_of_another_log", partition, "applied")
            return
        if loaded.applied < done:
            yield Difference("tables_behind", partition, "applied", _number(loaded.applied), _number(done))
        fold = await self._begun(partition)
        if not await fold.up_to(
            loaded.applied, lambda at: self._told(f"outcomes of partition {partition}", at, loaded.applied)
        ):
            yield Difference("tables_ahead", partition, "applied", _number(loaded.applied), _number(fold.applied))
            return
        try:
            async for difference in self._compared(_Reading(partition, fold)):
                yield difference
        except RouterError as error:
            if error.code not in UNUSABLE:
                raise
            yield Difference("tables_unusable", partition, error.code)

    async def _begun(self, partition: int) -> Folding:
        """Return a fold from the start; only where outcomes of it are gone, one from the latest snapshot."""
        trimmed = (await self._log.bounds(OUTCOMES, partition)).first > 0
        lineage = self._views.lineage
        base = Snapshots(self._log, lineage=lineage).base(partition, self._scratch) if trimmed else None
        fold = Folding(self._log, self._scratch, partition, into=partition, lineage=lineage, base=base)
        await fold.begin()
        return fold

    async def _compared(self, reading: _Reading) -> AsyncIterator[Difference]:
        """Compare all that should be there, then what is there and should not be."""
        partition, count = reading.partition, 0
        async for names in self._scratch_upkeep.names(partition):
            count += len(names.rows) + len(names.members)
            self._told(f"rows of partition {partition}", count, count)
            for difference in await self._rows(reading, names.rows, first=True):
                yield difference
            for difference in await self._scores(reading, names.members):
                yield difference
        async for names in self._upkeep.names(partition):
            known = (await self._scratch.load(partition, names.rows)).rows
            strange = [key for key, value in zip(names.rows, known, strict=True) if value is None]
            for difference in await self._rows(reading, strange, first=False):
                yield difference
            scores = (await self._scratch_upkeep.scores(partition, names.members)).scores
            others = [each for each, score in zip(names.members, scores, strict=True) if score is None]
            for difference in await self._scores(reading, others):
                yield difference
        for gap, found, wanted in reading.fold.gaps:
            yield Difference("seq_gap", partition, f"conversation:{gap}", _number(found), _number(wanted))
        for difference in await self._two_open(reading):
            yield difference

    async def _rows(self, reading: _Reading, keys: Sequence[RowKey], *, first: bool) -> list[Difference]:
        """Compare rows as of one moment; `first` looks at what they say, too."""
        if not keys:
            return []
        partition = reading.partition
        loaded = await self._tables.load(partition, keys)
        await self._follow(reading, loaded.applied)
        wanted = (await self._scratch.load(partition, keys)).rows
        differences = []
        for key, found, right in zip(keys, loaded.rows, wanted, strict=True):
            if found == right or (found is not None and right is not None and _same(key, found, right)):
                continue
            kind: Kind = "row_missing" if found is None else "row_extra" if right is None else "row_changed"
            differences.append(Difference(kind, partition, spelt(key), found, right))
        if first:
            differences += await self._looked_at(reading, dict(zip(keys, wanted, strict=True)))
        return differences

    async def _follow(self, reading: _Reading, applied: int) -> None:
        if not await reading.fold.up_to(applied):
            cause = f"The tables of partition {reading.partition} are ahead of the outcomes."
            raise RetryableError("tables_ahead", cause, "Run `interaction-router state verify` again.")

    async def _looked_at(self, reading: _Reading, rows: Mapping[RowKey, bytes | None]) -> list[Difference]:
        """Look at what right rows say: counts, the interactions, and what the state topic should have."""
        partition = reading.partition
        differences, conversations = [], []
        entries: dict[str, RowKey] = {}
        for key, value in rows.items():
            if value is None or key.bucket == HEAD:
                continue
            row = decode_row(value)
            if isinstance(row, Conversation):
                conversations.append(row)
                count = sum(row.channels.values())
                if count != row.interaction_count:
                    found, wanted = _number(row.interaction_count), _number(count)
                    differences.append(Difference("miscounted", partition, spelt(key), found, wanted))
                if row.status == "open" and row.contact_id is not None:
                    reading.open[row.tenant, row.contact_id].add(row.conversation_id)
            elif isinstance(row, Entry) and row.to is None and row.interaction is not None:
                entries[key.field] = key
        await self._states.expect(conversations)
        return differences + await self._twice(partition, entries)

    async def _twice(self, partition: int, entries: Mapping[str, RowKey]) -> list[Difference]:
        """Tell which interactions another index has as its own as well, now that both are looked at again."""
        names = [RowKey(name) for name in entries]
        known = (await self._scratch.load(self._seen_at, names)).rows
        differences = []
        for key, place in zip(entries.values(), known, strict=True):
            here = [partition, *key]
            if place is not None and orjson.loads(place) != here:
                at, *other = orjson.loads(place)
                looked = await self._tables.peek([(partition, key), (at, RowKey(*other))])
                if all(value is not None and _is_full(value) for value in looked):
                    differences.append(Difference("interaction_twice", partition, spelt(key), place, None))
        puts = {RowKey(name): orjson.dumps([partition, *key]) for name, key in entries.items()}
        after = self._seen
        self._seen = await self._scratch.apply(self._seen_at, after=after, applied=after + 1, writes=Writes(puts=puts))
        return differences

    async def _two_open(self, reading: _Reading) -> list[Difference]:
        """Tell which contacts have two open conversations, as the fold has them at one moment."""
        differences = []
        for (tenant, contact_id), ids in reading.open.items():
            if len(ids) < 2:  # noqa: PLR2004 - two is what the promise excludes
                continue
            loaded = await self._scratch.load(reading.partition, [conversation_key(each) for each in sorted(ids)])
            rows = [decode_row(value) for value in loaded.rows if value is not None]
            still = [row for row in rows if isinstance(row, Conversation) and row.status == "open"]
            if len([row for row in still if (row.tenant, row.contact_id) == (tenant, contact_id)]) > 1:
                differences.append(Difference("two_open", reading.partition, f"contact:{tenant}/{contact_id}"))
        return differences

    async def _scores(self, reading: _Reading, members: Sequence[tuple[str, str]]) -> list[Difference]:
        """Compare members of sorted sets as of one moment."""
        if not members:
            return []
        partition = reading.partition
        loaded = await self._upkeep.scores(partition, members)
        await self._follow(reading, loaded.applied)
        wanted = (await self._scratch_upkeep.scores(partition, members)).scores
        differences = []
        for (name, member), found, right in zip(members, loaded.scores, wanted, strict=True):
            if found == right or await self._may_differ(reading, name, member, found):
                continue
            kind: Kind = "score_missing" if found is None else "score_extra" if right is None else "score_changed"
            differences.append(Difference(kind, partition, f"{name} {member}", _score(found), _score(right)))
        return differences

    async def _may_differ(self, reading: _Reading, name: str, member: str, found: float | None) -> bool:
        """Tell whether a score may be another than the fold's: those that depend on where a batch ended.

        A tenant may be there or not whose conversations have all gone; a conversation may be due by a policy of
        before while the one in force is pending.
        """
        if name == TENANTS:
            for shelf in (f"open:{member}", f"closed:{member}"):
                if await self._scratch.scored(reading.partition, shelf, low=0, high=ALL_TIME, limit=1):
                    return False
            return True
        if name != DUE or not reading.fold.policies[-1].pending:
            return False
        key = conversation_key(member.partition("/")[2])
        value = (await self._scratch.load(reading.partition, [key])).rows[0]
        row = None if value is None else decode_row(value)
        if not isinstance(row, Conversation):
            return False
        return found in {due_at_ms(row, policy) for policy in reading.fold.policies}


def spelt(key: RowKey) -> str:
    """Return how people see a row's key."""
    return f"{key.bucket} {key.field}".rstrip()


def values(difference: Difference) -> tuple[Any, Any]:
    """Return what is there and what should be, as JSON; Any: whatever the row has."""
    return _json(difference.found), _json(difference.wanted)


def _json(value: bytes | None) -> Any:
    try:
        return None if value is None else orjson.loads(value)
    except orjson.JSONDecodeError:
        return value.decode(errors="replace") if value is not None else None


def _same(key: RowKey, found: bytes, right: bytes) -> bool:
    """Tell whether two rows say the same, however an older version has written one of them."""
    if key.bucket == HEAD:
        return False
    try:
        return encode_row(decode_row(found)) == encode_row(decode_row(right))
    except RouterError:
        return False


def _is_full(value: bytes) -> bool:
    row = decode_row(value)
    return isinstance(row, Entry) and row.to is None and row.interaction is not None


def _of_state(partition: int, state: StateDifference) -> Difference:
    kind: Kind = "state_missing" if state.found is None else "state_extra" if state.wanted is None else "state_changed"
    return Difference(kind, partition, f"{CONVERSATIONS}{state.conversation_id}", state.found, state.wanted)


def _number(value: int) -> bytes:
    return str(value).encode()


def _score(value: float | None) -> bytes | None:
    return None if value is None else f"{value:.0f}".encode()
