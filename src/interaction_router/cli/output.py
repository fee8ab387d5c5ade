"""How commands print: tables for people, JSON for programs, and nothing that a terminal would obey."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

# Text of customers is printed; control characters and marks that turn the direction of text stay out of the terminal.
UNSAFE = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")
PIPE_WIDTH = 10_000


@dataclass(frozen=True, slots=True)
class Output:
    """Prints results to standard output and notes to standard error."""

    as_json: bool = False

    def table(self, rows: Sequence[Mapping[str, object]], columns: Mapping[str, str], *, empty: str = "none") -> None:
        """Print rows: the columns (key: heading) as a table, or all of each row as a JSON list."""
        if self.as_json:
            self.document(list(rows))
        elif not rows:
            self.note(empty)
        else:
            _print_table(
                [[cell(row.get(key)) for key in columns] for row in rows],
                [heading.upper() for heading in columns.values()],
            )

    def record(self, values: Mapping[str, object]) -> None:
        """Print one thing: a line a value, or a JSON object."""
        if self.as_json:
            self.document(values)
        else:
            _print_table([[name, cell(value)] for name, value in values.items()], None)

    def line(self, text: str, values: Mapping[str, object]) -> None:
        """Print one of many as it comes: a line of text, or of JSON. Raises: BrokenPipeError where nobody reads on."""
        sys.stdout.write((orjson.dumps(values).decode() if self.as_json else safe(text)) + "\n")
        sys.stdout.flush()

    def document(self, value: object) -> None:
        """Print JSON, indented."""
        _print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")

    def text(self, text: str) -> None:
        """Print text that the program itself wrote, as it is."""
        _print(text if text.endswith("\n") else text + "\n")

    def note(self, text: str) -> None:
        """Tell a person something that is no result."""
        sys.stderr.write(safe(text) + "\n")


def safe(text: str) -> str:
    """Return the text without what a terminal would obey."""
    return text.translate(UNSAFE)


def cell(value: object) -> str:
    """Return how a table shows a value: `-` for none, lists with commas."""
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(cell(item) for item in value) or "-"
        case Mapping():
            return ", ".join(f"{safe(str(key))} {cell(item)}" for key, item in value.items()) or "-"
        case _:
            return safe(str(value))


def _print_table(rows: Sequence[Sequence[str]], headings: Sequence[str] | None) -> None:
    """Print columns without lines; a pipe gets each row whole, on one line."""
    from rich.console import Console  # noqa: PLC0415 - only tables need it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    table = Table(box=None, pad_edge=False, show_header=headings is not None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings or ["", ""]:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(value) for value in row))
    with console.capture() as capture:
        console.print(table)
    _print("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


def _print(text: str) -> None:
    """Print a result; how the command ends does not depend on who reads it."""
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        drop_output()


def flush_output() -> None:
    """Write out what is printed; likewise."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()


def drop_output() -> None:
    """Let what is left in the buffer of standard output, and what still comes, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
