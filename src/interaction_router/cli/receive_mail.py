"""`receive smtp` and `receive imap`: mail."""

import click

from interaction_router.cli.app import RouterCommand
from interaction_router.cli.invocation import Invocation
from interaction_router.cli.receiving import run_receiver
from interaction_router.cli.storage import data_option


@click.command("smtp", cls=RouterCommand, short_help="Take mail from mail servers, by SMTP or LMTP.")
@click.option("--host", metavar="HOST", help="The address to listen on, instead of receivers.smtp.host.")
@click.option("--port", metavar="PORT", help="The port to listen on, instead of receivers.smtp.port.")
@data_option
@click.pass_obj
def smtp(invocation: Invocation, host: str | None, port: str | None) -> None:
    """Take mail for the domains of `tenants.<tenant>.mail_domains`, by SMTP or LMTP.

    Prints `ready smtp HOST:PORT` on standard error. A mail is answered 250 once Kafka, or the spool, has it.
    """
    from interaction_router.bootstrap.receive_mail import receive_smtp  # noqa: PLC0415 - `--help` needs no server

    settings = invocation.settings({"receivers.smtp.host": host, "receivers.smtp.port": port})
    run_receiver("smtp", settings, receive_smtp)


@click.command("imap", cls=RouterCommand, short_help="Take mail from mailboxes, by IMAP.")
@data_option
@click.pass_obj
def imap(invocation: Invocation) -> None:
    """Take mail from every tenant's mailbox (`tenants.<tenant>.imap`), by IMAP; nothing is changed there.

    Prints `ready imap folders=N` on standard error once each folder has been tried. A lost connection is made again.
    Only one process may read a mailbox.
    """
    from interaction_router.bootstrap.receive_mail import receive_imap  # noqa: PLC0415 - `--help` needs no client

    run_receiver("imap", invocation.settings(), receive_imap)
