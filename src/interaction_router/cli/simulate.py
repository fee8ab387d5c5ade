"""`simulate`: the load of simulated gateways, onto Kafka."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Final

import click

from interaction_router.cli.app import RouterCommand
from interaction_router.cli.invocation import Invocation, json_option
from interaction_router.cli.numbers import Number
from interaction_router.cli.progress import Progress

if TYPE_CHECKING:
    from interaction_router.application.simulation import Load, Simulated
    from interaction_router.settings import Settings

_AGENTS_READ_S: Final = 1.0
_SHARE: Final = Number(0, 0.5)


@click.command("simulate", cls=RouterCommand, short_help="Send the load of simulated gateways to Kafka.")
@click.option("--rate", type=Number(0.1, 100_000), default=10, show_default=True, help="Records a second.")
@click.option("--seconds", type=Number(min=0, min_open=True), help="Stop after so long; else on Ctrl-C.")
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many records.")
@click.option(
    "--seed", type=click.IntRange(min=0), help="The same parties, texts and order again; else another each time."
)
@click.option("--contacts", type=click.IntRange(1, 70_000), default=100, show_default=True, help="How many parties.")
@click.option("--duplicates", type=_SHARE, default=0.1, show_default=True, help="Share of records sent again.")
@click.option("--poison", type=_SHARE, default=0.01, show_default=True, help="Share of records to be refused.")
@json_option
@click.pass_obj
def noun(
    invocation: Invocation,
    /,
    *,
    seconds: float | None,
    count: int | None,
    seed: int | None,
    **shape: Any,  # what `Load` has: rate, contacts, duplicates, poison
) -> None:
    """Send the load of simulated gateways to Kafka.

    First the agents and most of the contacts, then messages, calls and their events over SMS, voice, e-mail and
    WhatsApp, with some sent again and some that have to be refused. All parties are fictional. A seed that was sent
    before gives repetitions: they change nothing.
    """
    from interaction_router.application.simulation import Load  # noqa: PLC0415 - `--help` needs none of it
    from interaction_router.telemetry import set_up_logging  # noqa: PLC0415 - likewise

    if seconds is not None and count is not None:
        raise click.UsageError("--seconds and --count exclude each other")
    load = Load(
        seed=time.time_ns() % 1_000_000 if seed is None else seed,
        start_ms=time.time_ns() // 1_000_000 + round(_AGENTS_READ_S * 1000),
        **shape,
    )
    settings = invocation.settings()
    set_up_logging(level=settings.log.level, form=settings.log.format)
    sent = _Sent(load, count if seconds is None else max(1, round(seconds * load.rate)))
    asyncio.run(_until_signalled(settings, load, sent, seconds=seconds, count=count))
    invocation.output.record(sent.summary())


class _Sent:
    """Counts what was sent, and tells how far it is."""

    def __init__(self, load: "Load", total: int | None) -> None:
        self._seed = load.seed
        self._natures: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()
        self._begun: float | None = None
        self._took_s = 0.0
        self.progress = Progress("records sent", total)

    def before(self, records: "Iterable[Simulated]") -> None:
        """Count what has to be there first."""
        self._natures.update(record.nature for record in records)

    def batch(self, records: "list[Simulated]") -> None:
        """Count a batch that Kafka has."""
        now = time.monotonic()
        self._begun = now if self._begun is None else self._begun
        self._took_s = now - self._begun
        self._natures.update(record.nature for record in records)
        self._codes.update(record.code for record in records if record.code is not None)
        self.progress.advance(len(records))

    def summary(self) -> dict[str, object]:
        """Return what was sent."""
        natures = self._natures
        return {
            "seed": self._seed,
            "records": sum(natures.values()),
            "agents": natures["agent"],
            "contacts": natures["contact"],
            "interactions": natures["interaction"],
            "later_events": natures["event"],
            "duplicates": natures["duplicate"],
            "to_be_refused": dict(sorted(self._codes.items())),
            "seconds": round(self._took_s, 1),
        }


async def _until_signalled(
    settings: "Settings", load: "Load", sent: _Sent, *, seconds: float | None, count: int | None
) -> None:
    """Send until the end or a signal; what is under way then is acknowledged or counted as not sent."""
    sending = asyncio.create_task(_send(settings, load, sent, seconds=seconds, count=count), name="gateways")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, sending.cancel)
    await asyncio.wait({sending})
    sent.progress.close()
    if not sending.cancelled():
        sending.result()


async def _send(settings: "Settings", load: "Load", sent: _Sent, *, seconds: float | None, count: int | None) -> None:
    from interaction_router.application.simulated_gateways import SimulatedGateways  # noqa: PLC0415 - as above
    from interaction_router.application.simulation import first_records, load_records  # noqa: PLC0415
    from interaction_router.bootstrap.storage import kafka_log  # noqa: PLC0415

    records: Iterator[Simulated] = islice(load_records(load), count)
    if seconds is not None:
        ends_ms = seconds * 1000
        records = takewhile(lambda record: record.due_ms < ends_ms, records)
    async with kafka_log(settings) as log:
        gateways, first = SimulatedGateways(log), list(first_records(load))
        await gateways.send_all(first)
        sent.before(first)
        await asyncio.sleep(_AGENTS_READ_S)
        await gateways.send_when_due(records, sent.batch)
