"""The table of a run, for people and as JSON."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.bench import Sizes
from tests.benchmarks.latency import Latency
from tests.benchmarks.measuring import Cost
from tests.benchmarks.router import CACHE_ROWS, Takeover
from tests.benchmarks.stops import Stops
from tests.benchmarks.webhooks import Webhooks
from tests.benchmarks.wiped import Wiped

OURS = "assignment"


@dataclass(frozen=True, slots=True)
class Results:
    """What was measured; what was left out is None or missing."""

    sizes: Sizes
    rows: Mapping[str, Cost]
    peers: Mapping[str, Cost]
    latency: Latency | None
    takeover: Takeover | None
    wiped: Wiped | None
    stops: Mapping[str, Stops]
    memory_mib: float | None
    webhooks: Webhooks | None


def as_json(results: Results) -> dict[str, Any]:  # Any: JSON
    """Return everything, with units in the names."""
    return {
        "machine": _machine(),
        "sizes": asdict(results.sizes),
        "rows": {name: _fields(cost) for name, cost in {**results.rows, **results.peers}.items()},
        "ratios": _ratios(results),
        "latency": None if results.latency is None else asdict(results.latency),
        "takeover": None if results.takeover is None else asdict(results.takeover),
        "wiped": None if results.wiped is None else asdict(results.wiped),
        "stops": {kind: asdict(each) for kind, each in results.stops.items()},
        "memory_mib": results.memory_mib,
        "webhooks": None
        if results.webhooks is None
        else {"p50_ms": results.webhooks.p50_ms, "p99_ms": results.webhooks.p99_ms},
    }


def show(results: Results, console: Console) -> None:
    """Print the table, the ratios and the single values."""
    machine = _machine()
    table = Table(title=f"{machine['cores']} cores, Python {machine['python']}, load {machine['load']:.1f} at the end")
    table.add_column("row", no_wrap=True)
    for column in ("records", "records/s", "CPU µs/record", "broker µs", "Redis µs", "peak RSS MiB", "others %"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, cost in {**results.rows, **results.peers}.items():
        cells = (cost.records, cost.per_second, cost.worker_us, cost.broker_us, cost.redis_us, cost.peak_rss_mib)
        others = f"{cost.others_share:.0%}"
        table.add_row(name, f"{cells[0]:,}", f"{cells[1]:,.0f}", *(f"{cell:,.1f}" for cell in cells[2:]), others)
    console.print(table)
    for peer, ratio in _ratios(results).items():
        text = f"{ratio['records_per_second']:.1f} × its records/s, {ratio['cpu']:.1f} × less CPU a record"
        console.print(f"{OURS} against {peer}: {text}")
    for line in _single_values(results):
        console.print(line)


def _single_values(results: Results) -> list[str]:
    lines = []
    sizes, latency, takeover = results.sizes, results.latency, results.takeover
    if latency is not None:
        found = f"p50 {latency.p50_ms:.0f} ms, p99 {latency.p99_ms:.0f} ms"
        lines.append(f"raw record to update at {sizes.latency_rate:,}/s for {sizes.latency_s} s: {found}")
    if takeover is not None:
        of = f"{sizes.takeover_contacts:,} contacts, {takeover.outcomes:,} outcomes, Redis empty"
        lines.append(f"takeover of a partition ({of}): {takeover.folded_s:.1f} s")
        lines.append(f"start of a worker to ready: {takeover.ready_s:.1f} s")
    if (wiped := results.wiped) is not None:
        of = f"{sizes.wiped_contacts:,} contacts, two workers, 8 partitions, under load"
        lines.append(f"Redis wiped ({of}) to the first update of a partition behind it, p50 and the longest:")
        lines.append(
            f"  all {wiped.outcomes:,} outcomes folded: {wiped.folded_p50_s:.1f} s, {wiped.folded_max_s:.1f} s"
        )
        snapshot = f"from a snapshot and {wiped.tail:,} outcomes behind it"
        lines.append(f"  {snapshot}: {wiped.restored_p50_s:.1f} s, {wiped.restored_max_s:.1f} s")
        lines.append(f"  to take that snapshot: {wiped.snapshot_s:.1f} s")
    for kind, stops in results.stops.items():
        found = (
            f"p50 {stops.p50_s:.2f} s, the longest {stops.max_s:.2f} s (of all partitions p50 {stops.all_p50_s:.2f} s)"
        )
        lines.append(
            f"a partition without an update at one of {stops.stops} stops of a {kind} member, under load: {found}"
        )
    if results.memory_mib is not None:
        of = f"{sizes.memory_contacts:,} contacts behind a cache of {CACHE_ROWS:,} rows"
        lines.append(f"peak RSS of an assignment worker ({of}): {results.memory_mib:.0f} MiB")
    if results.webhooks is not None:
        found = f"p50 {results.webhooks.p50_ms:.0f} ms, p99 {results.webhooks.p99_ms:.0f} ms"
        lines.append(f"a webhook to its answer at {sizes.webhook_rate:,}/s for {sizes.webhook_s} s: {found}")
    return lines


def _ratios(results: Results) -> dict[str, dict[str, float]]:
    ours = results.rows.get(OURS)
    if ours is None:
        return {}
    return {
        name: {"records_per_second": ours.per_second / peer.per_second, "cpu": peer.worker_us / ours.worker_us}
        for name, peer in results.peers.items()
    }


def _fields(cost: Cost) -> dict[str, float]:
    return {
        "records": cost.records,
        "seconds": cost.seconds,
        "records_per_second": cost.per_second,
        "cpu_us_per_record": cost.worker_us,
        "broker_cpu_us_per_record": cost.broker_us,
        "redis_cpu_us_per_record": cost.redis_us,
        "peak_rss_mib": cost.peak_rss_mib,
        "others_share": cost.others_share,
    }


def _machine() -> dict[str, Any]:  # Any: JSON
    cores = os.cpu_count() or 0
    return {"cores": cores, "python": platform.python_version(), "load": os.getloadavg()[0]}
