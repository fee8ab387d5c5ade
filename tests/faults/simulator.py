"""A router's whole life in one event loop: workers that die, sleep and wake late, over one log and one set of tables.

Everything is drawn from one seed, nothing waits for a clock, so that a seed is a story that can be told again.
"""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

import orjson
import pytest

from interaction_router.adapters.embedded import log as embedded_log
from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.adapters.embedded.upkeep import EmbeddedUpkeep
from interaction_router.application import assignment, outcomes, snapshots
from interaction_router.application.intake import (
    AGENTS,
    COMMANDS,
    CONTACTS,
    Agents,
    Hints,
    IntakeSettings,
    IntakeStage,
    RawReading,
)
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.snapshots import SNAPSHOTS, Snapshots
from interaction_router.application.snapshotting import take_snapshot
from interaction_router.application.stages import AssignmentStage
from interaction_router.application.views import DEAD_LETTERS, LOG, STATE, UPDATES, Views
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.domain.rows import Policy
from interaction_router.ports import Outgoing
from tests.checker import Difference, check
from tests.faults.faulty import CLIMATES, Befallen, FaultyLog, FaultyTables, Outside, Weather
from tests.faults.traffic import Traffic
from tests.faults.versions import RUNNING, VERSIONS, Reading, decide_by_version

PARTITIONS = 3
CHANNELS = ("sms", "voice", "email")
SETTINGS = IntakeSettings(namespace="router", channels=CHANNELS, default_region="ZA")
POLICY = Policy(idle_close_ms={"sms": 60_000, "email": 90_000}, closed_retention_ms=120_000)
START_MS = 1_790_000_000_000
_TABLES = {"applied": 2, "entry": 4, "score": 4}
_TURNS_TO_REST = 400
STEPS = 500
PART_BYTES = (1 << 20, 1 << 20, 700)
"""Outcomes are whole, or most of them in parts."""
CHUNK_BYTES = 1_000
"""A snapshot has many chunks."""
_ACTIONS = {
    "feed": 8,
    "take": 78,
    "wake": 10,
    "revoke": 3,
    "kill": 2,
    "tick": 3,
    "save_dump": 2,
    "load_dump": 1,
    "wipe": 2,
    "snapshot": 4,
    "fill": 1,
    "free": 2,
}
"""What can happen, and how often."""
DISRUPTIONS = frozenset(
    {"wake", "revoke", "kill", "tick", "save_dump", "load_dump", "wipe", "snapshot", "fill", "free"}
)


class Part(NamedTuple):
    """What of a story is told: only these faults, by worker and draw, and all steps but those of these numbers."""

    faults: frozenset[tuple[int, int]] | None = None
    without: frozenset[int] = frozenset()


WHOLE = Part()


@dataclass(slots=True)
class ManualClock:
    """A clock that a story moves."""

    ms: int = START_MS

    def now_ms(self) -> int:
        return self.ms


@dataclass(slots=True)
class Drawn:
    """Identifiers that are the same whenever a story is told."""

    random: random.Random

    def uuid4(self) -> uuid.UUID:
        return uuid.UUID(int=self.random.getrandbits(128))


class Lane(NamedTuple):
    """A partition of a stream, as a shell hands it over."""

    stream: str
    partition: int


@dataclass(slots=True)
class Worker:
    """One process: its stages, its connections, and what it has under way."""

    weather: Weather
    version: int
    log: FaultyLog
    intake: IntakeStage
    assignment: AssignmentStage
    under_way: dict[Lane, asyncio.Task[None]] = field(default_factory=dict)


