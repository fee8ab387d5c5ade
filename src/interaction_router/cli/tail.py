"""`tail`: updates and dead letters as they come."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click
import orjson

from interaction_router.cli.app import RouterCommand
from interaction_router.cli.invocation import Invocation, json_option
from interaction_router.cli.lines import update_line
from interaction_router.cli.storage import data_option, tenant_option

if TYPE_CHECKING:
    from interaction_router.ports import Received
    from interaction_router.settings import Settings

POLL_S = 0.2
LETTER_HEADERS = ("dlq_code", "dlq_message", "dlq_stage", "dlq_topic", "dlq_partition", "dlq_offset")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which updates are wanted; None is any."""

    tenant: str | None
    contact: str | None
    conversation: str | None

    def takes(self, update: Mapping[str, Any]) -> bool:
        """Tell whether an update is wanted."""
        return (
            self.tenant in {None, update["tenant"]}
            and self.contact in {None, update["contact_id"]}
            and self.conversation in {None, update.get("conversation_id")}
        )


@click.command("tail", cls=RouterCommand, short_help="Follow updates, or dead letters, as they come.")
@click.argument("what", type=click.Choice(["updates", "dlq"]), default="updates")
@tenant_option("Only updates of this tenant.", required=False)
@click.option("--contact", metavar="ID", help="Only updates that name this contact.")
@click.option("--conversation", metavar="ID", help="Only updates of this conversation.")
@click.option("--from-beginning", is_flag=True, help="Begin with the oldest that is kept, not with what comes now.")
@click.option("--follow/--no-follow", default=True, help="Wait for more (the default), or end with the last one.")
@data_option
@json_option
@click.pass_obj
def noun(  # noqa: PLR0913 - a command takes its options
    invocation: Invocation,
    *,
    what: Literal["updates", "dlq"],
    from_beginning: bool,
    follow: bool,
    tenant: str | None,
    contact: str | None,
    conversation: str | None,
) -> None:
    """Follow updates as a subscriber does, or dead letters: one line each, until interrupted.

    A repeat after a crash is dropped. Nothing can come to embedded storage (--data) while this has it open: there it
    prints what is kept and ends.
    """
    if what == "dlq" and (tenant or contact or conversation):
        raise click.UsageError(
            "dead letters may be of no tenant at all: --tenant, --contact and --conversation are for updates"
        )
    settings = invocation.settings()
    if settings.embedded.data_dir is not None:
        from_beginning, follow = True, False
    wanted = Filter(tenant, contact, conversation) if what == "updates" else None
    asyncio.run(_follow(invocation, settings, wanted, from_beginning=from_beginning, follow=follow))


async def _follow(
    invocation: Invocation, settings: "Settings", wanted: Filter | None, *, from_beginning: bool, follow: bool
) -> None:
    """Print updates that are wanted; where that is None, dead letters."""
    from interaction_router.application.queries import Follower  # noqa: PLC0415 - `--help` needs no clients
    from interaction_router.application.views import DEAD_LETTERS, UPDATES  # noqa: PLC0415 - likewise
    from interaction_router.bootstrap.storage import opened_log  # noqa: PLC0415 - likewise

    async with opened_log(settings) as log:
        follower = Follower(log, DEAD_LETTERS if wanted is None else UPDATES)
        await follower.begin(from_beginning=from_beginning)
        while True:
            async for partition, record in follower.read():
                if wanted is None:
                    _print_letter(invocation, partition, record)
                elif record.value is not None:
                    update = orjson.loads(record.value)
                    if follower.is_new(update) and wanted.takes(update):
                        invocation.output.line(update_line(update), update)
            if not follow:
                return
            await asyncio.sleep(POLL_S)


def _print_letter(invocation: Invocation, partition: int, record: "Received") -> None:
    headers = {name: value.decode(errors="replace") for name, value in record.headers if name in LETTER_HEADERS}
    place = f"{headers.get('dlq_topic')}/{headers.get('dlq_partition', '-')}@{headers.get('dlq_offset', '-')}"
    line = f"{partition}@{record.offset} {headers.get('dlq_code')} {headers.get('dlq_stage')} {place} {headers.get('dlq_message')}"
    invocation.output.line(line, {"partition": partition, "offset": record.offset, **headers})
