"""What the application needs of the outside: the log and the tables, each with an embedded and a real adapter."""

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from interaction_router.domain.events import Outcome
from interaction_router.domain.rows import RowKey

T = TypeVar("T")


class Outgoing(NamedTuple):
    """A record to append."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp_ms: int | None = None


class Received(Protocol):
    """A record as it was read; aiokafka's `ConsumerRecord` is one."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Bounds(NamedTuple):
    """The first offset that is still there, and the one that the next record will get."""

    first: int
    end: int


class Log(Protocol):
    """Topics of ordered partitions. A stream is a topic's name without its namespace.

    Every method raises `RetryableError` where the log does not answer, `FatalError` where a topic is missing or the
    permission for it.
    """

    async def partitions(self, stream: str) -> int:
        """Return how many partitions the stream has."""
        ...

    async def lineage(self, stream: str) -> str:
        """Return what tells this topic from one of the same name that was made before or after it."""
        ...

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        """Append in order, one request in flight at a time; return the offsets once all replicas have them.

        After an error any first part of the records may have been appended, and none is retried in the background.
        """
        ...

    async def read(self, stream: str, partition: int, start: int, *, limit: int = 1000) -> Sequence[Received]:
        """Return records from `start` on that are there now, at most about `limit`; none only at the end."""
        ...

    async def bounds(self, stream: str, partition: int) -> Bounds:
        """Return where the partition begins and ends now, as the leader has it."""
        ...

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        """Return the first offset whose record is stamped `timestamp_ms` or later; the end where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rows, in the order asked for, as they stood at one moment, with how far the tables were then.

    `applied` is the last log offset folded into the tables, -1 for none.
    """

    applied: int
    rows: Sequence[bytes | None]
    buckets: Sequence[Mapping[str, bytes]]


@dataclass(slots=True)
class Writes:
    """What one batch does to a partition's tables: rows, and members of sorted sets by their scores."""

    puts: dict[RowKey, bytes] = field(default_factory=dict)
    deletes: set[RowKey] = field(default_factory=set)
    scores: dict[tuple[str, str], float] = field(default_factory=dict)
    unscores: set[tuple[str, str]] = field(default_factory=set)


class Restoring(NamedTuple):
    """How far tables are that are being filled with a snapshot: they have so many of its chunks.

    `lineage` names the internal log, `snapshot` the snapshot among those of this log and partition.
    """

    lineage: str
    snapshot: str
    chunks: int


Standing: TypeAlias = int | Restoring
"""How far tables are, and so all of what is in them: what is folded up to a log offset, -1 for nothing, or `Restoring`."""


class Tables(Protocol):
    """The rows of each partition: a bucket is one value (`field` empty) or a map of fields.

    Every method raises `RetryableError` where the tables do not answer or are full, `FatalError` where they could
    lose rows by their configuration.
    """

    async def load(self, partition: int, keys: Sequence[RowKey], buckets: Sequence[str] = ()) -> Loaded:
        """Return single rows and whole buckets together with `applied`, all of one moment."""
        ...

    async def apply(self, partition: int, *, after: int, applied: int, writes: Writes) -> int:
        """Write it all at once iff `applied` is still `after`, and set it; return what `applied` is then."""
        ...

    async def restore(self, partition: int, *, after: Standing, then: Standing, writes: Writes) -> Standing:
        """Do as `apply`, also on the way from nothing to a snapshot: until then others can neither load nor apply.

        A step without writes to where it begins only tells where the tables are.
        """
        ...

    async def empty(self, partition: int, *, after: Restoring) -> Standing:
        """Forget all of a partition at once iff its tables are still `after`; return how far they are then.

        Nobody but the caller may have put them at `after`: what is in them is looked for while they stay there.
        """
        ...

    async def clear(self, partition: int) -> None:
        """Forget all of a partition, however far it is."""
        ...

    async def peek(self, keys: Sequence[tuple[int, RowKey]]) -> list[bytes | None]:
        """Return rows of any partitions, of any moment: for hints and for people."""
        ...

    async def scored(
        self, partition: int, name: str, *, low: float, high: float, limit: int, newest_first: bool = False
    ) -> list[tuple[str, float]]:
        """Return members of a sorted set with scores from `low` to `high`, in order."""
        ...


class RawRecord(NamedTuple):
    """A record that a receiver has for a raw stream (`interactions.sms.v1`), or for the dead letters.

    The key (`tenant|address`) keeps one party's order.
    """

    stream: str
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()


class Spool(Protocol):
    """Records on disk that a broker has not taken yet, bounded, in the order in which they were added.

    Every method raises `RetryableError` where the disk does not take or give them.
    """

    async def add(self, partition: int, records: Sequence[RawRecord]) -> None:
        """Keep all of the records, all of them or none; return once they would survive a power cut.

        Raises:
            RetryableError: `spool_full` where they would pass the bound.
        """
        ...

    async def oldest(self, stream: str, partition: int, *, limit: int) -> Sequence[tuple[int, RawRecord]]:
        """Return the first records of a partition, each with the number that it is removed by."""
        ...

    async def remove(self, identities: Sequence[int]) -> None:
        """Forget records that the broker has."""
        ...

    async def lanes(self) -> Mapping[tuple[str, int], int]:
        """Return how many records there are, by stream and partition."""
        ...


