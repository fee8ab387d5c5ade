"""How partitions are fetched, without a broker: what aiokafka's fetcher is told before each request."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher, OffsetResetStrategy
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.errors import NotLeaderForPartitionError
from aiokafka.structs import TopicPartition

from interaction_router.adapters.kafka.consumer import PACE_BYTES, PACE_MS, REST_WAIT_MS, PacedFetcher

FIRST, SECOND = TopicPartition("t", 0), TopicPartition("t", 1)


class Cluster:
    """One broker that leads everything, as far as the client has heard."""

    def __init__(self) -> None:
        self.cluster = SimpleNamespace(leader_for_partition=lambda _place: 1, broker_metadata=lambda _node: None)
        self.asked = 0

    def force_metadata_update(self) -> None:
        self.asked += 1


def fetcher() -> tuple[Any, Any, Cluster]:  # Any: aiokafka has no types
    """Return aiokafka's fetcher before it has begun, an assignment of both partitions, and its client."""
    made: Any = object.__new__(PacedFetcher)
    client = Cluster()
    made.__dict__.update(
        _client=client,
        _records={},
        _in_flight=set(),
        _preferred_read_replica={},
        _fetcher_timeout=0.2,
        _fetch_min_bytes=1,
        _fetch_max_bytes=1,
        _max_partition_fetch_bytes=1,
        _isolation_level=0,
        _client_rack=None,
        _retry_backoff=0,
        _default_reset_strategy=OffsetResetStrategy.EARLIEST,
    )
    return made, Assignment([FIRST, SECOND]), client


def at(assignment: Any, offset: int) -> None:
    for place in assignment.tps:
        assignment.state_value(place).seek(offset)


def fetched(request: Any) -> tuple[int, int, set[int]]:
    """Return how long the broker may hold the request, the bytes that end that, and the partitions it is for."""
    places = {partition for _, places in request._topics for partition, *_ in places}
    return request._max_wait_ms, request._min_bytes, places


async def test_a_fetch_that_leaves_some_out_is_not_held_long() -> None:
    made, assignment, _ = fetcher()
    at(assignment, 7)
    ((_, request),), *_ = made._get_actions_per_node(assignment)
    assert fetched(request) == (REST_WAIT_MS, 1, {0, 1})
    made._records[FIRST] = SimpleNamespace(calculate_backoff=lambda: 0)
    ((_, request),), *_ = made._get_actions_per_node(assignment)
    assert fetched(request) == (PACE_MS, PACE_BYTES, {1})


async def test_what_flows_comes_together_and_what_comes_behind_a_rest_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made, assignment, _ = fetcher()
    at(assignment, 7)
    for has_records, expected in ((True, (PACE_MS, PACE_BYTES)), (False, (REST_WAIT_MS, 1))):

        async def answered(*_: object, answer: bool = has_records) -> bool:
            return answer

        monkeypatch.setattr(Fetcher, "_proc_fetch_request", answered)
        assert await made._proc_fetch_request(assignment, 1, None) == has_records
        ((_, request),), *_ = made._get_actions_per_node(assignment)
        assert fetched(request) == (*expected, {0, 1})


async def test_who_leads_is_asked_where_a_first_offset_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    made, assignment, client = fetcher()

    async def moved(_node: int, _places: object) -> None:
        raise NotLeaderForPartitionError

    monkeypatch.setattr(made, "_proc_offset_request", moved, raising=False)
    for place in assignment.tps:
        assignment.state_value(place).await_reset(OffsetResetStrategy.EARLIEST)
    await made._update_fetch_positions(assignment, 1, [FIRST, SECOND])
    assert client.asked == 1

    async def found(_node: int, _places: object) -> dict[TopicPartition, tuple[int, None]]:
        return {FIRST: (3, None), SECOND: (4, None)}

    monkeypatch.setattr(made, "_proc_offset_request", found, raising=False)
    await made._update_fetch_positions(assignment, 1, [FIRST, SECOND])
    assert (client.asked, assignment.state_value(SECOND).position) == (1, 4)
