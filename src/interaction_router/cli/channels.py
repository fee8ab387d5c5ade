"""`channels`: the gateways that there are, and what their payloads become."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from interaction_router.cli.app import RouterGroup
from interaction_router.cli.faults import DONE, FOUND_A_FAULT
from interaction_router.cli.invocation import Invocation, json_option
from interaction_router.cli.storage import data_option, tenant_option
from interaction_router.domain.errors import RejectedError

if TYPE_CHECKING:
    from interaction_router.application.prospects import Prospect
    from interaction_router.channels.trial import Trial, Tried

COLUMNS = {"vendor": "vendor", "settings": "settings", "address": "address"}
ADDRESS = "https://channels.check/"

Row = dict[str, Any]  # Any: JSON that is printed


@click.group(
    "channels", cls=RouterGroup, short_help="Show which gateways there are, and what a payload of one becomes."
)
def noun() -> None:
    """Show which gateways there are, and what a payload of one becomes."""


@noun.command("list")
@json_option
@click.pass_obj
def list_(invocation: Invocation) -> None:
    """List the vendors, the settings that each needs, and the address that each is given."""
    from interaction_router.channels.vendors import KEYS  # noqa: PLC0415 - `--help` needs no vendors

    rows = [
        {
            "vendor": vendor,
            "settings": [f"tenants.<tenant>.gateways.{vendor}.{key}" for key in sorted(keys)],
            "address": f"/v1/gateways/{vendor}/<tenant>",
        }
        for vendor, keys in KEYS.items()
    ]
    invocation.output.table(rows, COLUMNS)


@noun.command()
@click.argument("payload", type=click.File("rb"))
@click.option(
    "--vendor",
    metavar="NAME",
    required=True,
    help="Whose payload it is: one of `channels list`, or mail, asterisk, freeswitch.",
)
@tenant_option("The tenant that it is for.", required=True)
@click.option("--content-type", metavar="TYPE", help="The type of the body; guessed where not given.")
@click.option("--get", is_flag=True, help="The payload is the query of a GET.")
@click.option("--offline", is_flag=True, help="Do not look which conversation it would join.")
@data_option
@json_option
@click.pass_obj
def check(  # noqa: PLR0913 - click's way of options
    invocation: Invocation,
    payload: BinaryIO,
    *,
    vendor: str,
    tenant: str,
    content_type: str | None,
    get: bool,
    offline: bool,
) -> int:
    """Show what a payload becomes, and which conversation it would join now; - reads standard input.

    Nothing is written, and no signature is asked for. The exit code is 1 where some of it cannot be read.
    """
    from interaction_router.channels.unsent import READERS  # noqa: PLC0415 - `--help` needs no vendors
    from interaction_router.channels.vendors import KEYS  # noqa: PLC0415 - likewise

    if vendor not in KEYS and vendor not in READERS:
        raise click.BadParameter(f"{vendor!r} is none of {', '.join(sorted({*KEYS, *READERS}))}", param_hint="--vendor")
    trial = _trial(invocation, payload.read(), vendor, tenant, content_type=content_type, get=get)
    rows = [_row(each) for each in trial.items]
    if not offline:
        for row, each in zip(rows, asyncio.run(_prospects(invocation, trial.items)), strict=True):
            row["would_join"] = each
    refused = trial.unread is not None or any(each.refusal for each in trial.items)
    _tell(invocation, rows, trial.unread)
    return FOUND_A_FAULT if refused else DONE


def _trial(
    invocation: Invocation, body: bytes, vendor: str, tenant: str, *, content_type: str | None, get: bool
) -> "Trial":
    from interaction_router.channels.kit import FORM, Request  # noqa: PLC0415 - as above
    from interaction_router.channels.trial import guessed_type, try_payload  # noqa: PLC0415 - as above

    kind = content_type or guessed_type(body)
    headers = {"content-type": kind}
    body = body.rstrip(b"\r\n") if kind == FORM else body  # an editor's, and none of the form's
    now_ms = time.time_ns() // 1_000_000
    if get:
        query = body.decode("utf-8", "replace").strip().removeprefix("?")
        request = Request("GET", f"{ADDRESS}?{query}", {}, b"", now_ms)
    else:
        request = Request("POST", ADDRESS, headers, body, now_ms)
    return try_payload(vendor, request, tenant=tenant, channels=invocation.settings().channels)


def _row(tried: "Tried") -> Row:
    if tried.refusal is not None:
        error = tried.refusal
        return {"refused": {"code": error.code, "field": error.field, "message": error.cause}}
    return {"interaction": tried.fields, **({"awaits_call": True} if tried.awaits_call else {})}


async def _prospects(invocation: Invocation, items: "Sequence[Tried]") -> list[Row | None]:
    """Look where each would go."""
    from interaction_router.application.intake import Agents  # noqa: PLC0415 - as above
    from interaction_router.application.prospects import prospect_of  # noqa: PLC0415 - as above
    from interaction_router.application.queries import Queries  # noqa: PLC0415 - as above
    from interaction_router.bootstrap.storage import opened  # noqa: PLC0415 - as above
    from interaction_router.bootstrap.terms import intake_settings  # noqa: PLC0415 - as above

    settings = invocation.settings()
    rules = intake_settings(settings)
    found: list[Row | None] = []
    async with opened(settings) as (log, tables):
        queries, agents = Queries(log, tables), Agents(log)
        await agents.follow()
        for each in items:
            if each.raw is None or each.awaits_call:
                found.append(None)
                continue
            try:
                found.append(_shown(await prospect_of(queries, agents, rules, each.raw)))
            except RejectedError as error:
                found.append({"refused": error.code})
    return found


def _shown(prospect: "Prospect") -> Row:
    return {name: value for name, value in asdict(prospect).items() if value is not None}


def _tell(invocation: Invocation, rows: list[Row], unread: str | None) -> None:
    if invocation.as_json:
        invocation.output.document({"items": rows, "unread": unread})
        return
    for number, row in enumerate(rows, 1):
        shown = {"item": number, **(row.get("interaction") or {}), **row.get("refused", {})}
        if row.get("awaits_call"):
            shown["party"] = "that of its call, which the receiver remembers"
        if row.get("would_join"):
            shown["would join"] = row["would_join"]
        invocation.output.record(shown)
    if unread is not None:
        invocation.output.note(f"to the dead letters, payload_unknown: {unread}")
    elif not rows:
        invocation.output.note("nothing to tell: the payload is no event")
