"""The nouns on a real broker and a real Valkey, with a worker beside them."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.topics import TopicAdmin, plan
from interaction_router.cli.app import run
from interaction_router.cli.invocation import Invocation
from interaction_router.ports import Outgoing
from tests.e2e.embedded import Ran, saved, sms
from tests.integration.running import Running
from tests.servers import Broker, RedisServer

T = ("--tenant", "acme")
Program = Callable[..., Ran]


@pytest.fixture
def running(broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path) -> Running:
    return Running(
        bootstrap=broker.bootstrap,
        redis_url=redis_server.url,
        namespace=namespace,
        folder=tmp_path,
        TOPICS__PARTITIONS="3",
    )


@pytest.fixture
def program(running: Running, capsys: pytest.CaptureFixture[str]) -> Program:
    def call(*args: str, **more: str) -> Ran:
        code = run(args, Invocation(env={**running.env, **more}))
        return Ran(code, *capsys.readouterr())

    return call


@pytest.fixture
def working(running: Running) -> Iterator[Running]:
    asyncio.run(running.apply_topics())
    worker = running.worker()
    asyncio.run(worker.ready())
    yield running
    worker.stop()


def feed(running: Running, *records: tuple[str, object]) -> None:
    async def append() -> None:
        log = running.log()
        try:
            for stream, fields in records:
                await log.append(stream, 0, [Outgoing(None, json.dumps(fields).encode())])
        finally:
            await log.stop()

    asyncio.run(append())


def test_a_contact_is_saved_its_conversation_listed_shown_and_closed(program: Program, working: Running) -> None:
    ran = program("contacts", "save", "c1", *T, "--address", "082 123 4567", "--wait", "20")
    assert ran.code == 0, ran.err
    assert program("contacts", "show", "c1", *T, "--json").json["addresses"] == ["tel:+27821234567"]
    feed(working, sms("1", "+27821234567"))
    followed = program("contacts", "save", "c1", *T, "--address", "082 123 4567", "--wait", "20")
    assert followed.code == 0, followed.err
    (row,) = until_rows(program)
    shown = program("conversations", "show", row["conversation_id"], "--json").json
    assert [step["update"]["seq"] for step in shown["timeline"]] == [1, 2]
    closed = program("conversations", "close", row["conversation_id"], "--json", "--wait", "20")
    assert [update["seq"] for update in closed.json["updates"]] == [3]
    again = program("conversations", "close", row["conversation_id"], "--wait", "20")
    assert (again.code, again.err.split()[1]) == (1, "conversation_closed:")
    tailed = program("tail", "--from-beginning", "--no-follow", "--json").lines
    assert [update["seq"] for update in tailed] == [1, 2, 3]
    (letter,) = program("tail", "dlq", "--from-beginning", "--no-follow", "--json").lines
    assert letter["dlq_code"] == "conversation_closed"
    assert program("agents", "set", "x", *T, "--channel", "sms").code == 0
    assert program("agents", "list", "--json").json[0]["agent_id"] == "x"


def until_rows(program: Program) -> list[dict[str, str]]:
    for _ in range(100):
        rows: list[dict[str, str]] = program("conversations", "list", *T, "--contact", "c1", "--json").json
        if rows and rows[0]["interaction_count"]:
            return rows
    return []


def test_without_a_worker_a_request_stands_and_is_said_to(program: Program, running: Running) -> None:
    asyncio.run(running.apply_topics())
    ran = program("contacts", "save", "c1", *T, "--no-addresses", "--wait", "0.5")
    assert (ran.code, ran.err.split()[1]) == (69, "request_unanswered:")
    assert program("contacts", "delete", "c1", *T, "--wait", "0").code == 0


def test_doctor_finds_a_working_router_well(program: Program, working: Running) -> None:
    feed(working, saved("c1", "+27821234567"))
    ran = program("doctor", "--json")
    assert ran.code == 0, ran.out
    verdicts = {row["subject"]: row["verdict"] for row in ran.json}
    assert verdicts["kafka topics"] == "ok"
    assert verdicts["kafka permissions"] == "ok"
    assert verdicts["kafka broker 1"] == "ok"
    namespace = working.settings.namespace
    assert verdicts[f"group {namespace}-intake"] == verdicts[f"group {namespace}-assignment"] == "ok"
    assert verdicts["clock of Redis"] == verdicts["clock against the log"] == "ok"
    assert verdicts["clock of Kafka's controller"] == verdicts["kafka version"] == "ok"
    (persistence,) = [row for row in ran.json if row["subject"] == "redis persistence"]
    assert (persistence["verdict"], persistence["code"]) == ("ok", None)
    assert "folded from Kafka again" in persistence["found"]


def test_doctor_names_what_is_missing(program: Program, running: Running) -> None:
    ran = program("doctor", "--json")
    assert ran.code == 1
    by_subject = {row["subject"]: row for row in ran.json}
    assert by_subject["kafka topics missing"]["advice"] == "Run `interaction-router topics apply`."
    assert by_subject[f"group {running.settings.namespace}-intake"]["verdict"] == "warn"
    assert "topics apply" in program("doctor").out


def test_doctor_looks_at_the_inputs_of_another_router(program: Program, running: Running) -> None:
    """A namespace that there is not, written wrongly perhaps, and one with other settings of its own."""
    asyncio.run(running.apply_topics())
    namespace = running.settings.namespace
    elsewhere = f"{namespace}x"
    lost = {
        row["subject"]: row for row in program("doctor", "--json", INTERACTION_ROUTER_INPUTS_NAMESPACE=elsewhere).json
    }
    assert (lost["kafka inputs missing"]["verdict"], lost["kafka inputs missing"]["code"]) == ("fail", "topic_missing")
    assert (
        f"of {elsewhere}: agents.v1, commands.v1, contacts.v1, interactions.chat.v1"
        in lost["kafka inputs missing"]["found"]
    )
    assert "`inputs_namespace`" in lost["kafka inputs missing"]["advice"]
    other = {"INTERACTION_ROUTER_NAMESPACE": elsewhere, "INTERACTION_ROUTER_INPUTS_NAMESPACE": namespace}
    assert program("topics", "apply", **other).code == 0
    found = program("doctor", "--json", INTERACTION_ROUTER_TOPICS__INPUT_RETENTION="3600", **other)
    assert found.code == 0, found.out
    rows = {row["subject"]: row for row in found.json}
    assert (rows["kafka inputs"]["verdict"], rows["kafka topics"]["verdict"]) == ("ok", "ok")
    assert rows["kafka permissions"]["found"] == "describe, read and write on 15 topics"


@pytest.mark.parametrize("topic", ["conversations.v1", "interactions.fax.v1", "internal.log"])
def test_updates_are_replayed_into_no_other_router(program: Program, running: Running, topic: str) -> None:
    asyncio.run(running.apply_topics())
    second = {"INTERACTION_ROUTER_NAMESPACE": f"{running.settings.namespace}.second"}
    of_the_first = program(
        "replay", "updates", "--to", f"{running.settings.namespace}.{topic}", "--create", "--yes", **second
    )
    assert (of_the_first.code, of_the_first.err.split()[1]) == (1, "target_refused:")
    inputs = {"INTERACTION_ROUTER_INPUTS_NAMESPACE": "gone"}
    of_its_inputs = program("replay", "updates", "--to", f"gone.{topic}", "--create", "--yes", **second, **inputs)
    assert (of_its_inputs.code, of_its_inputs.err.split()[1]) == (1, "target_refused:")


def test_doctor_fails_a_log_that_is_stamped_by_who_writes(program: Program, running: Running) -> None:
    asyncio.run(running.apply_topics())
    asyncio.run(
        _configure(running, "internal.log", {"message.timestamp.type": "CreateTime", "retention.ms": "3600000"})
    )
    ran = program("doctor", "--json")
    assert ran.code == 1
    rows = {row["code"]: row for row in ran.json if row["subject"] == "kafka topic internal.log"}
    assert set(rows) == {"topic_timestamps", "topic_retention"}
    assert {row["advice"] for row in rows.values()} == {"Run `interaction-router topics apply`."}


async def _configure(running: Running, stream: str, configs: dict[str, str]) -> None:
    settings = running.settings
    admin = TopicAdmin(client_options(settings.kafka), settings.namespace)
    await admin.start()
    try:
        plans = plan(settings.topics, settings.channels)
        await admin.apply([replace(each, configs=configs) for each in plans if each.stream == stream])
    finally:
        await admin.stop()


def test_doctor_fails_a_redis_that_evicts(program: Program, redis_server: RedisServer, running: Running) -> None:
    asyncio.run(running.apply_topics())
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            ran = program("doctor", "--json")
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert ran.code == 1
    (row,) = [row for row in ran.json if row["subject"] == "redis"]
    assert (row["verdict"], row["code"], "noeviction" in row["advice"]) == ("fail", "redis_eviction", True)
    assert "redis persistence" in {each["subject"] for each in ran.json}


def test_doctor_tells_which_server_is_away(program: Program) -> None:
    ran = program("doctor", "--json", INTERACTION_ROUTER_REDIS__URL="redis://127.0.0.1:1/0")
    assert ran.code == 69
    verdicts = {row["subject"]: row["verdict"] for row in ran.json}
    assert (verdicts["redis"], verdicts["kafka"]) == ("away", "ok")
    ran = program("doctor", "--json", INTERACTION_ROUTER_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert ran.code == 69
    verdicts = {row["subject"]: row["verdict"] for row in ran.json}
    assert (verdicts["redis"], verdicts["kafka"]) == ("ok", "away")
    assert "kafka.bootstrap_servers" in ran.json[0]["advice"]
