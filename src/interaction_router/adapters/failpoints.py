"""Lets the process die, hang or fail in a named gap between two effects: for tests of the program itself."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, TypeVar, assert_never

from interaction_router.domain.errors import RetryableError
from interaction_router.domain.events import Outcome
from interaction_router.ports import Gap, Observer
from interaction_router.settings.failpoints import Failpoint

T = TypeVar("T")

UNDER_WAY_S: Final = 0.005
"""How long an effect is let run before something happens in the gap between its request and its answer."""


def _seen(ended: "asyncio.Future[T]") -> None:
    """Look at what became of an effect that nobody may wait for any more, or asyncio would complain."""
    if not ended.cancelled():
        ended.exception()


def kill_this_process() -> None:
    """End at once, as `kill -9` does: nothing is flushed, closed or said."""
    os.kill(os.getpid(), signal.SIGKILL)


class Failpoints:
    """`ports.Observer` before another one: does in some gaps what is asked for, and passes everything on."""

    def __init__(self, points: Sequence[Failpoint], observer: Observer, *, die: Callable[[], None]) -> None:
        """`die` is called where a point says so; it does not return in earnest."""
        self._points = points
        self._observer = observer
        self._die = die
        self._times: Counter[Gap] = Counter()

    async def reached(self, gap: Gap, at: int | str) -> None:
        """Do what is asked for there, once the other has taken note.

        Raises:
            RetryableError: where the point says `fail`.
        """
        await self._observer.reached(gap, at)
        point = self._due(gap)
        if point is not None:
            await self._act(point)

    async def during(self, gap: Gap, effect: Awaitable[T]) -> T:
        """Let the effect happen, or begin, and something happen before its answer is read."""
        point = self._due(gap)
        if point is None:
            return await self._observer.during(gap, effect)
        under_way = asyncio.ensure_future(effect)
        under_way.add_done_callback(_seen)
        await asyncio.wait({under_way}, timeout=UNDER_WAY_S)
        await self._act(point)
        return await under_way

    def _due(self, gap: Gap) -> Failpoint | None:
        self._times[gap] += 1
        return next((point for point in self._points if (point.gap, point.nth) == (gap, self._times[gap])), None)

    async def _act(self, point: Failpoint) -> None:
        match point.act:
            case "die":
                self._die()
            case "hang":
                await asyncio.Event().wait()
            case "fail":
                raise RetryableError("failpoint", f"A test lets {point.gap} fail.")
            case _:
                assert_never(point.act)

    def decided(self, outcomes: Sequence[Outcome]) -> None:
        """Pass it on."""
        self._observer.decided(outcomes)

    def looked_up(self, *, hits: int, misses: int) -> None:
        """Pass it on."""
        self._observer.looked_up(hits=hits, misses=misses)

    def cached(self, partition: int, rows: int) -> None:
        """Pass it on."""
        self._observer.cached(partition, rows)

    def taking_over(self) -> AbstractContextManager[None]:
        """Pass it on."""
        return self._observer.taking_over()

    def ticked(self, conversations: int) -> None:
        """Pass it on."""
        self._observer.ticked(conversations)
