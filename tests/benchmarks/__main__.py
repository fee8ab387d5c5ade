"""Measures the router and its peers on real servers: `make bench`, or `python -m tests.benchmarks --help`."""

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path

import orjson
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.benchmarks import router
from tests.benchmarks.bench import QUICK, Bench, Sizes
from tests.benchmarks.latency import Latency, latency
from tests.benchmarks.measuring import Cost, StalledError
from tests.benchmarks.peers.measured import quix, stock_faust
from tests.benchmarks.router import Takeover
from tests.benchmarks.stops import stops
from tests.benchmarks.table import Results, as_json, show
from tests.benchmarks.webhooks import webhooks
from tests.benchmarks.wiped import wiped
from tests.servers import Broker, MissingServerError, RedisServer, ServerError

EX_UNAVAILABLE = 69
EX_SOFTWARE = 70
_WIDTH = 120
PARTS = ("stages", "latency", "peers", "takeover", "wiped", "stops", "memory", "webhooks")


def main() -> int:
    """Measure and print; the exit code says whether everything was measured."""
    options = _parser().parse_args()
    sizes = _sizes(options)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # it warns of every topic that is a moment old
    screen = Progress(
        TextColumn("{task.description:24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    try:
        with ExitStack() as running:
            folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="interaction-router-")))
            redis = running.enter_context(RedisServer(folder / "redis"))
            broker = running.enter_context(Broker(folder / "broker", enduring=True))
            running.enter_context(screen)
            results = uvloop.run(_measure(Bench(broker, redis, folder, sizes, screen), options.only or PARTS))
    except (MissingServerError, ServerError) as error:
        print(error, file=sys.stderr)
        return EX_UNAVAILABLE
    except StalledError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return EX_SOFTWARE
    if options.json:
        print(orjson.dumps(as_json(results), option=orjson.OPT_INDENT_2).decode())
    else:
        show(results, Console(width=None if sys.stdout.isatty() else _WIDTH))
    return 0


async def _measure(bench: Bench, parts: Sequence[str]) -> Results:
    rows: dict[str, Cost] = {}
    peers: dict[str, Cost] = {}
    took: Latency | None = None
    taken: Takeover | None = None
    if "stages" in parts or "latency" in parts:
        async with router.namespace(bench, "bench") as namespace:
            found = await router.stages(bench, namespace)
            rows = {"intake": found.intake, "assignment": found.assignment, "end to end": found.end_to_end}
            took = await latency(bench, namespace) if "latency" in parts else None
    if "peers" in parts:
        peers = {"stock Faust with Redis": await stock_faust(bench), "Quix Streams": await quix(bench)}
    if "takeover" in parts:
        taken = await router.takeover(bench)
    emptied = await wiped(bench) if "wiped" in parts else None
    stopped = await stops(bench) if "stops" in parts else {}
    memory_mib = await router.memory(bench) if "memory" in parts else None
    taking = await webhooks(bench) if "webhooks" in parts else None
    if taking is not None:
        rows["webhooks"] = taking.cost
    return Results(bench.sizes, rows, peers, took, taken, emptied, stopped, memory_mib, taking)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: about a minute, for a first look")
    parser.add_argument("--only", action="append", choices=PARTS, help="measure this part; may be given again")
    parser.add_argument("--json", action="store_true", default=os.environ.get("JSON") == "1", help="print JSON")
    for size in fields(Sizes):
        parser.add_argument(f"--{size.name.replace('_', '-')}", type=int, help=f"default {size.default}")
    return parser


def _sizes(options: argparse.Namespace) -> Sizes:
    given = {size.name: getattr(options, size.name) for size in fields(Sizes)}
    return replace(QUICK if options.quick else Sizes(), **{name: n for name, n in given.items() if n is not None})


if __name__ == "__main__":
    sys.exit(main())
