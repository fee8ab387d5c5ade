"""`demo`: everything in one process on embedded storage, with simulated gateways, and no server."""

import asyncio
import heapq
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from interaction_router.cli.app import RouterCommand
from interaction_router.cli.faults import DONE, FOUND_A_FAULT
from interaction_router.cli.invocation import Invocation, json_option
from interaction_router.cli.numbers import Number
from interaction_router.domain.errors import RouterError

if TYPE_CHECKING:
    from interaction_router.application.demonstration import Demonstration
    from interaction_router.application.simulation import Load
    from interaction_router.application.story import Scene
    from interaction_router.cli.screen import Screen
    from interaction_router.settings import Settings

_CONTACTS: Final = 12
_DUPLICATES: Final = 0.06
_POISON: Final = 0.03
_STORY_SHARE: Final = 0.85
_IDLE_SHARE: Final = 0.3
_AGENTS_READ_S: Final = 0.6
_IDLE_CLOSE_WITHIN_S: Final = 5.0


@click.command(
    "demo", cls=RouterCommand, short_help="Run everything in one process, with simulated gateways; no server needed."
)
@click.option("--seconds", type=Number(2, 86_400), default=20, show_default=True, help="How long it runs.")
@click.option("--rate", type=Number(0.1, 500), default=5, show_default=True, help="Records a second beside the story.")
@click.option("--seed", type=click.IntRange(min=0), help="Play the same records again.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep log and tables in this folder, and go on from what is there.",
)
@click.option("--keep-running", is_flag=True, help="Go on until Ctrl-C.")
@json_option
@click.pass_obj
def noun(
    invocation: Invocation, *, seconds: float, rate: float, seed: int | None, data: Path | None, keep_running: bool
) -> int:
    """Run everything in one process, with simulated gateways; no server needed.

    Shows what a subscriber of the updates sees: conversations that form over channels, are linked and closed, and
    records that are repeated or refused. Ends with a summary; exits with 1 if anything came out otherwise than it
    should.
    """
    from interaction_router.application.simulation import Load  # noqa: PLC0415 - `--help` needs none of it
    from interaction_router.application.story import IDLE_CHANNEL, names  # noqa: PLC0415 - likewise
    from interaction_router.bootstrap.embedded import first_of  # noqa: PLC0415 - likewise
    from interaction_router.cli.screen import Screen  # noqa: PLC0415 - likewise

    idle_s = max(1.0, round(seconds * _IDLE_SHARE, 1))
    settings = invocation.settings(
        {
            "embedded.data_dir": None if data is None else str(data),
            f"idle_close.{IDLE_CHANNEL}": str(idle_s),
            "channels": ["voice", "email", "sms", "whatsapp", "chat"],
        }
    )
    load = Load(
        seed=time.time_ns() % 100_000 if seed is None else seed,
        start_ms=time.time_ns() // 1_000_000 + round(_AGENTS_READ_S * 1000),
        rate=rate,
        contacts=_CONTACTS,
        duplicates=_DUPLICATES,
        poison=_POISON,
    )
    screen = Screen(names(load), as_json=invocation.as_json, colours=not invocation.env.get("NO_COLOR"))
    screen.open(seed=load.seed, idle_s=idle_s, where=None if data is None else str(data))
    faults, failure = 0, None
    try:
        faults = asyncio.run(_run(settings, load, screen, seconds=seconds, keep_running=keep_running))
    except* RouterError as errors:
        # The task group of the router wraps what its tasks raise.
        failure = first_of(errors)
    if failure is not None:
        raise failure
    return FOUND_A_FAULT if faults else DONE


async def _run(settings: "Settings", load: "Load", screen: "Screen", *, seconds: float, keep_running: bool) -> int:
    """Run the router, the gateways and a subscriber; return how much was otherwise than it should be."""
    from interaction_router.application.demonstration import Demonstration  # noqa: PLC0415 - as above
    from interaction_router.application.simulation import first_records  # noqa: PLC0415
    from interaction_router.application.subscriber import Subscriber  # noqa: PLC0415
    from interaction_router.bootstrap.embedded import embedded_router  # noqa: PLC0415

    async with embedded_router(settings) as embedded:
        subscriber, bell = Subscriber(embedded.log, namespace=settings.namespace), asyncio.Event()
        demonstration = Demonstration(
            embedded.log, subscriber, settled=embedded.shell.settled, tell=screen.tell, tenant=load.tenant
        )
        with ExitStack() as ringing:
            for stream, partition in await subscriber.begin():
                ringing.enter_context(embedded.log.ringing(stream, partition, bell))
            watching = asyncio.create_task(demonstration.watch(bell), name="subscriber")
            await demonstration.prepare(first_records(load), pause_s=_AGENTS_READ_S)
            await _play(demonstration, _scenes(load, seconds, keep_running=keep_running), load.start_ms)
            await demonstration.finish()
            watching.cancel()
    tally = demonstration.tally
    directory = settings.embedded.data_dir
    screen.close(tally, load.seed, where=None if directory is None else str(directory))
    return sum(tally.unforeseen.values()) + tally.changed_by_repeats


def _scenes(load: "Load", seconds: float, *, keep_running: bool) -> "Iterator[Scene]":
    from interaction_router.application.story import load_scenes, story_scenes  # noqa: PLC0415 - as above

    ends_ms = seconds * 1000
    story = story_scenes(load, span_ms=int(_STORY_SHARE * ends_ms))
    beside = takewhile(lambda scene: keep_running or scene.due_ms < ends_ms, load_scenes(load))
    return heapq.merge(story, beside, key=lambda scene: scene.due_ms)


async def _play(demonstration: "Demonstration", scenes: "Iterator[Scene]", start_ms: int) -> None:
    """Play to the end, or until a signal."""
    playing = asyncio.create_task(demonstration.play(scenes, start_ms=start_ms), name="gateways")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, playing.cancel)
    await asyncio.wait({playing})
    if playing.cancelled():
        return
    playing.result()
    await demonstration.closed("idle", within_s=_IDLE_CLOSE_WITHIN_S)
