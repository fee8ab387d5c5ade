"""`receive ami` and `receive esl`: telephone switches."""

import click

from interaction_router.cli.app import RouterCommand
from interaction_router.cli.invocation import Invocation
from interaction_router.cli.receiving import run_receiver
from interaction_router.cli.storage import data_option


@click.command("ami", cls=RouterCommand, short_help="Hear the calls of Asterisk.")
@data_option
@click.pass_obj
def ami(invocation: Invocation) -> None:
    """Hear the calls of every tenant's Asterisk (`tenants.<tenant>.ami`), by its manager interface.

    Prints `ready ami switches=N` on standard error once each has been tried. A lost connection is made again.
    """
    from interaction_router.bootstrap.receive_telephony import receive_ami  # noqa: PLC0415 - `--help` needs no client

    run_receiver("ami", invocation.settings(), receive_ami)


@click.command("esl", cls=RouterCommand, short_help="Hear the calls of FreeSWITCH.")
@data_option
@click.pass_obj
def esl(invocation: Invocation) -> None:
    """Hear the calls of every tenant's FreeSWITCH (`tenants.<tenant>.esl`), by its event socket.

    Prints `ready esl switches=N` on standard error once each has been tried. A lost connection is made again.
    """
    from interaction_router.bootstrap.receive_telephony import receive_esl  # noqa: PLC0415 - `--help` needs no client

    run_receiver("esl", invocation.settings(), receive_esl)
