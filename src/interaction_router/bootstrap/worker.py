"""The router on Kafka and Redis, with its probes and meters."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress

from prometheus_client import CollectorRegistry

from interaction_router.adapters.clock import SystemClock
from interaction_router.adapters.kafka.client import client_options, milliseconds
from interaction_router.adapters.kafka.shell import FaustShell, ShellOptions
from interaction_router.adapters.kafka.topics import check_topics
from interaction_router.adapters.measured import MeasuredLog, MeasuredStage, MeasuredTables
from interaction_router.adapters.probes import Probes, serving
from interaction_router.adapters.prometheus import Meters
from interaction_router.bootstrap.observing import observer_of
from interaction_router.bootstrap.router import Role, build_router, every
from interaction_router.bootstrap.storage import kafka_log, redis_tables
from interaction_router.settings import Settings

_PULSE_EVERY_S = 0.5


async def run_worker(settings: Settings, roles: Sequence[Role], *, ready: Callable[[int], None]) -> None:
    """Run the stages of these roles on Kafka and Redis until cancelled; then finish what is under way.

    `ready` hears how many partitions the worker has, once each of its roles has been given its own and has taken them
    over.
    """
    had: dict[str, int] = {}

    def on_ready(role: str, partitions: int) -> None:
        first = role not in had
        had[role] = partitions
        if first and len(had) == len(roles):
            ready(had.get("assignment", partitions))

    meters, watch, clock = Meters(CollectorRegistry()), time.perf_counter, SystemClock()
    async with kafka_log(settings) as log, redis_tables(settings) as tables:
        await check_topics(log, settings.channels)
        measured = MeasuredLog(log, meters, watch), MeasuredTables(tables, meters, watch)
        observer = observer_of(settings, meters)
        router = await build_router(settings, *measured, clock, observer)
        stages = {role: MeasuredStage(stage, role, meters, watch) for role, stage in router.stages(roles).items()}
        shell = FaustShell(_shell_options(settings), stages, on_ready=on_ready, observer=observer)
        probes = Probes(shell, meters, clock, stall_limit_s=settings.worker.stall_limit.total_seconds())
        with serving(settings.worker, probes.pages()):
            await _run_shell(shell, router.run_timers(roles), every(_PULSE_EVERY_S, probes.pulse))


def _shell_options(settings: Settings) -> ShellOptions:
    kafka = settings.kafka
    return ShellOptions(
        client=client_options(kafka),
        namespace=settings.namespace,
        inputs=settings.inputs_namespace,
        session_timeout_ms=milliseconds(kafka.session_timeout),
        heartbeat_interval_ms=milliseconds(kafka.heartbeat_interval),
        group_instance_id=kafka.group_instance_id,
        leave_at_stop=kafka.leave_at_stop,
        batch_records=settings.worker.batch_records,
        stall_limit_s=settings.worker.stall_limit.total_seconds(),
    )


async def _run_shell(shell: FaustShell, *timers: Coroutine[None, None, None]) -> None:
    """Run the shell until it ends or this is cancelled; a timer that ends, ends the shell."""
    beside = [asyncio.create_task(timer, name="timers") for timer in timers]
    for task in beside:
        task.add_done_callback(lambda task: None if task.cancelled() else shell.stop())
    running = asyncio.create_task(shell.run(), name="shell")
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        shell.stop()
        await running
    finally:
        for task in beside:
            task.cancel()
    for task in beside:
        with suppress(asyncio.CancelledError):
            await task
