"""The private names of faust-streaming and aiokafka that are overridden or used still are what they were."""

import inspect
from collections.abc import Callable

import aiokafka
import faust
import pytest
from aiokafka.consumer.fetcher import Fetcher as PartitionFetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator
from aiokafka.producer.sender import Sender
from faust.app.base import App, BootStrategy
from faust.tables.recovery import Recovery
from faust.transport.conductor import Conductor
from faust.transport.consumer import Fetcher
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, ConsumerRebalanceListener, Transport
from mode.threads import WorkerThread

from interaction_router.adapters.kafka.consumer import PacedFetcher
from interaction_router.adapters.kafka.producer import _fill
from interaction_router.adapters.kafka.shell import BatchConsumer, BatchConsumerThread, BatchTransport, StageApp
from interaction_router.ports import Outgoing


def parameters(function: Callable[..., object]) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_versions_are_the_ones_that_were_looked_into() -> None:
    assert (faust.__version__, aiokafka.__version__) == ("0.15.3", "0.14.0")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (Consumer._drain_messages, ["self", "fetcher"]),
        (Consumer._new_consumer_thread, ["self"]),
        (Consumer.perform_seek, ["self"]),
        (Consumer.verify_event_path, ["self", "now", "tp"]),
        (Consumer.on_partitions_revoked, ["self", "revoked"]),
        (Consumer.on_partitions_assigned, ["self", "assigned", "generation_id"]),
        (Consumer.on_stop, ["self"]),
        (AIOKafkaConsumerThread._create_worker_consumer, ["self", "transport"]),
        (AIOKafkaConsumerThread._ensure_consumer, ["self"]),
        (AIOKafkaConsumerThread.on_thread_stop, ["self"]),
        (WorkerThread.__init__, ["self", "service", "kwargs"]),
        (App._new_transport, ["self"]),
        (App._create_directories, ["self"]),
        (Conductor.add, ["self", "topic"]),
        (Fetcher._fetcher.fun, ["self"]),
        (PartitionFetcher._get_actions_per_node, ["self", "assignment"]),
        (PartitionFetcher._update_fetch_positions, ["self", "assignment", "node_id", "tps"]),
        (GroupCoordinator.close, ["self"]),
        (MessageAccumulator.fail_all, ["self", "exception"]),
        (Sender.close, ["self"]),
    ],
)
def test_what_is_overridden_or_called_has_its_signature(function: Callable[..., object], expected: list[str]) -> None:
    assert parameters(function) == expected


@pytest.mark.parametrize(
    ("ours", "theirs", "name"),
    [
        (BatchConsumer, Consumer, "_drain_messages"),
        (BatchConsumer, Consumer, "_new_consumer_thread"),
        (BatchConsumer, Consumer, "perform_seek"),
        (BatchConsumer, Consumer, "verify_event_path"),
        (BatchConsumer, Consumer, "on_partitions_revoked"),
        (BatchConsumer, Consumer, "on_partitions_assigned"),
        (BatchConsumer, Consumer, "on_stop"),
        (BatchConsumerThread, AIOKafkaConsumerThread, "_create_worker_consumer"),
        (BatchConsumerThread, AIOKafkaConsumerThread, "on_thread_stop"),
        (PacedFetcher, PartitionFetcher, "_get_actions_per_node"),
        (PacedFetcher, PartitionFetcher, "_proc_fetch_request"),
        (PacedFetcher, PartitionFetcher, "_update_fetch_positions"),
        (StageApp, App, "_new_transport"),
        (StageApp, App, "_create_directories"),
    ],
)
def test_an_override_takes_what_the_overridden_takes(ours: type, theirs: type, name: str) -> None:
    assert parameters(getattr(ours, name)) == parameters(getattr(theirs, name))
    assert inspect.iscoroutinefunction(getattr(ours, name)) == inspect.iscoroutinefunction(getattr(theirs, name))


