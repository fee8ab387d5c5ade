"""How far a long job is told, on a terminal and elsewhere."""

import io

import pytest

from interaction_router.cli.progress import Progress, Steps


class Screen(io.StringIO):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


class Watch:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_rate_and_time_left_are_told() -> None:
    screen, watch = Screen(terminal=False), Watch()
    progress = Progress("letters", 10_000, stream=screen, clock=watch)
    watch.seconds = 5
    progress.advance(500)
    assert screen.getvalue() == ""
    watch.seconds = 10
    progress.advance(500)
    assert screen.getvalue() == "1,000 of 10,000 letters (10 %), 100/s, 1 min 30 s left\n"
    watch.seconds = 100
    progress.advance(9_000)
    progress.close()
    assert screen.getvalue().endswith("10,000 of 10,000 letters (100 %), 100/s\n")


def test_a_terminal_has_one_line_that_ends() -> None:
    screen, watch = Screen(terminal=True), Watch()
    progress = Progress("letters", None, stream=screen, clock=watch)
    for _ in range(2):
        watch.seconds += 1
        progress.advance(10)
    progress.close()
    assert screen.getvalue() == "\r\x1b[K10 letters, 10/s\r\x1b[K20 letters, 10/s\n"


def test_a_long_time_left_is_told_in_hours() -> None:
    watch = Watch()
    progress = Progress("letters", 36_000, stream=Screen(terminal=False), clock=watch)
    watch.seconds = 10
    progress.advance(10)
    assert progress.text().endswith("9 h 59 min left")


def test_one_thing_after_another_has_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(terminal=True)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("interaction_router.cli.progress._TERMINAL_EVERY_S", 0)
    with Steps() as steps:
        steps.tell("rows", 1, 2)
        steps.tell("rows", 3, 4)
        steps.tell("records", 1, 1)
    first, second, after = screen.getvalue().split("\n")
    assert "1 of 2 rows (50 %)" in first
    assert "3 of 4 rows (75 %)" in first
    assert "1 of 1 records (100 %)" in second
    assert after == ""
