"""`state export` and `state import`: copies of the tables as lines of JSON."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Final

import click
import orjson

from interaction_router.cli.app import RouterCommand
from interaction_router.cli.faults import DONE, INTERRUPTED
from interaction_router.cli.interrupting import run_interruptible
from interaction_router.cli.invocation import Invocation, json_option
from interaction_router.cli.nouns import PROGRAM
from interaction_router.cli.ranges import chosen_partitions, tables_option
from interaction_router.cli.storage import data_option
from interaction_router.domain.errors import FatalError, RetryableError

if TYPE_CHECKING:
    from interaction_router.application.copies import Copies

EXPORTS: Final = 5
"""How often a partition is begun again that a worker has moved while it was written out."""


@click.command("export", cls=RouterCommand, short_help="Write tables out as lines of JSON.")
@tables_option("Only this one")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write here, when done.")
@data_option
@click.pass_obj
def export_command(invocation: Invocation, *, partitions: tuple[int, ...], out: Path | None) -> None:
    """Write tables out as lines of JSON, each partition as of one moment; they hold personal data.

    A partition that a worker moves meanwhile is begun again a few times; under load, stop the workers.
    """
    count = asyncio.run(_export(invocation, partitions, out))
    invocation.output.note(f"{count} lines written" + ("" if out is None else f" to {out}"))


async def _export(invocation: Invocation, partitions: Sequence[int], out: Path | None) -> int:
    from interaction_router.application.copies import Copies  # noqa: PLC0415 - `--help` needs none
    from interaction_router.bootstrap.state import opened_state  # noqa: PLC0415 - likewise

    count = 0
    async with opened_state(invocation.settings()) as state:
        copies = Copies(state.log, state.tables, state.upkeep, state.views)
        with TemporaryFile() as file:
            for partition in chosen_partitions(state.views.partitions, partitions):
                count += await _written(copies, partition, file)
            file.seek(0)
            if out is None:
                copyfileobj(file, sys.stdout.buffer)
            else:
                _save(file, out)
    return count


async def _written(copies: "Copies", partition: int, file: IO[bytes]) -> int:
    """Write one partition behind what the file has; return how many lines."""
    start = file.tell()
    for attempt in range(EXPORTS):
        count = 0
        try:
            async for line in copies.export(partition):
                file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
                count += 1
        except RetryableError as error:
            if error.code != "tables_moved" or attempt == EXPORTS - 1:
                raise
            file.seek(start)
            file.truncate()
        else:
            return count
    raise AssertionError


def _save(file: IO[bytes], out: Path) -> None:
    """Put the lines into the file, for its owner alone to read; whole, or not at all.

    What is no file, a pipe or a device, gets them as it is.
    """
    try:
        if out.exists() and not out.is_file():
            with out.open("wb") as into:
                copyfileobj(file, into)
            return
        beside = out.with_name(f"{out.name}.part")
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as into:  # noqa: PTH123 - with a mode
                copyfileobj(file, into)
            beside.replace(out)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise FatalError("file_unwritable", f"{out} cannot be written: {error.strerror}.", "Check --out.") from error


@click.command("import", cls=RouterCommand, short_help="Put tables that were written out into empty ones.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do it; without this it is only said what would be done.")
@data_option
@json_option
@click.pass_obj
def import_command(invocation: Invocation, *, file: Path, yes: bool) -> int:
    """Put tables that `state export` has written into empty ones of the same log, each partition all at once."""
    rows, whole = run_interruptible(lambda stop: _import(invocation, file, stop, yes=yes))
    if invocation.as_json:
        invocation.output.document({"dry_run": not yes, "partitions": rows})
    else:
        invocation.output.table(rows, {"partition": "partition", "applied": "applied", "lines": "lines"})
    if not whole:
        invocation.output.note(f"interrupted; `{PROGRAM} state rebuild` makes the other partitions")
        return INTERRUPTED
    if not invocation.as_json:
        invocation.output.note("done" if yes else "nothing was changed; add --yes to do it")
    return DONE


def _opened(file: Path) -> IO[bytes]:
    """Open a copy, to be read twice: that of a pipe is kept meanwhile."""
    try:
        source = file.open("rb")
    except OSError as error:
        raise FatalError("file_unreadable", f"{file} cannot be read: {error.strerror}.", "Check the path.") from error
    if source.seekable():
        return source
    kept = TemporaryFile()  # noqa: SIM115 - for whoever has asked
    with source:
        copyfileobj(source, kept)
    return kept


async def _import(
    invocation: Invocation, file: Path, stop: asyncio.Event, *, yes: bool
) -> tuple[list[dict[str, object]], bool]:
    """Return what was put in, and whether that is all: somebody may interrupt between two partitions."""
    from interaction_router.application.copies import Copies  # noqa: PLC0415 - `--help` needs none
    from interaction_router.application.rowlines import OTHER_FILE, read_lines  # noqa: PLC0415 - likewise
    from interaction_router.bootstrap.state import opened_state  # noqa: PLC0415 - likewise

    done: list[dict[str, object]] = []
    async with opened_state(invocation.settings()) as state:
        copies = Copies(state.log, state.tables, state.upkeep, state.views, observer=state.observer)
        with _opened(file) as source:
            for dry in (True, False):  # all of the file is found good before the first of it is put in
                if not (dry or yes):
                    break
                done = []
                source.seek(0)
                lines = read_lines(source)
                for first in lines:
                    if stop.is_set():
                        return [] if dry else done, False
                    count = await copies.put(first, lines, dry=dry)
                    done.append({"partition": first["partition"], "applied": first["applied"], "lines": count})
                if not done:
                    raise FatalError("copy_unreadable", f"There is no copy in {file}.", OTHER_FILE)
    return done, True
