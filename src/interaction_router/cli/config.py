"""`config`: check, show and explain the settings."""

import click

from interaction_router.cli.app import RouterGroup
from interaction_router.cli.invocation import Invocation, json_option


@click.group("config", cls=RouterGroup, short_help="Check, show and explain the settings.")
def noun() -> None:
    """Check, show and explain the settings."""


@noun.command()
@json_option
@click.pass_obj
def check(invocation: Invocation) -> None:
    """List everything that is wrong with the settings, and with the files of certificates that they name.

    Exits with 78 where anything is.
    """
    resolved = invocation.resolved
    resolved.check_files()
    places = sorted({str(place) for place in resolved.places.values()})
    if invocation.as_json:
        invocation.output.document({"valid": True, "places": places})
    else:
        invocation.output.text(f"valid: {len(resolved.places)} set, all others at their defaults")


@noun.command()
@click.option("--changed", is_flag=True, help="Leave out what is at its default.")
@json_option
@click.pass_obj
def show(invocation: Invocation, *, changed: bool) -> None:
    """Print every setting in force and its source.

    Secrets are masked; of a URL only what logs in is.
    """
    rows = [
        {"setting": item.name, "value": item.value, "source": item.place.kind, "at": item.place.detail or None}
        for item in invocation.resolved.effective()
        if not (changed and item.place.kind == "default")
    ]
    columns = {"setting": "setting", "value": "value", "source": "source", "at": "at"}
    invocation.output.table(rows, columns, empty="every setting is at its default")


@noun.command()
@click.argument("page", type=click.Choice(["settings", "metrics"]), default="settings")
@click.pass_obj
def docs(invocation: Invocation, page: str) -> None:
    """Print the reference of all settings, or of all metrics and log events, in Markdown."""
    from interaction_router import telemetry  # noqa: PLC0415 - no other command needs it
    from interaction_router.settings.page import reference_page  # noqa: PLC0415 - likewise

    invocation.output.text(reference_page() if page == "settings" else telemetry.reference_page())
