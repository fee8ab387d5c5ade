"""The Faust shell on a real broker: whole batches, in order, one at a time a partition, whatever happens."""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.adapters.kafka.shell import FaustShell
from interaction_router.adapters.kafka.topics import TopicAdmin, TopicPlan
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.ports import Outgoing, Received
from interaction_router.settings.model import KafkaSettings
from tests.integration.kafka_stages import STREAM, Recorder, options, read_notes, repeats
from tests.servers import Broker

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
PATIENCE_S = 40.0


@asynccontextmanager
async def topic(bootstrap: str, namespace: str, *, each: int) -> AsyncIterator[KafkaLog]:
    """Make the topic with `each` records in each partition, and return a log to write more."""
    client = client_options(KafkaSettings(bootstrap_servers=bootstrap))
    admin = TopicAdmin(client, namespace)
    await admin.start()
    await admin.apply([TopicPlan(STREAM, PARTITIONS, fixed=True, replication_factor=None, configs={})])
    await admin.stop()
    log = KafkaLog(client, namespace)
    await append(log, each)
    yield log
    await log.stop()


async def append(log: KafkaLog, each: int) -> None:
    records = [Outgoing(b"k", b"%d" % number) for number in range(each)]
    await asyncio.gather(*(log.append(STREAM, partition, records) for partition in range(PARTITIONS)))


@asynccontextmanager
async def running(shell: FaustShell) -> AsyncIterator[None]:
    """Run the shell as long as the context lasts; its failure fails the test."""
    task = asyncio.create_task(shell.run())
    try:
        yield
    finally:
        shell.stop()
        await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - also of other processes
            await asyncio.sleep(0.02)


def shell_of(broker: Broker, namespace: str, stage: Recorder, **changes: float | str) -> FaustShell:
    return FaustShell(
        options(broker.bootstrap, namespace, **changes), {"test": stage}, on_ready=lambda _role, _partitions: None
    )


async def test_batches_are_whole_and_in_order_and_bounded(broker: Broker, namespace: str) -> None:
    stage = Recorder()
    async with topic(broker.bootstrap, namespace, each=5000), running(shell_of(broker, namespace, stage)):
        await until(lambda: stage.handled() >= 5000 * PARTITIONS)
    assert repeats(stage.batches) == 0
    assert max(last - first + 1 for _, first, last in stage.batches) == 1000


async def test_a_slow_partition_holds_up_no_other(broker: Broker, namespace: str) -> None:
    free = asyncio.Event()

    async def act(partition: int, _records: Sequence[Received]) -> None:
        if partition == 0:
            await free.wait()

    stage = Recorder(act)
    async with topic(broker.bootstrap, namespace, each=1000) as log, running(shell_of(broker, namespace, stage)):
        await until(lambda: stage.handled() == 1000 * (PARTITIONS - 1))
        await append(log, 1000)
        await until(lambda: stage.handled() == 2000 * (PARTITIONS - 1))
        free.set()
        await until(lambda: stage.handled() == 2000 * PARTITIONS)
    assert repeats(stage.batches) == 0


async def test_the_stage_says_where_to_begin_and_to_go_on(broker: Broker, namespace: str) -> None:
    turned: set[int] = set()

    async def act(partition: int, _records: Sequence[Received]) -> int | None:
        if partition in turned:
            return None
        turned.add(partition)
        return 50

    stage = Recorder(act)
    stage.starts = {1: 70}
    async with topic(broker.bootstrap, namespace, each=100), running(shell_of(broker, namespace, stage)):
        await until(lambda: len(stage.batches) == 2 * PARTITIONS)
    first, second = stage.batches[:PARTITIONS], stage.batches[PARTITIONS:]
    assert sorted(first) == [(0, 0, 99), (1, 70, 99), (2, 0, 99), (3, 0, 99)]
    assert sorted(second) == [(partition, 50, 99) for partition in range(PARTITIONS)]


