"""Updates once more, for one subscriber: to a topic of its own, in their order, each once, with a mark."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import uuid4

import orjson

from interaction_router.application.appending import append_each
from interaction_router.application.outcomes import read_range
from interaction_router.application.queries import Follower
from interaction_router.application.reading import by_stamp
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.application.views import UPDATES
from interaction_router.domain.errors import FatalError
from interaction_router.domain.ids import conversation_hash, partition_of_key
from interaction_router.ports import Log, Observer, Outgoing, Received

REPLAYED_FROM: Final = "replayed_from"
"""The header that a replayed update has besides its own: where it stands among the updates."""
REPLAY: Final = "replay"
"""The header that names the replay."""

BATCH: Final = 500
_BATCHES_A_SECOND: Final = 5
_WARM_UP: Final = 20_000
"""So many updates before where a replay goes on are looked at again, to know what is a repeat."""

Fields = Mapping[str, Any]  # Any: the public JSON of an update


@dataclass(frozen=True, slots=True)
class Selection:
    """Which updates are replayed: those of the ranges of offsets by partition that the rest takes; None is any."""

    ranges: Mapping[int, tuple[int, int]]
    from_ms: int | None = None
    until_ms: int | None = None
    tenant: str | None = None
    contact: str | None = None
    conversation: str | None = None

    def takes(self, record: Received, update: Fields) -> bool:
        """Tell whether an update is wanted."""
        return (
            (self.from_ms is None or record.timestamp >= self.from_ms)
            and (self.until_ms is None or record.timestamp < self.until_ms)
            and self.tenant in {None, update["tenant"]}
            and self.contact in {None, update["contact_id"]}
            and self.conversation in {None, update.get("conversation_id")}
        )


@dataclass(frozen=True, slots=True)
class ReplayState:
    """A replay that is under way: what it is of and how far it is.

    `next` is where to go on, by partition of the updates. What was written besides stands in the topic at or behind
    `target_next`, by its partitions.
    """

    replay: str
    to: str
    lineages: tuple[str, str]
    selection: Selection
    next: Mapping[int, int]
    target_next: Mapping[int, int]
    written: int = 0


@dataclass(slots=True)
class Forecast:
    """What a replay would write."""

    records: int = 0
    size_bytes: int = 0
    repeats: int = 0
    conversations: set[str] = field(default_factory=set)
    by_partition: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    first_ms: int | None = None
    last_ms: int | None = None


@dataclass(slots=True)
class Pace:
    """So many records a second at most, None as many as go; `stop` ends every pause."""

    rate: float | None
    stop: asyncio.Event

    @property
    def batch(self) -> int:
        """How many go at once, so that a slow one is even."""
        return BATCH if self.rate is None else max(1, min(BATCH, int(self.rate / _BATCHES_A_SECOND)))

    async def wait(self, begun: float, done: int) -> None:
        """Wait until so many may be done since `begun`."""
        left = 0.0 if self.rate is None else begun + done / self.rate - asyncio.get_running_loop().time()
        if left > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), left)


class UpdatesReplay:
    """Reads the updates of one log and writes them to a topic of another, which may be the same."""

    def __init__(self, log: Log, target: Log, *, namespace: str, observer: Observer = UNOBSERVED) -> None:
        """`namespace` is that of the updates, for the mark."""
        self._log = log
        self._target = target
        self._namespace = namespace
        self._observer = observer
        self._repeats = 0

    async def begin(self, selection: Selection, to: str) -> ReplayState:
        """Return a replay that has written nothing yet."""
        partitions = await self._target.partitions(to)
        ends = {each: (await self._target.bounds(to, each)).end for each in range(partitions)}
        starts = {partition: start for partition, (start, _) in selection.ranges.items()}
        return ReplayState(uuid4().hex, to, await self._lineages(to), selection, starts, ends)

    async def resumed(self, state: ReplayState) -> tuple[ReplayState, frozenset[tuple[int, int]]]:
        """Return a replay as it can go on, and what it has written beyond that, by partition and offset.

        Raises:
            FatalError: `replay_stale`: one of the topics was made anew.
        """
        if await self._lineages(state.to) != tuple(state.lineages):
            cause = f"{state.to}, or the topic of updates, was made anew since the replay began."
            raise FatalError("replay_stale", cause, "Begin a new replay.")
        written: set[tuple[int, int]] = set()
        ends = dict(state.target_next)
        for partition, start in state.target_next.items():
            ends[partition] = (await self._target.bounds(state.to, partition)).end
            async for records in read_range(self._target, state.to, partition, start, ends[partition]):
                for record in records:
                    headers = dict(record.headers)
                    if headers.get(REPLAY) == state.replay.encode():
                        at, _, offset = headers[REPLAYED_FROM].decode().rpartition("/")[2].partition("@")
                        written.add((int(at), int(offset)))
        return state, frozenset(written)

    async def forecast(self, state: ReplayState, written: frozenset[tuple[int, int]] = frozenset()) -> Forecast:
        """Return what is still to be written; reads all of it and writes nothing."""
        found = Forecast()
        async for partition, record in self._chosen(state):
            if (partition, record.offset) in written:
                continue
            found.records += 1
            found.size_bytes += len(record.value or b"")
            found.by_partition[partition] += 1
            found.conversations.add((record.key or b"").decode(errors="replace"))
            found.first_ms = min(record.timestamp, found.first_ms or record.timestamp)
            found.last_ms = max(record.timestamp, found.last_ms or record.timestamp)
        found.repeats = self._repeats
        return found

    async def run(
        self,
        state: ReplayState,
        pace: Pace,
        *,
        written: frozenset[tuple[int, int]] = frozenset(),
        save: Callable[[ReplayState, int], None],
    ) -> ReplayState:
        """Write what is left, or until `pace.stop`; `save` is told how far it is behind each batch, and its size.

        Whatever dies, what was written is found again in the topic by its marks.
        """
        await self._observer.reached("updates_replay_begun", state.to)
        begun, done = asyncio.get_running_loop().time(), 0
        batch: list[tuple[int, Received]] = []
        partitions = await self._target.partitions(state.to)
        async for place in self._chosen(state):
            if (place[0], place[1].offset) in written:
                continue
            batch.append(place)
            if len(batch) < pace.batch:
                continue
            state = await self._written(state, batch, partitions, save)
            done += len(batch)
            batch = []
            await pace.wait(begun, done)
            if pace.stop.is_set():
                return state
        if batch:
            state = await self._written(state, batch, partitions, save)
        return state

    async def _written(
        self,
        state: ReplayState,
        batch: list[tuple[int, Received]],
        partitions: int,
        save: Callable[[ReplayState, int], None],
    ) -> ReplayState:
        """Append a batch, and let it be kept that it is."""
        state = await self._write(state, batch, partitions)
        await self._observer.reached("updates_replayed", state.to)
        save(state, len(batch))
        await self._observer.reached("updates_replay_kept", state.to)
        return state

    async def _write(self, state: ReplayState, batch: list[tuple[int, Received]], partitions: int) -> ReplayState:
        """Append a batch; those of one conversation to one partition, in their order."""
        batches: dict[tuple[str, int], list[Outgoing]] = defaultdict(list)
        reached = dict(state.next)
        same = partitions == await self._log.partitions(UPDATES)
        for partition, record in batch:
            at = partition if same else partition_of_key(record.key or b"", partitions)
            place = f"{self._namespace}.{UPDATES}/{partition}@{record.offset}".encode()
            marks = ((REPLAY, state.replay.encode()), (REPLAYED_FROM, place))
            batches[state.to, at].append(Outgoing(record.key, record.value, (*record.headers, *marks)))
            reached[partition] = record.offset + 1
        ends = dict(state.target_next)
        for (_, at), offsets in (await append_each(self._target, batches)).items():
            ends[at] = offsets[-1] + 1
        return replace(state, next=reached, target_next=ends, written=state.written + len(batch))

    async def _chosen(self, state: ReplayState) -> AsyncIterator[tuple[int, Received]]:
        """Yield the updates that are left, by their stamps, without what came again after a crash."""
        selection = state.selection
        key = None if selection.conversation is None else selection.conversation.encode()
        follower = Follower(self._log, UPDATES)
        self._repeats = 0
        warm = {
            partition: (max(start, state.next[partition] - _WARM_UP), end)
            for partition, (start, end) in selection.ranges.items()
        }
        async for partition, record in by_stamp(self._log, UPDATES, warm):
            if record.value is None or (key is not None and record.key != key):
                continue
            update = orjson.loads(record.value)
            new = follower.is_new(update)
            if record.offset < state.next[partition] or not selection.takes(record, update):
                continue
            if new:
                yield partition, record
            else:
                self._repeats += 1

    async def _lineages(self, to: str) -> tuple[str, str]:
        return await self._log.lineage(UPDATES), await self._target.lineage(to)


async def ranges_of(
    log: Log,
    *,
    partitions: tuple[int, ...] = (),
    offsets: tuple[int, int] | None = None,
    from_ms: int | None = None,
    conversation: str | None = None,
) -> dict[int, tuple[int, int]]:
    """Return the offsets that are kept now, of the partitions that are asked for; of a conversation, of its own.

    Raises:
        FatalError: there is no such partition.
    """
    count = await log.partitions(UPDATES)
    wrong = [each for each in partitions if each >= count]
    if wrong:
        cause = f"There is no partition {wrong[0]}: the updates have {count}, from 0 to {count - 1}."
        raise FatalError("partition_unknown", cause, "Check --partition and the namespace.")
    chosen = partitions or tuple(range(count))
    if conversation is not None:
        chosen = tuple(each for each in chosen if each == conversation_hash(conversation) % count)
    ranges = {}
    for partition in chosen:
        first, end = await log.bounds(UPDATES, partition)
        if from_ms is not None:
            first = await log.offset_at(UPDATES, partition, from_ms)
        if offsets is not None:
            first, end = max(first, offsets[0]), min(end, offsets[1])
        ranges[partition] = (first, max(first, end))
    return ranges


def state_json(state: ReplayState) -> bytes:
    """Return a replay as it is kept."""
    return orjson.dumps(state, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_INDENT_2)


def read_state(text: bytes) -> ReplayState:
    """Return a replay as it was kept.

    Raises:
        FatalError: `replay_unreadable`.
    """
    try:
        fields = orjson.loads(text)
        chosen = fields["selection"]
        ranges = {int(partition): (int(start), int(end)) for partition, (start, end) in chosen["ranges"].items()}
        return ReplayState(
            **{
                **fields,
                "lineages": tuple(fields["lineages"]),
                "selection": Selection(**{**chosen, "ranges": ranges}),
                "next": {int(partition): int(offset) for partition, offset in fields["next"].items()},
                "target_next": {int(partition): int(offset) for partition, offset in fields["target_next"].items()},
            }
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        cause = f"The file holds no replay that this version knows ({type(error).__name__})."
        raise FatalError("replay_unreadable", cause, "Name the file that the replay has told.") from error
