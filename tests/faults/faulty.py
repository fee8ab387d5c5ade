"""The two ports with everything going wrong that can, at the draw of a seeded die."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from interaction_router.application.views import STATE
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Bounds, Loaded, Log, Outgoing, Received, Tables, Writes

Fault = Literal["none", "before", "after", "torn", "late"]
CLIMATES: tuple[dict[Fault, int], ...] = (
    {"none": 90, "before": 2, "after": 3, "torn": 2, "late": 3},
    {"none": 90, "before": 1, "after": 1, "torn": 1, "late": 7},
    {"none": 84, "before": 1, "after": 1, "torn": 2, "late": 12},
    {"none": 92, "before": 1, "after": 4, "torn": 3, "late": 0},
)
"""How often what goes wrong: mixed, sleepy, very sleepy, and with connections that break."""


_SPARED = 0.7


@dataclass(slots=True)
class Weather:
    """What befalls one worker's calls: `sleepers` are calls that wait to be woken, long after somebody else went on."""

    random: Random
    climate: dict[Fault, int]
    stormy: bool = True
    sleepers: list[asyncio.Event] = field(default_factory=list)
    befell: Counter[str] = field(default_factory=Counter)

    def draw(self, call: str, *, reads: bool = False) -> Fault:
        """Draw what befalls this call; what only reads is spared mostly, or nobody would come to write."""
        if not self.stormy or (reads and self.random.random() < _SPARED):
            return "none"
        fault = self.random.choices(list(self.climate), list(self.climate.values()))[0]
        self.befell[f"{call} {fault}"] += 1
        return fault

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
        fault = self._weather.draw(f"append {stream.partition('.v')[0]}")
        if fault == "before":
            raise _lost("request")
        if fault == "torn":
            await self._append(stream, partition, records[: self._weather.random.randrange(len(records) + 1)])
            raise _lost("connection")
        if fault == "late":
            await self._weather.sleep()
        offsets = await self._append(stream, partition, records)
        if fault == "after":
            raise _lost("acknowledgement")
        return offsets

    async def _append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        offsets = await self._log.append(stream, partition, records)
        if stream == STATE:
            self.states.update((partition, offset) for offset in offsets)
        return offsets

    async def read(self, stream: str, partition: int, start: int, *, limit: int = 1000) -> Sequence[Received]:
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
        if self._weather.draw("answer of load", reads=True) == "late":
            await self._weather.sleep()
        return loaded

    async def apply(self, partition: int, *, after: int, applied: int, writes: Writes) -> int:
        fault = await self._before("apply")
        stands = await self._tables.apply(partition, after=after, applied=applied, writes=writes)
        if fault == "after":
            raise _lost("answer")
        return stands

    async def _before(self, call: str) -> Fault:
        fault = self._weather.draw(call, reads=call != "apply")
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
