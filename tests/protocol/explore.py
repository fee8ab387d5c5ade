"""Explicit-state exploration: everything that can happen, breadth first, so that what is found is found by its shortest way."""

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

State = TypeVar("State", bound=Hashable)
Label = TypeVar("Label")

_LOOK_AGAIN = 256
"""So many states are looked at between two looks at the clock."""


class Model(Protocol[State, Label]):
    """What can happen, state by state, and what must never be."""

    def start(self) -> State:
        """Return the state that all begins with."""
        ...

    def steps(self, state: State) -> Iterable[tuple[Label, State, str | None]]:
        """Yield what can happen next: its name, the state behind it, and what is wrong about it, None for nothing."""
        ...

    def wrong(self, state: State, way: Callable[[], list[Label]]) -> str | None:
        """Return what is wrong with a state; `way` tells the shortest way to it."""
        ...

    def tell(self, label: Label) -> str:
        """Return a step in words."""
        ...


@dataclass(frozen=True, slots=True)
class Explored:
    """What an exploration has seen: `whole` if that was everything, `hole` the shortest way to what is wrong."""

    states: int
    depth: int
    seconds: float
    whole: bool
    hole: tuple[str, ...] | None

    @property
    def verdict(self) -> str:
        """Return it in a word or two."""
        if self.hole is not None:
            return "HOLE"
        return "no hole" if self.whole else "no hole (limit)"


class _Exploration(Generic[State, Label]):
    """One breadth-first search, and the way to each of its states."""

    def __init__(self, model: Model[State, Label], *, most_states: int, seconds: float) -> None:
        self._model = model
        self._most = most_states
        self._began = time.monotonic()
        self._until = self._began + seconds
        start = model.start()
        self._from: dict[State, tuple[State, Label] | None] = {start: None}
        self._next: deque[tuple[State, int]] = deque([(start, 0)])
        self._depth = 0

    def run(self) -> Explored:
        """Explore until there is a hole, a limit, or nothing more."""
        hole = self._look(next(iter(self._from)))
        looked_at = 0
        while self._next and hole is None:
            looked_at += 1
            if looked_at % _LOOK_AGAIN == 0 and self._over():
                return self._explored(whole=False)
            hole = self._go_on(*self._next.popleft())
        if hole is not None:
            return self._explored(whole=False, hole=hole)
        return self._explored(whole=True, hole=self._endless())

    def _go_on(self, state: State, depth: int) -> tuple[str, ...] | None:
        for label, after, wrong in self._model.steps(state):
            if wrong is not None:
                return self._told([*self._way(state), label], wrong)
            if after in self._from:
                continue
            self._from[after] = (state, label)
            self._depth = depth + 1
            self._next.append((after, depth + 1))
            hole = self._look(after)
            if hole is not None:
                return hole
        return None

    def _look(self, state: State) -> tuple[str, ...] | None:
        wrong = self._model.wrong(state, lambda: self._way(state))
        return None if wrong is None else self._told(self._way(state), wrong)

    def _way(self, state: State) -> list[Label]:
        way: list[Label] = []
        while (before := self._from[state]) is not None:
            state, label = before
            way.append(label)
        return way[::-1]

    def _told(self, way: list[Label], wrong: str) -> tuple[str, ...]:
        return (*map(self._model.tell, way), f"=> {wrong}")

    def _over(self) -> bool:
        return len(self._from) > self._most or time.monotonic() > self._until

    def _explored(self, *, whole: bool, hole: tuple[str, ...] | None = None) -> Explored:
        return Explored(len(self._from), self._depth, time.monotonic() - self._began, whole, hole)

    def _endless(self) -> tuple[str, ...] | None:
        """Return the way to a state from which nothing leads to rest."""
        before: dict[State, list[State]] = {state: [] for state in self._from}
        at_rest = set(self._from)
        for state in self._from:
            for _, after, _ in self._model.steps(state):
                before[after].append(state)
                at_rest.discard(state)
        ended, waiting = at_rest, list(at_rest)
        while waiting:
            for state in before[waiting.pop()]:
                if state not in ended:
                    ended.add(state)
                    waiting.append(state)
        first = next((state for state in self._from if state not in ended), None)
        return None if first is None else self._told(self._way(first), "it never comes to rest from here")


def explore(model: Model[State, Label], *, most_states: int, seconds: float) -> Explored:
    """Look at every state of the model, or at as many as the limits allow.

    Where all were looked at, it is also seen that rest can be reached from each: what goes round does so only as long as
    something else is kept waiting.
    """
    return _Exploration(model, most_states=most_states, seconds=seconds).run()
