"""`receive`: what takes events in from outside."""

import click

from interaction_router.cli.app import RouterGroup
from interaction_router.cli.receive_http import http


@click.group("receive", cls=RouterGroup, short_help="Take events in from gateways, mail servers and switches.")
def noun() -> None:
    """Take events in: each is acknowledged once Kafka, or the spool, has it."""


noun.add_command(http)
