"""`receive http`: webhooks."""

import click

from interaction_router.cli.app import RouterCommand
from interaction_router.cli.invocation import Invocation
from interaction_router.cli.receiving import run_receiver
from interaction_router.cli.storage import data_option


@click.command("http", cls=RouterCommand, short_help="Take webhooks of gateways, and raw interactions as JSON.")
@click.option("--host", metavar="HOST", help="The address to listen on, instead of receivers.http.host.")
@click.option("--port", metavar="PORT", help="The port to listen on, instead of receivers.http.port.")
@data_option
@click.pass_obj
def http(invocation: Invocation, host: str | None, port: str | None) -> None:
    """Take webhooks at `/v1/gateways/<vendor>/<tenant>`, and raw interactions as JSON.

    A tenant's gateway is set up by `tenants.<tenant>.gateways.<vendor>.<key>`. Prints `ready http HOST:PORT` on
    standard error. An event is answered 2xx once Kafka, or the spool, has it.
    """
    from interaction_router.bootstrap.receive_http import receive_http  # noqa: PLC0415 - `--help` needs no server

    settings = invocation.settings({"receivers.http.host": host, "receivers.http.port": port})
    run_receiver("http", settings, receive_http)
