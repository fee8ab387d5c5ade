"""`receive`: what takes events in from outside."""

import click

from interaction_router.cli.app import RouterGroup
from interaction_router.cli.receive_mail import smtp
from interaction_router.cli.receive_telephony import ami, esl


@click.group("receive", cls=RouterGroup, short_help="Take events in from gateways, mail servers and switches.")
def noun() -> None:
    """Take events in from gateways, mail servers and switches.

    Each is acknowledged once Kafka, or the spool, has it.
    """


noun.add_command(smtp)
noun.add_command(ami)
noun.add_command(esl)
