"""`doctor`: look at everything that the router needs, and say what to do."""

import asyncio
from typing import TYPE_CHECKING

import click

from interaction_router.cli.app import RouterCommand
from interaction_router.cli.faults import DONE, FOUND_A_FAULT, UNAVAILABLE
from interaction_router.cli.invocation import Invocation, json_option
from interaction_router.cli.storage import data_option

if TYPE_CHECKING:
    from interaction_router.application.diagnosis import Check
    from interaction_router.settings import Settings

COLUMNS = {"verdict": "", "subject": "what", "code": "code", "found": "found", "advice": "what to do"}


@click.command("doctor", cls=RouterCommand, short_help="Look for what is wrong with the servers, and say what to do.")
@data_option
@json_option
@click.pass_obj
def noun(invocation: Invocation) -> int:
    """Look at servers, versions, addresses, topics, permissions, clocks, tables and workers, and say what to do.

    Writes no record. Of Kafka's clocks only the controller's can be read so; of the others, that they are not ahead.

    Exits with 0 where nothing fails (a warning is no failure), 1 where something does, 69 where a server is away.
    """
    checks = asyncio.run(_examine(invocation.settings()))
    rows = [
        {
            "verdict": each.verdict,
            "subject": each.subject,
            "code": each.code or None,
            "found": each.found,
            "advice": each.advice or None,
        }
        for each in checks
    ]
    invocation.output.table(rows, COLUMNS)
    verdicts = {each.verdict for each in checks}
    return UNAVAILABLE if "away" in verdicts else FOUND_A_FAULT if "fail" in verdicts else DONE


async def _examine(settings: "Settings") -> "list[Check]":
    if settings.embedded.data_dir is None:
        from interaction_router.adapters.examination import examine_servers  # noqa: PLC0415 - `--help` needs no clients

        return await examine_servers(settings)
    from interaction_router.bootstrap.embedded import examine_embedded  # noqa: PLC0415 - likewise

    return await examine_embedded(settings)
