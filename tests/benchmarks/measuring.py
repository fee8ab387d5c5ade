"""What a stretch of work costs: records, time, CPU of processes and their memory, read from `/proc` (Linux)."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.1
_STALLED_S = 90.0
_WARM_SHARE = 0.05
"""This share of the records is left out at the beginning: imports, connections and the first fetches."""

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM = 11, 12
"""Where the ticks stand in `/proc/PID/stat`, counted behind the name in brackets, which may hold blanks."""
_IDLE, _STEAL_END = slice(3, 5), 8
"""Of the machine's line in `/proc/stat`: idle and waiting for disks; the guests behind it are in `user` already."""


class StalledError(Exception):
    """What was measured stands still, or has ended: the message says how far it came."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What `records` have cost; the times are CPU, but for `seconds`, which passed on the clock."""

    records: int
    seconds: float
    worker_s: float
    broker_s: float
    redis_s: float
    peak_rss_mib: float
    others_share: float
    """How much of the machine was busy with what is none of these processes, from 0 to 1: compare only quiet rows."""

    @property
    def per_second(self) -> float:
        return self.records / self.seconds

    @property
    def worker_us(self) -> float:
        """CPU of the measured processes a record, user and system, all threads."""
        return self.worker_s / self.records * 1e6

    @property
    def broker_us(self) -> float:
        return self.broker_s / self.records * 1e6

    @property
    def redis_us(self) -> float:
        return self.redis_s / self.records * 1e6

    def __str__(self) -> str:
        return f"{self.per_second:,.0f}/s, {self.worker_us:.1f} µs CPU a record, {self.peak_rss_mib:.0f} MiB, others {self.others_share:.0%}"


@dataclass(frozen=True, slots=True)
class Subjects:
    """The processes whose cost is taken."""

    workers: Sequence[int]
    broker: int
    redis: int


@dataclass(frozen=True, slots=True)
class _Moment:
    at_s: float
    done: int
    worker_s: float
    broker_s: float
    redis_s: float
    machine_s: float

    @property
    def ours_s(self) -> float:
        return self.worker_s + self.broker_s + self.redis_s


async def drained(
    subjects: Subjects,
    progress: Callable[[], Awaitable[int]],
    committed: Callable[[], Awaitable[bool]],
    target: int,
    *,
    tell: Callable[[int], None],
) -> Cost:
    """Wait until `progress` reaches `target`, and return what it cost from the end of the warm-up on.

    The clock stops there; CPU counts until the group's offsets are `committed` too, since one of the peers puts off the
    flush of its state until then. `tell` hears how far it is. Raises `StalledError` where nothing moves.
    """
    begin = await progress()
    warm: _Moment | None = None
    moved_s, last = time.monotonic(), begin
    while True:
        now = _moment(subjects, await progress())
        tell(now.done)
        if warm is None and now.done - begin >= (target - begin) * _WARM_SHARE:
            warm = now
        if warm is not None and now.done >= target:
            break
        if now.done != last:
            moved_s, last = now.at_s, now.done
        if now.at_s - moved_s > _STALLED_S:
            raise StalledError(f"{now.done} of {target} records, and no more for {_STALLED_S:.0f} s")
        await asyncio.sleep(_POLL_S)
    if now.done == warm.done:
        raise StalledError(f"all {target} records came between two looks: too few to measure")
    while not await committed():
        if time.monotonic() - now.at_s > _STALLED_S:
            raise StalledError(f"all {target} records done, and not committed after {_STALLED_S:.0f} s")
        await asyncio.sleep(_POLL_S)
    flushed = _moment(subjects, now.done)
    others_s = flushed.machine_s - flushed.ours_s - (warm.machine_s - warm.ours_s)
    return Cost(
        records=now.done - warm.done,
        seconds=now.at_s - warm.at_s,
        worker_s=flushed.worker_s - warm.worker_s,
        broker_s=flushed.broker_s - warm.broker_s,
        redis_s=flushed.redis_s - warm.redis_s,
        peak_rss_mib=sum(map(peak_rss_mib, subjects.workers)),
        others_share=max(0.0, others_s) / (flushed.at_s - warm.at_s) / (os.cpu_count() or 1),
    )


def cpu_s(pid: int) -> float:
    """Return the CPU that a process has used in all its threads, to a hundredth of a second."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        raise StalledError(f"process {pid} has ended") from None
    fields = stat.rpartition(")")[2].split()
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS_A_SECOND


def peak_rss_mib(pid: int) -> float:
    """Return the most memory that a process has had at a time."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) / 1024


def _moment(subjects: Subjects, done: int) -> _Moment:
    worker_s = sum(map(cpu_s, subjects.workers))
    servers_s = (cpu_s(subjects.broker), cpu_s(subjects.redis))
    return _Moment(time.monotonic(), done, worker_s, *servers_s, _machine_s())


def _machine_s() -> float:
    """Return the CPU that all processes have used since the machine started; what a host stole counts too."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(ticks[:_STEAL_END]) - sum(ticks[_IDLE])) / _TICKS_A_SECOND
