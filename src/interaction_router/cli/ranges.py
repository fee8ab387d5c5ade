"""Options that choose records by where they stand."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from interaction_router.cli.invocation import Function
from interaction_router.cli.moments import check_span
from interaction_router.domain.errors import FatalError


def partition_options(*, only: str) -> Callable[[Function], Function]:
    """Give a command `--partition` and `--offsets`; `only` begins what their help says."""
    partition = click.option(
        "--partition", "partitions", type=click.IntRange(min=0), multiple=True, help=f"{only} this one; repeatable."
    )
    offsets = click.option(
        "--offsets", metavar="FROM:TO", help=f"{only} these offsets of the one partition; TO is left out."
    )
    return lambda function: partition(offsets(function))


def checked_ranges(chosen: dict[str, Any]) -> dict[str, Any]:  # Any: click's options
    """Return the options with the offsets read.

    Raises:
        UsageError: a range that has nothing in it, or offsets of no one partition.
    """
    check_span(chosen["from_ms"], chosen["until_ms"])
    text = chosen["offsets"]
    if text is None:
        return chosen
    first, colon, end = text.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise click.UsageError("--offsets must be FROM:TO, as 1000:2000")
    if len(chosen["partitions"]) != 1:
        raise click.UsageError("--offsets are of one partition: give --partition once")
    return {**chosen, "offsets": (int(first), int(end))}


def tables_option(text: str) -> Callable[[Function], Function]:
    """Give a command `--partition`."""
    return click.option(
        "--partition", "partitions", type=click.IntRange(min=0), multiple=True, metavar="N", help=f"{text}; repeatable."
    )


def chosen_partitions(count: int, partitions: Sequence[int]) -> Sequence[int]:
    """Return the partitions that are asked for, or all.

    Raises:
        FatalError: there is no such one.
    """
    for partition in partitions:
        if partition >= count:
            cause = f"There is no partition {partition}: the internal log has {count}, from 0 to {count - 1}."
            raise FatalError("partition_unknown", cause, "Check --partition and the namespace.")
    return sorted(set(partitions)) or range(count)
