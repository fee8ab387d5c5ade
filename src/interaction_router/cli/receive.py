"""`receive`: what takes events in from outside."""

import click

from interaction_router.cli.app import RouterGroup
from interaction_router.cli.receive_mail import smtp


@click.group("receive", cls=RouterGroup)
def noun() -> None:
    """Take events in: each is acknowledged once Kafka, or the spool, has it."""


noun.add_command(smtp)
