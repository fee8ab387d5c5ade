"""How far a long command is: a bar on a terminal, nothing elsewhere."""

import sys
from types import TracebackType
from typing import Self

from interaction_router.cli.invocation import Invocation


class Bars:
    """A bar for each thing that is under way, on standard error."""

    def __init__(self, invocation: Invocation) -> None:
        """Nothing is shown where standard error is no terminal, or the output is for a program."""
        self._progress = None
        if sys.stderr.isatty() and not invocation.as_json:
            from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away."""
        if self._progress is not None:
            self._progress.stop()

    def tell(self, what: str, done: int, of: int) -> None:
        """Show how far one thing is."""
        if self._progress is None:
            return
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=of)
        from rich.progress import TaskID  # noqa: PLC0415 - as above

        self._progress.update(TaskID(self._tasks[what]), completed=done, total=of)
