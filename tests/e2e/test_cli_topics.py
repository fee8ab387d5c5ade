"""`topics`: on embedded storage, and on a real broker."""

import asyncio
import json

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from interaction_router.cli.app import run
from interaction_router.cli.invocation import Invocation
from tests.e2e.embedded import Program, Ran, saved, sms
from tests.servers import Broker

THREE = {"INTERACTION_ROUTER_TOPICS__PARTITIONS": "3"}


def test_apply_makes_storage_that_a_router_takes(program: Program) -> None:
    dry = program("topics", "apply", "--dry-run", env=THREE)
    assert (dry.code, dry.err.split()[1]) == (1, "embedded_missing:")
    ran = program("topics", "apply", env=THREE)
    assert ran.code == 0
    assert "create router.internal.log with 3 partitions" in ran.out
    assert len(ran.out.splitlines()) == 15
    assert program("topics", "apply", env=THREE) == (0, "", "every topic is as it should be\n")
    program.feed(saved("c1", "+27821234567"), sms("1", "+27821234567"))
    assert len(program("conversations", "list", "--tenant", "acme", "--json").json) == 1


def test_a_folder_that_cannot_be_made_is_told_in_one_line(program: Program) -> None:
    program.data.write_text("no folder")
    program.data /= "storage"
    for command in (("topics", "apply"), ("demo", "--seconds", "2")):
        ran = program(*command)
        assert (ran.code, ran.err.split()[1], ran.err.count("\n")) == (1, "embedded_unusable:", 1)


def test_differences_are_faults(program: Program) -> None:
    program.feed()
    assert program("topics", "diff", env=THREE) == (0, "", "every topic is as it should be\n")
    assert program("topics", "check", env=THREE).code == 0
    five = {"INTERACTION_ROUTER_TOPICS__PARTITIONS": "5"}
    differing = program("topics", "diff", "--json", env=five)
    assert differing.code == 1
    by_topic = {row["topic"]: row for row in differing.json}
    assert by_topic["router.contacts.v1"]["mendable"] is True
    assert by_topic["router.internal.log"]["mendable"] is False
    assert program("topics", "check", env=five).code == 1
    applied = program("topics", "apply", "--json", env=five)
    assert applied.code == 1
    assert {row["topic"] for row in applied.json["refused"]} == {
        f"router.{stream}"
        for stream in (
            "conversations.v1",
            "conversations.state.v1",
            "dlq.v1",
            "internal.log",
            "internal.outcomes",
            "internal.snapshots",
            "internal.dlq.handled",
        )
    }
    assert {row["topic"] for row in program("topics", "diff", "--json", env=five).json} == {
        row["topic"] for row in applied.json["refused"]
    }


def test_real_topics_are_created_compared_and_mended(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    env = {
        "INTERACTION_ROUTER_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
        "INTERACTION_ROUTER_NAMESPACE": namespace,
        "INTERACTION_ROUTER_TOPICS__PARTITIONS": "2",
        "INTERACTION_ROUTER_CHANNELS": '["sms"]',
    }

    def topics(*args: str, **more: str) -> Ran:
        code = run(["topics", *args], Invocation(env={**env, **more}))
        return Ran(code, *capsys.readouterr())

    assert topics("check").code == 1
    made = topics("apply")
    assert made.code == 0
    assert f"create {namespace}.internal.log with 2 partitions" in made.out
    assert topics("diff").code == 0
    checked = topics("check", "--json")
    assert checked.code == 0
    assert {row["ok"] for row in json.loads(checked.out)} == {True}
    longer = {"INTERACTION_ROUTER_TOPICS__DLQ_RETENTION": "P60D"}
    (row,) = topics("diff", "--json", **longer).json
    assert (row["topic"], row["what"], row["wanted"]) == (f"{namespace}.dlq.v1", "retention.ms", str(60 * 86_400_000))
    assert f"set retention.ms of {namespace}.dlq.v1: from" in topics("apply", **longer).out
    assert topics("diff", **longer).code == 0
    asyncio.run(_delete(broker, f"{namespace}.agents.v1"))
    assert [row["what"] for row in topics("diff", "--json", **longer).json] == ["missing"]


async def _delete(broker: Broker, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()


def test_a_broker_that_is_away_is_unavailable(capsys: pytest.CaptureFixture[str]) -> None:
    env = {"INTERACTION_ROUTER_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    assert run(["topics", "check"], Invocation(env=env)) == 69
    told = capsys.readouterr().err
    assert told.startswith("error: kafka_unavailable: ")
    assert "`kafka.bootstrap_servers`" in told
