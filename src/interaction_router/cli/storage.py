"""Which storage a command asks, how its questions and requests are put, and how the fate of a request is told."""

import asyncio
import getpass
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from interaction_router.cli.faults import DONE
from interaction_router.cli.invocation import Function, Invocation
from interaction_router.cli.lines import update_line
from interaction_router.cli.numbers import Number
from interaction_router.domain.errors import FatalError, RejectedError, RetryableError
from interaction_router.domain.names import TENANT_PATTERN, TENANT_RULE, topic_name

if TYPE_CHECKING:
    from interaction_router.application.queries import Queries
    from interaction_router.application.requests import Fate, Requests
    from interaction_router.settings import Settings

Answer = TypeVar("Answer")


def data_option(function: Function) -> Function:
    """Give a command `--data`."""

    def take(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
        if value is not None:
            context.ensure_object(Invocation).flags["embedded.data_dir"] = str(value)

    option = click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        expose_value=False,
        callback=take,
        help="Use the embedded storage of this directory; no other process may have it open.",
    )
    return option(function)


class TenantName(click.ParamType):
    """A name that a tenant can have: of any other there is nothing to be found, and an empty one is a slip."""

    name = "tenant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # click's
        """Return the name as it is."""
        name = str(value)
        if re.fullmatch(TENANT_PATTERN, name) is None:
            self.fail(f"{name!r} {TENANT_RULE}", param, ctx)
        return name


def tenant_option(text: str = "The tenant.", *, required: bool) -> Callable[[Function], Function]:
    """Give a command `--tenant`."""
    return click.option("--tenant", type=TenantName(), metavar="NAME", required=required, help=text)


def command_options(function: Function) -> Function:
    """Give a command that sends one of `commands.v1` `--actor` and `--command-id`."""
    repeats = "A repeat under the same id changes nothing; else a new one."
    function = click.option("--command-id", metavar="ID", help=repeats)(function)
    return click.option("--actor", metavar="NAME", help="Who asks; the login name where not given.")(function)


def page_options(*, after: str, behind: str) -> Callable[[Function], Function]:
    """Give a command that lists `--after` and `--limit`."""

    def give(function: Function) -> Function:
        limit = click.IntRange(1, 10_000)
        function = click.option("--limit", type=limit, default=50, show_default=True, help="At most so many.")(function)
        return click.option("--after", metavar=after, help=f"Only those behind this {behind}: the next page.")(function)

    return give


def wait_option(function: Function) -> Function:
    """Give a command that requests something `--wait`."""
    option = click.option(
        "--wait",
        type=Number(min=0),
        default=5.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for what becomes of it; 0 does not wait.",
    )
    return option(function)


def ask(invocation: Invocation, question: Callable[["Queries"], Awaitable[Answer]]) -> Answer:
    """Ask the tables and topics."""
    from interaction_router.application.queries import Queries  # noqa: PLC0415 - `--help` needs no clients
    from interaction_router.bootstrap.storage import opened  # noqa: PLC0415 - likewise

    async def answered() -> Answer:
        async with opened(invocation.settings()) as (log, tables):
            return await question(Queries(log, tables))

    return asyncio.run(answered())


def request(invocation: Invocation, action: Callable[["Requests", "Queries", "Settings"], Awaitable[Answer]]) -> Answer:
    """Do what changes something, where somebody answers."""
    from interaction_router.application.queries import Queries  # noqa: PLC0415 - `--help` needs no clients
    from interaction_router.application.requests import Requests  # noqa: PLC0415 - likewise
    from interaction_router.bootstrap.embedded import answering  # noqa: PLC0415 - likewise

    async def done() -> Answer:
        settings = invocation.settings()
        async with answering(settings) as (log, tables):
            return await action(
                Requests(log, tables, namespace=settings.namespace, inputs=settings.inputs_namespace),
                Queries(log, tables),
                settings,
            )

    try:
        return asyncio.run(done())
    except RejectedError as error:
        raise _refused(error.code, error.cause, error.field) from error


def tell_fate(invocation: Invocation, fate: "Fate", *, wait_s: float) -> int:
    """Print what became of a request; return the exit code.

    Raises:
        RouterError: it was refused, with the code of its dead letter, or nothing became of it in time.
    """
    settings = invocation.settings()
    topic = topic_name(settings.namespace, fate.place.stream, settings.inputs_namespace)
    partition, offset = fate.place.partition, fate.place.offset
    if fate.refusal is not None:
        raise _refused(fate.refusal.code, fate.refusal.message, fate.refusal.field)
    if not fate.done and wait_s > 0:
        cause = f"Nothing has become yet of the request at {topic}/{partition}@{offset} within {wait_s:g} s."
        advice = "It stands, and is done once a worker runs; `interaction-router doctor` tells whether one does."
        raise RetryableError("request_unanswered", cause, advice)
    if invocation.as_json:
        invocation.output.document(
            {
                "done": fate.done,
                "changed": fate.changed,
                "topic": topic,
                "partition": partition,
                "offset": offset,
                "updates": list(fate.updates),
            }
        )
        return DONE
    for update in fate.updates:
        invocation.output.line(update_line(update), update)
    if not fate.done:
        invocation.output.note(f"written at {topic}/{partition}@{offset}, not waited for")
    elif not fate.updates:
        invocation.output.note("done" if fate.changed else "done before: nothing changed")
    return DONE


def now() -> str:
    """Return the time of day for a record's `at`, which nobody decides by."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def login_name() -> str | None:
    """Return who is logged in; None in a container whose user has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def unknown(code: str, what: str, identity: str) -> FatalError:
    """Return the error of an id that there is not."""
    return FatalError(code, f"There is no {what} {identity}.", "Check the id, `--tenant` and the namespace.")


def _refused(code: Any, cause: str, field: str | None) -> RejectedError:  # Any: a code as the dead letter has it
    return RejectedError(code, cause if field is None else f"{field}: {cause}", field=field)