class Memory(Protocol):
    """What receivers of one namespace remember together, for a while.

    Every method raises `RetryableError` where it does not answer.
    """

    async def keep(self, key: str, value: bytes, *, ttl_s: int) -> bytes:
        """Keep the value where the key has none; return what the key has then."""
        ...

    async def recall(self, key: str) -> bytes | None:
        """Return what the key has, None where it has nothing or its time is up."""
        ...


def shadow_of(partition: int) -> int:
    """Return the number under which `Tables` keep a partition's shadow, which no worker reads; of a shadow, its own."""
    return -2 - partition


@dataclass(frozen=True, slots=True)
class Names:
    """What some rows of a partition, and some members of its sorted sets, are called."""

    rows: Sequence[RowKey]
    members: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class LoadedScores:
    """Scores, in the order asked for, as they stood at one moment, with how far the tables were then."""

    applied: int
    scores: Sequence[float | None]


class Upkeep(Protocol):
    """What operators do to the tables as a whole; workers need none of it. Errors are those of `Tables`."""

    def names(self, partition: int) -> AsyncIterator[Names]:
        """Yield what a partition holds, a part at a time, each of its own moment.

        What is there from the first part to the last is named at least once. A single row is named by its bucket.
        """
        ...

    async def scores(self, partition: int, members: Sequence[tuple[str, str]]) -> LoadedScores:
        """Return the scores of members (set and member) together with `applied`, all of one moment."""
        ...

    async def suspend(self, partition: int, *, shadow_applied: int) -> None:
        """Let nobody load or apply until `flip`: `RetryableError`, for them. `peek` and `scored` go on as before.

        Raises:
            FatalError: its shadow is not there, or not so far: somebody else is at it; nothing has changed.
        """
        ...

    async def flip(self, partition: int) -> None:
        """Replace a suspended partition by its shadow, all at once; its `applied` is then the shadow's.

        Raises:
            FatalError: it is not suspended, or it has no shadow; nothing has changed.
        """
        ...


class Clock(Protocol):
    """The time of day."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch."""
        ...


WorkerGap = Literal[
    "polled",
    "rows_loaded",
    "decided",
    "outcomes_produced",
    "outcomes_acknowledged",
    "updates_acknowledged",
    "sends_acknowledged",
    "tables_sent",
    "tables_applied",
    "state_written",
    "intake_polled",
    "intake_read",
    "intake_produced",
    "intake_before_merge",
    "intake_appended",
    "committed",
    "takeover_begun",
    "tables_emptied",
    "tables_chunk_restored",
    "tables_restored",
    "takeover_told",
    "takeover_applied",
    "takeover_state_written",
    "taken_over",
]
"""Every gap between two effects of a worker: of a batch of assignment, of one of intake, of a takeover."""

CommandGap = Literal[
    "rebuild_folded",
    "rebuild_suspended",
    "rebuild_fenced",
    "rebuild_caught_up",
    "rebuild_flipped",
    "snapshot_chunk_written",
    "snapshot_written",
    "snapshot_tidied",
    "replay_begun",
    "replay_log_written",
    "replay_outcomes_written",
    "replay_updates_written",
    "replay_state_written",
    "replay_intake_placed",
    "updates_replay_begun",
    "updates_replayed",
    "updates_replay_kept",
    "redrive_claimed",
    "redrive_appended",
    "redrive_noted",
    "import_filled",
    "import_flipped",
]
"""Every gap between two effects of a command: of `state rebuild`, `snapshot` and `import`, of `replay log` and `updates`, of `dlq redrive`."""

Gap = Literal[WorkerGap, CommandGap]
"""Every gap. Docs: `telemetry.GAPS`."""


class Observer(Protocol):
    """Hears what stages and commands do, a call a batch or an effect, and decides nothing by it."""

    async def reached(self, gap: Gap, at: int | str) -> None:
        """Take note that everything before the gap is done; `at` is the partition, of intake with its stream.

        Raises: whatever a test lets happen there.
        """
        ...

    async def during(self, gap: Gap, effect: Awaitable[T]) -> T:
        """Return what the effect returns; the gap is between its request and its answer."""
        ...

    def decided(self, outcomes: Sequence[Outcome]) -> None:
        """Take note of a batch's outcomes, once they stand."""
        ...

    def looked_up(self, *, hits: int, misses: int) -> None:
        """Take note of rows that were wanted: in memory, and not."""
        ...

    def cached(self, partition: int, rows: int) -> None:
        """Take note of how many rows of the partition are in memory."""
        ...

    def taking_over(self) -> AbstractContextManager[None]:
        """Measure a takeover, which is what the context does."""
        ...

    def ticked(self, conversations: int) -> None:
        """Take note of a tick for so many conversations."""
        ...


class Stage(Protocol):
    """What a shell drives: it hands over each partition's records in order, a batch at a time.

    The shell calls `handle` for one partition again only after the last call has ended; calls for different
    partitions overlap. A `RetryableError` means: try again, from where `handle` says then.
    """

    @property
    def streams(self) -> Sequence[str]:
        """The streams to subscribe."""
        ...

    async def handle(self, stream: str, partition: int, records: Sequence[Received]) -> int:
        """Take the records and return the offset to go on from: past the last one, or wherever it has to be."""
        ...

    async def committed(self, stream: str, partition: int) -> int | None:
        """Return where the stage itself knows to start, None where the shell's own committed offset does."""
        ...

    def progress(self, stream: str, partition: int) -> int:
        """Return a number that changes whenever a long call for the partition, such as a takeover, gets on."""
        ...

    def forget(self, stream: str, partition: int) -> None:
        """The partition is somebody else's from now on: what is under way for it is dead."""
        ...
