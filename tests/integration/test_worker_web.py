"""A worker on real servers as its operators see it: probes, metrics, logs, traces."""

import socket
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import orjson
from prometheus_client.parser import text_string_to_metric_families

from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.ports import Outgoing
from tests.integration.running import Running, saved, sms, until, updates
from tests.servers import Broker, RedisServer

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PERSONAL = ("821234567", "823334444", "ann@", "Ann", "hello")


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


def get(port: int, path: str) -> tuple[int, str]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def metrics(port: int) -> dict[tuple[str, str], float]:
    """Return the sum of each metric's values by the first label that tells what is counted."""
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(get(port, "/metrics")[1]):
        for sample in family.samples:
            labels = sample.labels
            key = next((labels[name] for name in ("rule", "code", "result", "stage", "call") if name in labels), "")
            found[sample.name, key] = found.get((sample.name, key), 0) + sample.value
    return found


async def test_a_worker_is_watched(broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path) -> None:
    """Ready after its takeovers; what it does is counted; its log has events and ids and nobody's address."""
    port = free_port()
    running = Running(
        bootstrap=broker.bootstrap,
        redis_url=redis_server.url,
        namespace=namespace,
        folder=tmp_path,
        WORKER__WEB_PORT=str(port),
        LOG__FORMAT="json",
        LOG__LEVEL="debug",
    )
    await running.apply_topics()
    log = running.log()
    worker = running.worker()
    try:
        await worker.ready()
        assert get(port, "/readyz")[0] == 200
        assert get(port, "/livez")[0] == 200
        assert metrics(port)["interaction_router_takeovers_total", "done"] == 8
        traced = sms("SM1")._replace(headers=[("traceparent", TRACE)])
        refused = [Outgoing(b"k", b'{"from": "082 333 4444"'), sms("SM2", sender="", occurred_at="yesterday")]
        await log.append("interactions.sms.v1", 0, [traced, sms("SM1"), *refused])
        await log.append("contacts.v1", 0, [saved("c1", "+27821234567", "ann@example.com")])
        await _until_updates(log, 3)

        async def all_done() -> bool:
            return metrics(port)["interaction_router_lag_records", "intake"] == 0

        await until(all_done)
        told = metrics(port)
        assert told["interaction_router_decisions_total", "opened_unlinked"] == 1
        assert told["interaction_router_decisions_total", "saved"] >= 1
        assert told["interaction_router_dead_letters_total", "malformed_json"] == 1
        assert told["interaction_router_dead_letters_total", "schema_invalid"] == 1
        assert told["interaction_router_batch_records_sum", "intake"] == 5
        assert told["interaction_router_partitions", "assignment"] == 8
        assert told["interaction_router_cache_rows", ""] > 0
        assert told["interaction_router_redis_seconds_count", "apply"] > 0
        assert told["interaction_router_kafka_seconds_count", "append"] > 0
        assert told["interaction_router_lag_records", "assignment"] == 0
        await _every_update_of_the_interaction_has_the_trace(log)
        assert worker.stop() == 0
    finally:
        worker.kill()
        await log.stop()
    _the_log_has_events_and_nobodys_data(worker.errors)


async def _until_updates(log: KafkaLog, count: int) -> None:
    async def there() -> bool:
        return len(await updates(log)) == count

    await until(there)


async def _every_update_of_the_interaction_has_the_trace(log: KafkaLog) -> None:
    traces = []
    for partition in range(await log.partitions("conversations.v1")):
        for record in await log.read("conversations.v1", partition, 0):
            caused = orjson.loads(record.value or b"{}")["cause"]["topic"].endswith("interactions.sms.v1")
            traces += [dict(record.headers).get("traceparent")] if caused else []
    assert traces == [TRACE, TRACE]


def _the_log_has_events_and_nobodys_data(errors: Path) -> None:
    text = errors.read_text()
    assert not [word for word in PERSONAL if word in text]
    lines = [line for line in text.splitlines() if not line.startswith("ready partitions=")]
    events = [orjson.loads(line) for line in lines]
    taken = sorted(event["partition"] for event in events if event["event"] == "takeover")
    assert taken == list(range(8))
    assert all({"at_ms", "level", "logger", "event"} <= event.keys() for event in events)


async def test_a_port_that_is_taken_ends_a_worker_with_a_line_that_names_the_setting(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        running = Running(
            bootstrap=broker.bootstrap,
            redis_url=redis_server.url,
            namespace=namespace,
            folder=tmp_path,
            WORKER__WEB_PORT=port,
        )
        await running.apply_topics()
        worker = running.worker()
        assert worker.process.wait(timeout=30) == 69
    (line,) = worker.errors.read_text().splitlines()
    assert line.startswith("error: web_port_taken: ")
    assert "worker.web_port" in line
