"""Times on a command line."""

import time
from datetime import timedelta
from typing import Any

import click

from interaction_router.cli.invocation import Function


class Moment(click.ParamType):
    """A time as `2026-11-22T10:15:30+02:00`, or how long ago, as `PT2H`; milliseconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # click's
        """Return the time that is meant."""
        from interaction_router.settings.kinds import parse_duration  # noqa: PLC0415 - `--help` needs no settings
        from interaction_router.wire.times import read_time  # noqa: PLC0415 - likewise

        if isinstance(value, int):
            return value
        at_ms = read_time(value)
        if at_ms is not None:
            return at_ms
        try:
            ago = parse_duration(value) if value.strip().upper().startswith("P") else None
        except ValueError:
            ago = None
        if ago is None:
            self.fail("must be a time (2026-11-22T10:15:30+02:00) or how long ago (PT2H)", param, ctx)
        return time.time_ns() // 1_000_000 - ago // timedelta(milliseconds=1)


MOMENT = Moment()


def check_span(from_ms: int | None, until_ms: int | None) -> None:
    """Raise a usage error for a span that has nothing in it."""
    if from_ms is not None and until_ms is not None and from_ms >= until_ms:
        message = "--from has to be before --until"
        raise click.UsageError(message)


def span_options(function: Function) -> Function:
    """Give a command `--from` and `--until`."""
    function = click.option("--until", "until_ms", type=MOMENT, metavar="TIME", help="Only from before then.")(function)
    from_ = "Only from then on; a time, or PT2H ago."
    return click.option("--from", "from_ms", type=MOMENT, metavar="TIME", help=from_)(function)
