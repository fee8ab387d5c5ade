"""The two ports with everything going wrong that can, at the draw of a seeded die."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple, TypeVar

from interaction_router.application.views import STATE
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Bounds, Loaded, Log, Outgoing, Received, Restoring, Standing, Tables, Writes

T = TypeVar("T")

Fault = Literal["none", "before", "after", "torn", "twice", "late"]
FAULTS: tuple[Fault, ...] = ("before", "after", "torn", "twice", "late")
CLIMATES: tuple[tuple[int, ...], ...] = (
    (2, 3, 2, 1, 3),
    (1, 1, 1, 1, 7),
    (1, 1, 2, 1, 12),
    (1, 4, 3, 2, 0),
)
"""How often of 100 calls what goes wrong: mixed, sleepy, very sleepy, and with connections that break."""

_SPARED = 0.7
_STATE_LATER = 12
"""Nothing comes behind a write to the state topic that would tell its writer that it was late."""
_YIELDS = (0, 0, 0, 1, 2)


class Befallen(NamedTuple):
    """A fault of a story: of which worker, and its how manieth draw, by which the story can be told with or without it."""

    worker: int
    draw: int
    call: str
    fault: Fault


@dataclass(slots=True)
class Outside:
    """What befalls all workers alike."""

    full: bool = False
    """The tables take nothing more."""


@dataclass(slots=True)
class Weather:
    """What befalls one worker's calls: `sleepers` are calls that wait to be woken, long after somebody else went on."""

    worker: int
    random: Random
    climate: tuple[int, ...]
    outside: Outside
    only: AbstractSet[tuple[int, int]] | None = None
    stormy: bool = True
    sleepers: list[asyncio.Event] = field(default_factory=list)
    befell: list[Befallen] = field(default_factory=list)
    _draws: int = 0

    def draw(self, call: str, *, reads: bool = False, later: int = 0) -> Fault:
        """Draw what befalls this call; what only reads is spared mostly, or nobody would come to write.

        `later`: of 100 calls, how many more are late.
        """
        drawn, hits = self.random.random() * 100, self.random.random() >= _SPARED
        self._draws += 1
        spared = self.only is not None and (self.worker, self._draws) not in self.only
        if not self.stormy or (reads and not hits) or spared:
            return "none"
        for fault, share in zip(FAULTS, self.climate, strict=True):
            drawn -= share + (later if fault == "late" else 0)
            if drawn < 0:
                self.befell.append(Befallen(self.worker, self._draws, call, fault))
                return fault
        return "none"

    async def linger(self) -> None:
        """Let the others go on between any two steps, sometimes."""
        if self.stormy:
            for _ in range(self.random.choice(_YIELDS)):
                await asyncio.sleep(0)

    async def sleep(self) -> None:
        """Wait until somebody wakes this call."""
        bell = asyncio.Event()
        self.sleepers.append(bell)
        await bell.wait()

    def wake(self) -> None:
        """Wake one of those that sleep."""
        if self.sleepers:
            self.sleepers.pop(self.random.randrange(len(self.sleepers))).set()


def _lost(what: str) -> RetryableError:
    return RetryableError("simulated", f"The {what} was lost.")


class FaultyLog:
    """`ports.Log` whose appends may not be done, be done and not acknowledged, be done in part, or be done late."""

    def __init__(self, log: Log, weather: Weather) -> None:
        self._log = log
        self._weather = weather
        self.states: set[tuple[int, int]] = set()
        """Partition and offset of each record that it has written to the state topic."""

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        await self._weather.linger()
        later = _STATE_LATER if stream == STATE else 0
        fault = self._weather.draw(f"append {stream.partition('.v')[0]}", later=later)
        if fault == "before":
            raise _lost("request")
        if fault == "torn":
            await self._append(stream, partition, records[: self._weather.random.randrange(len(records) + 1)])
            raise _lost("connection")
        if fault == "late":
            await self._weather.sleep()
        offsets = await self._append(stream, partition, records)
        if fault == "twice":
            again = await self._append(stream, partition, records)
            offsets = self._weather.random.choice((offsets, again))
        await self._weather.linger()
        if fault == "after":
            raise _lost("acknowledgement")
        return offsets

    async def _append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        offsets = await self._log.append(stream, partition, records)
        if stream == STATE:
            self.states.update((partition, offset) for offset in offsets)
        return offsets

    async def read(self, stream: str, partition: int, start: int, *, limit: int = 1000) -> Sequence[Received]:
        await self._weather.linger()
        await self._answer("read")
        return await self._log.read(stream, partition, start, limit=limit)

    async def bounds(self, stream: str, partition: int) -> Bounds:
        bounds = await self._log.bounds(stream, partition)
        await self._answer("bounds")  # late: what is true when it is asked, not when it is heard
        return bounds

    async def _answer(self, call: str) -> None:
        fault = self._weather.draw(call, reads=True)
        if fault in {"before", "after"}:
            raise _lost("answer")
        if fault == "late":
            await self._weather.sleep()

    async def partitions(self, stream: str) -> int:
        return await self._log.partitions(stream)

    async def lineage(self, stream: str) -> str:
        return await self._log.lineage(stream)

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        return await self._log.offset_at(stream, partition, timestamp_ms)


class FaultyTables:
    """`ports.Tables` whose calls may not be done, be done and not answered, or be done late; a script is never torn."""

    def __init__(self, tables: Tables, weather: Weather) -> None:
        self._tables = tables
        self._weather = weather

    async def load(self, partition: int, keys: Sequence[RowKey], buckets: Sequence[str] = ()) -> Loaded:
        await self._before("load")
        loaded = await self._tables.load(partition, keys, buckets)
        await self._weather.linger()
        if self._weather.draw("answer of load", reads=True) == "late":
            await self._weather.sleep()
        return loaded

    async def apply(self, partition: int, *, after: int, applied: int, writes: Writes) -> int:
        return await self._write(
            "apply", lambda: self._tables.apply(partition, after=after, applied=applied, writes=writes)
        )

    async def restore(self, partition: int, *, after: Standing, then: Standing, writes: Writes) -> Standing:
        return await self._write(
            "restore", lambda: self._tables.restore(partition, after=after, then=then, writes=writes)
        )

    async def empty(self, partition: int, *, after: Restoring) -> Standing:
        return await self._write("empty", lambda: self._tables.empty(partition, after=after))

    async def _write(self, call: str, write: Callable[[], Awaitable[T]]) -> T:
        fault = await self._before(call, reads=False)
        if self._weather.outside.full:
            raise RetryableError("simulated", "The tables are full.")
        stands = await write()
        if fault == "twice":  # a client that tries again by itself
            stands = await write()
        await self._weather.linger()
        if fault == "after":
            raise _lost("answer")
        return stands

    async def _before(self, call: str, *, reads: bool = True) -> Fault:
        await self._weather.linger()
        fault = self._weather.draw(call, reads=reads)
        if fault in {"before", "torn"}:
            raise _lost("request")
        if fault == "late":
            await self._weather.sleep()
        return fault

    async def clear(self, partition: int) -> None:
        await self._tables.clear(partition)

    async def peek(self, keys: Sequence[tuple[int, RowKey]]) -> list[bytes | None]:
        await self._before("peek")
        return await self._tables.peek(keys)

    async def scored(
        self, partition: int, name: str, *, low: float, high: float, limit: int, newest_first: bool = False
    ) -> list[tuple[str, float]]:
        await self._before("scored")
        return await self._tables.scored(partition, name, low=low, high=high, limit=limit, newest_first=newest_first)
