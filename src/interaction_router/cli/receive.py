"""`receive`: what takes events in from outside."""

import click

from interaction_router.cli.app import RouterGroup
from interaction_router.cli.receive_http import http
from interaction_router.cli.receive_mail import imap, smtp
from interaction_router.cli.receive_telephony import ami, esl


@click.group("receive", cls=RouterGroup, short_help="Take events in from gateways, mail servers and switches.")
def noun() -> None:
    """Take events in: each is acknowledged once Kafka, or the spool, has it."""


for command in (http, smtp, imap, ami, esl):
    noun.add_command(command)