@pytest.mark.parametrize("ours", [BatchConsumer, BatchConsumerThread])
def test_nothing_else_of_faust_is_overridden_by_chance(ours: type) -> None:
    meant = {
        "_drain_messages", "_new_consumer_thread", "perform_seek", "verify_event_path", "on_partitions_revoked",
        "on_partitions_assigned", "on_stop", "_create_worker_consumer", "_thread", "Worker", "on_thread_stop",
    }  # fmt: skip
    own = {name for name in vars(ours) if not name.startswith("__") and name != "_abc_impl"}
    # Faust's service class writes some of its own names into every subclass.
    inherited = {name for base in ours.__mro__[1:] for name in vars(base)} - {"logger", "label", "shortlabel", "_tasks"}
    assert own & inherited <= meant


def test_the_lanes_of_a_consumer_hide_none_of_fausts_attributes() -> None:
    assert not hasattr(Consumer, "_lanes")
    assert not any(
        hasattr(each, "leave") for each in (Consumer, AIOKafkaConsumerThread, App, aiokafka.AIOKafkaConsumer)
    )
    assert not any("self._lanes" in inspect.getsource(base) for base in Consumer.__mro__[:-1])


def test_the_calls_that_the_overrides_rely_on_are_made() -> None:
    assert "consumer._drain_messages(self)" in inspect.getsource(Fetcher._fetcher.fun)
    assert "self._create_worker_consumer(transport)" in inspect.getsource(AIOKafkaConsumerThread._create_consumer)
    assert "consumer.perform_seek()" in inspect.getsource(Recovery._resume_streams)
    assert "self._new_transport()" in inspect.getsource(App)
    assert "self._group_instance_id is None" in inspect.getsource(GroupCoordinator._maybe_leave_group)
    assert "await self._maybe_leave_group()" in inspect.getsource(GroupCoordinator.close)
    assert "thread.on_partitions_revoked" in inspect.getsource(ConsumerRebalanceListener)
    assert "self._thread.on_partitions_assigned" in inspect.getsource(ConsumerRebalanceListener)
    assert BatchTransport.Consumer is BatchConsumer
    assert Transport.Consumer is Consumer
    assert BootStrategy.enable_kafka_producer is None


def test_the_fetcher_is_made_at_the_start_and_has_what_is_set() -> None:
    assert "self._fetcher = Fetcher(" in inspect.getsource(aiokafka.AIOKafkaConsumer.start)
    source = inspect.getsource(PartitionFetcher)
    for use in ("backoff=self._prefetch_backoff", "self._fetch_max_wait_ms,", "if tp in self._records:"):
        assert use in source
    assert not hasattr(PartitionFetcher, "__slots__"), "its class can be changed"


def test_the_producer_has_what_giving_it_up_needs() -> None:
    source = inspect.getsource(aiokafka.AIOKafkaProducer.__init__)
    for name in ("self._closed", "self._sender", "self._message_accumulator", "self.client"):
        assert f"{name} = " in source
    assert "add_done_callback(self._fail_all)" in inspect.getsource(Sender.start)
    assert isinstance(Sender.sender_task, property)


@pytest.mark.parametrize("start", [0, 1])
def test_a_batch_is_filled_as_its_own_append_fills_it(start: int) -> None:
    records = [
        Outgoing(b"k", b"first", [("h", b"v")], 1_795_000_000_000),
        Outgoing(None, b"second", (), 1_795_000_000_007),
        Outgoing(b"k", None, (), 1_795_000_000_001),
        Outgoing(None, b"too much" * 20, (), 1_795_000_000_001),
        Outgoing(None, b"behind", (), 1_795_000_000_001),
    ]
    ours, theirs = (BatchBuilder(200, 0, is_transactional=0) for _ in range(2))
    for record in records[start:]:
        theirs.append(timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=list(record.headers))
    assert _fill(ours, records, start) == theirs.record_count() == ours.record_count() == 3 - start
    assert ours.append(timestamp=None, key=None, value=b"late") is None
    assert ours._build() == theirs._build()
