"""How far a long job is: on a terminal one line that changes, elsewhere a line now and then."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TextIO

_TERMINAL_EVERY_S: Final = 0.2
_LINE_EVERY_S: Final = 10.0


class Progress:
    """Tells on standard error how many are done, how fast, and how long the rest will take."""

    def __init__(
        self,
        what: str,
        total: int | None,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`what` is done, as in `letters redriven`."""
        self.done = 0
        self._what = what
        self.total = total
        """None where nobody knows how many there are."""
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._clock = clock
        self._begun = self._told = clock()
        self._open = False

    def advance(self, count: int) -> None:
        """Count what is done, and tell where it is time to."""
        self.done += count
        now = self._clock()
        if now - self._told >= (_TERMINAL_EVERY_S if self._terminal else _LINE_EVERY_S):
            self._told = now
            self._write(self.text())

    def text(self) -> str:
        """Return how far it is."""
        took = max(self._clock() - self._begun, 1e-6)
        rate = self.done / took
        if self.total is None:
            return f"{self.done:,} {self._what}, {rate:,.0f}/s"
        share = 100 * self.done // max(self.total, 1)
        left = f", {_span((self.total - self.done) / rate)} left" if rate and self.done < self.total else ""
        return f"{self.done:,} of {self.total:,} {self._what} ({share} %), {rate:,.0f}/s{left}"

    def close(self) -> None:
        """End the line that changes."""
        if self._open:
            self._stream.write("\n")
            self._stream.flush()
            self._open = False

    def _write(self, text: str) -> None:
        if self._terminal:
            self._stream.write(f"\r\x1b[K{text}")
            self._open = True
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()


class Steps:
    """The progress of one thing after another."""

    def __init__(self) -> None:
        self._what = ""
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        """Begin; nothing is shown yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the line that changes."""
        if self._progress is not None:
            self._progress.close()

    def tell(self, what: str, done: int, of: int) -> None:
        """Tell how far one thing is; another one than before begins a line of its own."""
        if self._progress is None or what != self._what:
            if self._progress is not None:
                self._progress.close()
            self._what, self._progress = what, Progress(what, of)
        self._progress.total = of
        self._progress.advance(done - self._progress.done)


def _span(seconds: float) -> str:
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"