async def test_what_the_group_has_committed_counts_only_where_the_stage_does_not_know(
    broker: Broker, namespace: str
) -> None:
    async def act(_partition: int, _records: Sequence[Received]) -> None:
        await asyncio.sleep(0.01)

    first, second = Recorder(), Recorder(act)
    second.starts = {0: 20, 1: 0}
    async with topic(broker.bootstrap, namespace, each=100) as log:
        async with running(shell_of(broker, namespace, first)):
            await until(lambda: first.handled() == 100 * PARTITIONS)
        async with running(shell_of(broker, namespace, second, batch_records=1)):
            await append(log, 20)
            await until(lambda: second.handled() >= 100 + 120 + 20 + 20)
    for partition, start in ((0, 20), (1, 0), (2, 100), (3, 100)):
        assert [batch.first for batch in second.batches if batch.partition == partition] == list(range(start, 120))


async def test_a_retryable_error_is_tried_again_and_told_once(
    broker: Broker, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []

    async def act(partition: int, _records: Sequence[Received]) -> None:
        tries.append(partition)
        if tries.count(partition) <= 3:
            raise RetryableError("tables_away", "The tables do not answer.")

    stage = Recorder(act)
    caplog.set_level(logging.WARNING, "interaction_router")
    async with topic(broker.bootstrap, namespace, each=10), running(shell_of(broker, namespace, stage)):
        await until(lambda: stage.handled() == 10 * PARTITIONS)
    assert repeats(stage.batches) == 0
    told = [record.getMessage() for record in caplog.records if record.getMessage() in ("waiting", "goes_on")]
    assert told[0] == "waiting"
    assert told[-1] == "goes_on"
    assert told.count("waiting") == told.count("goes_on") < PARTITIONS


async def test_any_other_exception_ends_the_shell(broker: Broker, namespace: str) -> None:
    async def act(_partition: int, _records: Sequence[Received]) -> None:
        raise ZeroDivisionError

    async with topic(broker.bootstrap, namespace, each=1):
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(shell_of(broker, namespace, Recorder(act)).run(), PATIENCE_S)


async def test_standing_still_ends_the_shell(broker: Broker, namespace: str) -> None:
    async def act(partition: int, _records: Sequence[Received]) -> None:
        await asyncio.sleep(PATIENCE_S if partition == 2 else 0)

    async with topic(broker.bootstrap, namespace, each=1):
        with pytest.raises(FatalError) as caught:
            await asyncio.wait_for(shell_of(broker, namespace, Recorder(act), stall_limit_s=1.0).run(), PATIENCE_S)
    assert caught.value.code == "worker_stalled"
    assert f"{STREAM}:2" in caught.value.cause


async def test_partitions_with_nothing_to_read_at_their_end_do_not_stand_still(
    broker: Broker, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is empty and never committed; the others end with the mark of a transaction, which nobody is handed."""
    monkeypatch.setattr("interaction_router.adapters.kafka.shell.CHECK_EVERY_S", 0.0)
    stage = Recorder()
    async with topic(broker.bootstrap, namespace, each=0):
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, transactional_id=namespace)
        async with producer, producer.transaction():
            for partition in range(1, PARTITIONS):
                await producer.send_and_wait(f"{namespace}.{STREAM}", b"v", partition=partition)
        shell = shell_of(broker, namespace, stage, stall_limit_s=1.0)
        async with running(shell):
            await until(lambda: stage.handled() == PARTITIONS - 1)
            await asyncio.sleep(5)
            extents = {(state.position, state.end) for state in await shell.states()}
    assert extents == {(0, 0), (2, 2)}


async def test_a_stop_finishes_and_commits(broker: Broker, namespace: str) -> None:
    async def act(_partition: int, _records: Sequence[Received]) -> None:
        await asyncio.sleep(0.3)

    stage = Recorder(act)
    async with topic(broker.bootstrap, namespace, each=2000) as log:
        async with running(shell_of(broker, namespace, stage, batch_records=100)):
            await until(lambda: len(stage.running) == PARTITIONS and stage.handled() > 0)
        assert not stage.running
        assert sorted(set(stage.forgotten)) == list(range(PARTITIONS))
        following = Recorder()
        async with running(shell_of(broker, namespace, following)):
            await append(log, 10)
            await until(lambda: stage.handled() + following.handled() >= 2010 * PARTITIONS)
    assert repeats([*stage.batches, *following.batches]) == 0


async def test_a_result_after_the_revoke_counts_for_nothing(
    broker: Broker, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interaction_router.adapters.kafka.lanes.FINISH_S", 0.2)
    held = asyncio.Event()

    async def act(_partition: int, _records: Sequence[Received]) -> None:
        await held.wait()

    slow, quick = Recorder(act), Recorder()
    async with (
        topic(broker.bootstrap, namespace, each=100),
        running(shell_of(broker, namespace, slow)),
    ):
        await until(lambda: len(slow.running) == PARTITIONS)
        async with running(shell_of(broker, namespace, quick)):
            await until(lambda: quick.handled() == 100 * PARTITIONS // 2)
            taken = {batch.partition for batch in quick.batches}
            held.set()
            await until(lambda: len({batch.partition for batch in slow.batches} - taken) == PARTITIONS // 2)
            await asyncio.sleep(0.3)
    left = [batch for batch in slow.batches if batch.partition not in taken]
    # What the slow one kept was begun anew with its new assignment, behind the call that counted for nothing.
    assert sorted(left)[::2] == sorted(left)[1::2]
    assert repeats(quick.batches) == 0


async def test_rebalances_under_load_lose_nothing(broker: Broker, namespace: str) -> None:
    async def act(_partition: int, _records: Sequence[Received]) -> None:
        await asyncio.sleep(0.01)

    stages = [Recorder(act), Recorder(act)]
    in_order: list[tuple[int, int, int]] = []
    for stage in stages:
        stage.batches = in_order  # type: ignore[assignment]  # one list for both: the order over both is the point
    async with (
        topic(broker.bootstrap, namespace, each=4000) as log,
        running(shell_of(broker, namespace, stages[0], batch_records=50)),
    ):
        await until(lambda: len(in_order) > 20)
        for _ in range(2):
            async with running(shell_of(broker, namespace, stages[1], batch_records=50)):
                await append(log, 500)
                await asyncio.sleep(2)
        await until(lambda: sum(1 + last - first for _, first, last in set(in_order)) >= 5000 * PARTITIONS)
    assert repeats(stages[0].batches) == 0, "batches under way at a rebalance are finished and committed"
    assert len(stages[1].forgotten) > 0


NAMED: Mapping[str, float | str] = {"session_timeout_ms": 60_000}
"""A session that lasts for longer than any test waits."""


async def test_a_stopped_member_gives_its_partitions_to_others_also_where_it_has_a_name(
    broker: Broker, namespace: str
) -> None:
    first, second = Recorder(), Recorder()
    async with (
        topic(broker.bootstrap, namespace, each=10) as log,
        running(shell_of(broker, namespace, first, group_instance_id="first", **NAMED)),
    ):
        await until(lambda: first.handled() == 10 * PARTITIONS)
        async with running(shell_of(broker, namespace, second, group_instance_id="second", **NAMED)):
            await until(lambda: len(first.forgotten) > PARTITIONS)
            await append(log, 10)
            await until(lambda: first.handled() + second.handled() == 20 * PARTITIONS)
            assert second.batches
        await append(log, 10)
        await until(lambda: first.handled() + second.handled() == 30 * PARTITIONS)


async def test_a_stopped_member_that_keeps_its_name_finds_its_partitions_where_they_were(
    broker: Broker, namespace: str
) -> None:
    first, second, again = Recorder(), Recorder(), Recorder()
    keeping: dict[str, float | str] = {**NAMED, "group_instance_id": "second", "leave_at_stop": False}
    async with (
        topic(broker.bootstrap, namespace, each=10) as log,
        running(shell_of(broker, namespace, first, group_instance_id="first", **NAMED)),
    ):
        await until(lambda: first.handled() == 10 * PARTITIONS)
        async with running(shell_of(broker, namespace, second, **keeping)):
            await until(lambda: len(first.forgotten) > PARTITIONS)
            await append(log, 10)
            await until(lambda: first.handled() + second.handled() == 20 * PARTITIONS)
        moved = len(first.forgotten)
        async with running(shell_of(broker, namespace, again, **keeping)):
            await append(log, 10)
            await until(lambda: first.handled() + second.handled() + again.handled() == 30 * PARTITIONS)
            assert {batch.partition for batch in again.batches} == {batch.partition for batch in second.batches}
            assert len(first.forgotten) == moved


async def test_two_roles_in_one_process_are_two_groups(broker: Broker, namespace: str) -> None:
    first, second = Recorder(), Recorder()
    ready: dict[str, int] = {}
    async with topic(broker.bootstrap, namespace, each=100):
        shell = FaustShell(
            options(broker.bootstrap, namespace), {"intake": first, "assignment": second}, on_ready=ready.__setitem__
        )
        async with running(shell):
            await until(lambda: first.handled() == second.handled() == 100 * PARTITIONS)
    assert ready == {"intake": PARTITIONS, "assignment": PARTITIONS}


async def test_a_broker_that_comes_back_finds_everything_going_on(mortal_broker: Broker, namespace: str) -> None:
    stage = Recorder()
    async with (
        topic(mortal_broker.bootstrap, namespace, each=500) as log,
        running(shell_of(mortal_broker, namespace, stage)),
    ):
        await until(lambda: stage.handled() == 500 * PARTITIONS)
        mortal_broker.kill()
        await asyncio.sleep(2)
        await asyncio.to_thread(mortal_broker.start)
        async with asyncio.timeout(PATIENCE_S):
            for partition in range(PARTITIONS):
                while True:
                    with suppress(RetryableError):
                        await log.append(STREAM, partition, [Outgoing(b"k", b"v")] * 500)
                        break
                    await asyncio.sleep(0.2)
        await until(
            lambda: (
                len({(p, o) for p, first, last in stage.batches for o in range(first, last + 1)}) >= 1000 * PARTITIONS
            )
        )
    repeats(stage.batches)


@asynccontextmanager
async def worker(broker: Broker, namespace: str, notes: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the recording program and wait until it has its partitions."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.kafka_stages", broker.bootstrap, namespace, str(notes),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert program.stdout is not None
    try:
        line = await asyncio.wait_for(program.stdout.readline(), PATIENCE_S)
        assert line == b"ready test 4\n"
        yield program
    finally:
        if program.returncode is None:
            program.kill()
        await program.wait()


async def test_a_killed_worker_is_followed_from_what_it_had_committed(
    broker: Broker, namespace: str, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    async with topic(broker.bootstrap, namespace, each=3000):
        for lines in (100, 200):
            async with worker(broker, namespace, notes) as program:
                await until(lambda lines=lines: len(read_notes(notes)) > lines)  # type: ignore[misc]
                program.kill()
        async with worker(broker, namespace, notes):
            await until(lambda: {(p, last) for p, _, last in read_notes(notes)} >= {(p, 2999) for p in range(4)})
    # At least once: what was done since the last commit, a second of work, comes again, and no more.
    assert 0 < repeats(read_notes(notes)) < 2 * 2 * PARTITIONS * 50 * 50


async def test_sigterm_ends_it_at_once_with_nothing_to_repeat(broker: Broker, namespace: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    async with topic(broker.bootstrap, namespace, each=3000):
        async with worker(broker, namespace, notes) as program:
            await until(lambda: len(read_notes(notes)) > 20)
            began = time.monotonic()
            program.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(program.wait(), 10) == 0
            assert time.monotonic() - began < 10
        async with worker(broker, namespace, notes):
            await until(lambda: {(p, last) for p, _, last in read_notes(notes)} >= {(p, 2999) for p in range(4)})
    assert repeats(read_notes(notes)) == 0


async def test_sigterm_ends_it_also_where_the_broker_says_nothing(
    broker: Broker, namespace: str, tmp_path: Path
) -> None:
    """It leaves the group without being heard: a member that is not heard of is gone by itself."""
    async with topic(broker.bootstrap, namespace, each=1), worker(broker, namespace, tmp_path / "notes") as program:
        broker.pause()
        try:
            program.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(program.wait(), 10) == 0
        finally:
            broker.resume()