class Simulation:
    """The story of one seed."""

    def __init__(self, seed: int, *, steps: int = STEPS, records: int = 90, part: Part = WHOLE) -> None:
        """Of a part, everything is drawn as if the rest were there too."""
        self._seed = seed
        self._random = random.Random(seed)
        self._climate = self._random.choice(CLIMATES)
        self._steps = steps
        self._left = records
        self._part = part
        self._clock = ManualClock()
        self._outside = Outside()
        self._traffic = Traffic(random.Random(seed))
        self._workers: list[Worker] = []
        self._started = 0
        self._committed: dict[Lane, int] = {}
        self._dump: dict[str, list[tuple[object, ...]]] = {name: [] for name in _TABLES}
        self._heard: dict[str, None] = {}
        self._heard_to = [0] * PARTITIONS
        self.befell: list[Befallen] = []
        self.done: list[tuple[int, str]] = []
        self.fatal: list[BaseException] = []

    async def run(self) -> Sequence[Difference]:
        """Live through the story, let the weather calm down, and return what is wrong then."""
        reading = Reading()
        with EmbeddedDatabase() as database, pytest.MonkeyPatch.context() as patch:
            patch.setattr(embedded_log, "uuid", Drawn(random.Random(self._seed)))
            patch.setattr(assignment, "decide", decide_by_version)
            patch.setattr(outcomes, "PART_BYTES", self._random.choice(PART_BYTES))
            patch.setattr(outcomes, "decode_outcome", reading.decode)
            patch.setattr(snapshots, "CHUNK_BYTES", CHUNK_BYTES)
            self._database = database
            self.log, self.tables = EmbeddedLog(database, self._clock), EmbeddedTables(database)
            raw = [f"interactions.{channel}.v1" for channel in CHANNELS]
            for stream in (*raw, CONTACTS, AGENTS, COMMANDS, LOG, OUTCOMES, UPDATES, STATE, DEAD_LETTERS):
                await self.log.create(stream, 1 if stream in {*raw, COMMANDS} else PARTITIONS)
            await self.log.create(SNAPSHOTS, PARTITIONS, compacted=True)
            for _ in range(3):
                self._workers.append(await self._start())
            for step in range(self._steps):
                await self._step(step)
            await self._calm_down()
            return await check(self.log, self.tables, SETTINGS)

    async def _start(self) -> Worker:
        drawn = random.Random(f"{self._seed}/worker/{self._started}")
        weather = Weather(self._started, drawn, self._climate, self._outside, self._part.faults)
        self._started += 1
        log, tables = FaultyLog(self.log, weather), FaultyTables(self.tables, weather)
        lineage = f"{await log.lineage(LOG)}/{await log.lineage(OUTCOMES)}"
        raw = (f"interactions.{channel}.v1" for channel in CHANNELS)
        lineages = {stream: await log.lineage(stream) for stream in (*raw, CONTACTS, COMMANDS)}
        intake = IntakeStage(
            log,
            RawReading(Agents(self.log), SETTINGS, lineages=lineages),
            Hints(tables, self._clock, partitions=PARTITIONS),
            partitions=PARTITIONS,
        )
        views = Views(namespace="router", partitions=PARTITIONS, lineage=lineage)
        stage = AssignmentStage(log, tables, self._clock, views, policy=POLICY, cache_rows=20)
        return Worker(weather, drawn.randrange(VERSIONS), log, intake, stage)

    async def _step(self, number: int) -> None:
        """Let one thing happen, and whatever it lets happen."""
        self._random = random.Random(f"{self._seed}/step/{number}")
        name = self._random.choices(list(_ACTIONS), list(_ACTIONS.values()))[0]
        self._clock.ms += self._random.choice((0, 1, 50, 3_000))
        if number not in self._part.without:
            self.done.append((number, name))
            await getattr(self, f"_{name}")()
        for _ in range(self._random.choice((1, 3, 8, 30))):
            await asyncio.sleep(0)

    async def _feed(self) -> None:
        for _ in range(min(self._left, self._random.randrange(1, 8))):
            self._left -= 1
            made = self._traffic.next(self._clock.ms, await self._conversations())
            partition = made.key[-1] % await self.log.partitions(made.stream)
            await self.log.append(made.stream, partition, [Outgoing(made.key, made.value)])

    async def _conversations(self) -> list[str]:
        """Return the conversations that subscribers have heard of by now."""
        for partition in range(PARTITIONS):
            for record in await self.log.read(UPDATES, partition, self._heard_to[partition], limit=10_000):
                self._heard_to[partition] = record.offset + 1
                named = orjson.loads(record.value or b"{}").get("conversation_id")
                if named is not None:
                    self._heard[named] = None
        return list(self._heard)

    async def _take(self) -> None:
        worker = self._random.choice(self._workers)
        streams = (*worker.intake.streams, LOG, LOG, LOG, LOG, LOG)
        stream = self._random.choice(streams)
        self._begin(worker, Lane(stream, self._random.randrange(await self.log.partitions(stream))))

    def _begin(self, worker: Worker, lane: Lane) -> None:
        running = worker.under_way.get(lane)
        if running is None or running.done():
            worker.under_way[lane] = asyncio.create_task(self._hand_over(worker, lane, self._random.choice((1, 3, 20))))

    async def _hand_over(self, worker: Worker, lane: Lane, limit: int) -> None:
        """Do what a shell does: read on, hand over, commit."""
        RUNNING.set(worker.version)
        try:
            if lane.stream == LOG:
                start = await worker.assignment.committed(*lane)
                records = await self.log.read(*lane, start or 0, limit=limit)
                if records:
                    await worker.assignment.handle(*lane, records)
                return
            records = await self.log.read(*lane, self._committed.get(lane, 0), limit=limit)
            if records:
                self._committed[lane] = await worker.intake.handle(*lane, records)
        except RetryableError:
            return
        except Exception as error:  # noqa: BLE001 - whatever a stage raises but this is what the story is about
            self.fatal.append(error)

    async def _wake(self) -> None:
        self._random.choice(self._workers).weather.wake()

    async def _revoke(self) -> None:
        worker = self._random.choice(self._workers)
        worker.assignment.forget(LOG, self._random.randrange(PARTITIONS))

    async def _kill(self) -> None:
        """Kill a process; but for one whose late write to the state topic only itself, or a verification, can mend."""
        worker = self._random.choice(self._workers)
        if worker.log.states.isdisjoint(await self._gone_back()):
            await self._bury(worker)
            self._workers.append(await self._start())

    async def _gone_back(self) -> set[tuple[int, int]]:
        """Return where the last record of a conversation in the state topic is older than one before it."""
        gone_back: set[tuple[int, int]] = set()
        for partition in range(PARTITIONS):
            newest: dict[bytes | None, float] = {}
            last: dict[bytes | None, tuple[int, bool]] = {}
            for record in await self.log.read(STATE, partition, 0, limit=100_000):
                seq = inf if record.value is None else orjson.loads(record.value)["seq"]
                newest[record.key] = max(seq, newest.get(record.key, seq))
                last[record.key] = record.offset, seq < newest[record.key]
            gone_back.update((partition, offset) for offset, older in last.values() if older)
        return gone_back

    async def _bury(self, worker: Worker) -> None:
        self._workers.remove(worker)
        self._sum_up(worker)
        for task in worker.under_way.values():
            task.cancel()
        await asyncio.gather(*worker.under_way.values(), return_exceptions=True)

    def _sum_up(self, worker: Worker) -> None:
        self.befell += worker.weather.befell

    def counted(self) -> Counter[str]:
        """Return how often what befell the workers."""
        faults = Counter(f"{each.call}: {each.fault}" for each in self.befell)
        return faults + Counter(name for _, name in self.done if name in DISRUPTIONS)

    async def _tick(self) -> None:
        worker = self._random.choice(self._workers)
        lane = Lane("tick", 0)
        running = worker.under_way.get(lane)
        if running is None or running.done():
            worker.under_way[lane] = asyncio.create_task(self._timers(worker))

    async def _timers(self, worker: Worker) -> None:
        try:
            await worker.assignment.tick()
            await worker.assignment.mend_state()
        except RetryableError:
            return

    async def _save_dump(self) -> None:
        with self._database.reading() as connection:
            self._dump = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in _TABLES}  # noqa: S608

    async def _load_dump(self) -> None:
        with self._database.writing() as connection:
            for name, columns in _TABLES.items():
                connection.execute(f"DELETE FROM {name}")  # noqa: S608
                marks = ", ".join("?" * columns)
                connection.executemany(f"INSERT INTO {name} VALUES ({marks})", self._dump[name])  # noqa: S608

    async def _snapshot(self) -> None:
        """Let an operator take a snapshot, on a machine of a worker, and with its connections."""
        worker = self._random.choice(self._workers)
        lane = Lane("snapshot", 0)
        running = worker.under_way.get(lane)
        if running is None or running.done():
            worker.under_way[lane] = asyncio.create_task(self._taking(worker, self._random.randrange(PARTITIONS)))

    async def _taking(self, worker: Worker, partition: int) -> None:
        RUNNING.set(worker.version)
        lineage = f"{await self.log.lineage(LOG)}/{await self.log.lineage(OUTCOMES)}"
        live = self.tables, EmbeddedUpkeep(self._database)
        with EmbeddedDatabase() as database:
            scratch = EmbeddedTables(database), EmbeddedUpkeep(database)
            try:
                await take_snapshot(
                    worker.log, Snapshots(worker.log, lineage=lineage), partition, live=live, scratch=scratch
                )
            except RetryableError:
                return
            except FatalError as error:
                self.fatal.append(error)

    async def _wipe(self) -> None:
        self._dump = {name: [] for name in _TABLES}
        await self._load_dump()

    async def _fill(self) -> None:
        self._outside.full = True

    async def _free(self) -> None:
        self._outside.full = False

    async def _calm_down(self) -> None:
        """Wake what sleeps, in any order, while nothing else goes wrong; then a fresh worker does what is left."""
        while self._left:
            await self._feed()
        self._outside.full = False
        for worker in self._workers:
            worker.weather.stormy = False
        while sleepers := [worker for worker in self._workers if worker.weather.sleepers]:
            self._random.choice(sleepers).weather.wake()
            for _ in range(self._random.choice((1, 5, 50))):
                await asyncio.sleep(0)
        for worker in self._workers:
            await asyncio.gather(*worker.under_way.values())
            for partition in range(PARTITIONS):
                worker.assignment.forget(LOG, partition)
        fresh = await self._start()
        fresh.weather.stormy = False
        for _ in range(_TURNS_TO_REST):
            if not await self._drain(fresh):
                break
        for worker in (*self._workers, fresh):
            await worker.assignment.mend_state()
            self._sum_up(worker)

    async def _drain(self, worker: Worker) -> bool:
        """Hand over what there is of every lane; return whether there was anything."""
        before = await self._ends()
        for stream in worker.intake.streams:
            for partition in range(await self.log.partitions(stream)):
                lane = Lane(stream, partition)
                while self._committed.get(lane, 0) < (await self.log.bounds(*lane)).end:
                    await self._hand_over(worker, lane, 50)
                    if self.fatal:
                        return False
        for partition in range(PARTITIONS):
            await self._hand_over(worker, Lane(LOG, partition), 50)
        await worker.assignment.tick()
        behind = [
            partition
            for partition in range(PARTITIONS)
            if (await worker.assignment.committed(LOG, partition) or 0) < (await self.log.bounds(LOG, partition)).end
        ]
        return not self.fatal and (bool(behind) or before != await self._ends())

    async def _ends(self) -> list[int]:
        return [(await self.log.bounds(LOG, partition)).end for partition in range(PARTITIONS)]
