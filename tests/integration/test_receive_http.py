"""`receive http` as a process, on a real broker and a real Valkey: what it acknowledges is in a topic, or will be."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.adapters.redis.client import open_client
from interaction_router.adapters.redis.memory import RedisMemory
from interaction_router.channels.kit import Request
from interaction_router.domain.errors import RetryableError
from interaction_router.ports import Outgoing
from tests.integration.receiver import GATEWAYS, PUBLIC_URL, Receiver, at
from tests.integration.running import Running, until, updates
from tests.servers import Broker, RedisServer
from tests.servers.addresses import free_port
from tests.unit.channels.asked import asked, form, mailgun_proof, multipart, posted
from tests.unit.channels.payloads import CALL, MAILGUN_IN, WA_CONTACTS, WA_MESSAGE, whatsapp

ITEM = {
    "channel": "sms",
    "direction": "inbound",
    "interaction_id": "1",
    "occurred_at": "2026-11-22T10:15:30Z",
    "from": "+27821234567",
    "to": "1",
}
SAMPLES = Path(os.environ.get("CHANNEL_SAMPLES", Path(__file__).parents[3] / "shared" / "payloads"))


class Stage(NamedTuple):
    running: Running
    receiver: Receiver
    log: KafkaLog


@asynccontextmanager
async def receiving(
    broker: Broker, redis: RedisServer, namespace: str, folder: Path, **settings: str
) -> AsyncIterator[Stage]:
    running = Running(
        bootstrap=broker.bootstrap,
        redis_url=redis.url,
        namespace=namespace,
        folder=folder,
        **{**GATEWAYS, "RECEIVERS__HTTP__PUBLIC_URL": PUBLIC_URL, **settings},
    )
    await running.apply_topics()
    log = running.log()
    receiver = Receiver(running, folder, free_port())
    try:
        await receiver.listening()
        yield Stage(running, receiver, log)
    finally:
        receiver.kill()
        await log.stop()


async def told(log: KafkaLog, channel: str) -> list[dict[str, Any]]:
    return await updates(log, f"interactions.{channel}.v1")


async def test_webhooks_become_updates(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    """A call, its recording, a WhatsApp message, a mail, an SMS and an item of JSON, through a worker."""
    async with receiving(broker, redis_server, namespace, tmp_path) as (running, receiver, log):
        worker = running.worker()
        mail = form({**MAILGUN_IN, **mailgun_proof("t1")})
        requests = [
            ("twilio", at("twilio", form({**CALL, "CallStatus": "ringing"}))),
            ("twilio", at("twilio", form({"CallSid": "CA1", "RecordingSid": "RE1", "RecordingUrl": "https://x/1"}))),
            ("whatsapp", at("whatsapp", whatsapp(messages=[WA_MESSAGE], contacts=WA_CONTACTS))),
            ("mailgun", mail),
            ("mailgun", mail),
            ("kannel", at("kannel", asked({"id": "k1", "from": "+27821234567", "to": "45678", "text": "hi"}))),
            ("json", at("json", posted([ITEM, {**ITEM, "interaction_id": "2"}]))),
        ]
        for vendor, request in requests:
            assert (await receiver.send(vendor, request)).status == 200, vendor
        assert (await receiver.send("mailgun", form({"from": "eve@x", **mailgun_proof("t1")}))).status == 403
        await worker.ready()

        async def all_told() -> bool:
            return len(await updates(log)) >= 13

        await until(all_told)
        found = await updates(log)
        interactions = {
            each["interaction"]["interaction_id"]: each["interaction"] for each in found if "interaction" in each
        }
        assert set(interactions) == {"CA1", "wamid.1", "m1@mail.example", "k1", "1", "2"}
        assert interactions["CA1"]["recording_url"] == "https://x/1"
        assert interactions["CA1"]["status"] == "answered"
        assert {each["endpoint"] for each in found} == {"tel:+27821234567", "mailto:ann@example.org"}
        assert worker.stop() == 0
        assert receiver.stop() == 0


async def test_the_answers_over_http(broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path) -> None:
    """Those that depend on the server: addresses, sizes, methods; and what is served besides gateways."""
    own = {"TENANTS__ACME__ADDRESSES": '["011 000 0000", "011 000 0001"]'}
    async with receiving(broker, redis_server, namespace, tmp_path, **own) as (_, receiver, log):
        good = at("json", posted(ITEM))
        large = replace(good, body=b" " * (10 * 1024 * 1024 + 1))
        assert (await receiver.send("json", good, tenant="nobody")).status == 404
        assert (await receiver.send("json", large, tenant="nobody")).status == 404
        assert (await receiver.send("json", large)).status == 413
        assert (await receiver.send("json", replace(large, headers={"content-type": "text/plain"}))).status == 413
        assert (await receiver.send("json", replace(large, body=large.body[1:]))).status == 422
        patient = {"content-type": "application/json", "expect": "100-continue"}
        assert (await receiver.ask("POST", "/v1/gateways/json/acme", patient, length=20_000_000)).status == 413
        assert (await receiver.ask("POST", "/v1/gateways/json/acme/", good.headers, good.body)).status == 404
        answer = await receiver.send("json", asked({}))
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
        assert (await receiver.send("postmark", asked({}))).status == 405
        answer = await receiver.ask("PUT", "/v1/gateways/json/acme", good.headers, good.body)
        assert (answer.status, orjson.loads(answer.body)["code"]) == (405, "not_allowed")
        assert "POST" in answer.headers["allow"]
        answer = await receiver.ask("GET", "/v1/nowhere", {})
        assert (answer.status, orjson.loads(answer.body)["code"]) == (404, "not_found")
        challenge = asked({"hub.mode": "subscribe", "hub.verify_token": "agreed", "hub.challenge": "115"})
        answer = await receiver.send("whatsapp", challenge)
        assert (answer.status, answer.body) == (200, b"115")
        answer = await receiver.send("twilio", at("twilio", form({**CALL, "CallStatus": "busy"})))
        assert (answer.status, answer.headers["content-type"]) == (200, "text/xml")
        assert (await receiver.send("json", replace(good, headers={"content-type": "application/json"}))).status == 401
        agent = {"tenant": "acme", "agent_id": "ann", "name": "Ann", "channels": ["sms"]}
        await log.append("agents.v1", 0, [Outgoing(b"acme|ann", orjson.dumps(agent))])
        internal = {**ITEM, "from": "+27110000000", "to": "+27110000001"}
        outbound = {**ITEM, "direction": "outbound", "agent_id": "bob"}
        answer = await receiver.send("json", at("json", posted([internal, outbound])))
        refused = orjson.loads(answer.body)["results"]
        assert (answer.status, [each["code"] for each in refused]) == (207, ["own_address", "agent_unknown"])
        described = orjson.loads((await receiver.ask("GET", "/v1/openapi.json", {})).body)
        assert set(described["paths"]) == {"/v1/gateways/json/{tenant}", "/v1/outbound/check"}
        assert (await receiver.ask("GET", "/healthz", {})).status == 200
        assert await told(log, "sms") == []
        question = orjson.dumps({"tenant": "acme", "channel": "sms", "party": "0821234567", "agent_id": "ann"})
        answer = await receiver.ask("POST", "/v1/outbound/check", good.headers, question)
        assert orjson.loads(answer.body)["rule"] == "opened_unlinked"
        counted = (await receiver.ask("GET", "/metrics", {})).body.decode()
        assert 'interaction_router_webhooks_total{outcome="forged",vendor="json"} 1.0\n' in counted
        assert "\ninteraction_router_spooled_records 0.0\n" in counted
        assert b"27821234567" not in receiver.errors.read_bytes()


def sample_requests() -> list[tuple[str, Request, int]]:
    """Return the samples as requests, each with how many events it tells."""
    found = [
        ("whatsapp", at("whatsapp", posted(orjson.loads(path.read_bytes()))), 1)
        for path in sorted(SAMPLES.glob("01_*.json"))
    ]
    for number, line in enumerate((SAMPLES / "12_twilio_voice_webhooks.form.txt").read_text().splitlines()):
        if not line.startswith("#"):
            request = replace(form({}), body=line.replace("12345", f"CA{number}").encode())
            found.append(("twilio", at("twilio", request), 1))
    # Of Vonage's, a transfer tells nothing, and nobody has heard of the recording's call.
    found += [
        ("vonage", at("vonage", posted(event)), int(bool(event.get("status"))))
        for event in orjson.loads((SAMPLES / "13_vonage_voice_events.json").read_bytes())
    ]
    mail = orjson.loads((SAMPLES / "07_mailgun_inbound.form.json").read_bytes())
    found.append(("mailgun", form({**mail, **mailgun_proof("sample")}), 1))
    parsed = orjson.loads((SAMPLES / "07_sendgrid_inbound_parse.form.json").read_bytes())
    found.append(("sendgrid", at("sendgrid", multipart(parsed)), 1))
    mail = orjson.loads((SAMPLES / "07_postmark_inbound.json").read_bytes())
    found.append(("postmark", at("postmark", posted(mail)), 1))
    return found


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples of real gateways are not here")
async def test_samples_of_real_gateways(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    async with receiving(broker, redis_server, namespace, tmp_path) as (running, receiver, log):
        worker = running.worker()
        requests = sample_requests()
        for vendor, request, _ in requests:
            assert (await receiver.send(vendor, request)).status == 200, vendor
        channels = [await told(log, channel) for channel in ("voice", "whatsapp", "email")]
        assert sum(map(len, channels)) == sum(count for *_, count in requests)
        interactions = {(each["channel"], each["interaction_id"]) for found in channels for each in found}
        await worker.ready()

        async def assigned() -> bool:
            found = [each["interaction"] for each in await updates(log) if "interaction" in each]
            return {(each["channel"], each["interaction_id"]) for each in found} == interactions

        await until(assigned)
        assert sum([(await log.bounds("dlq.v1", each)).end for each in range(await log.partitions("dlq.v1"))]) == 1
        assert worker.stop() == 0


async def test_a_broker_that_dies_loses_nothing_that_was_acknowledged(
    mortal_broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    """Spooled while it is away, also over kill -9 of the receiver, and drained in order."""
    spool = {"RECEIVERS__SPOOL__DIR": str(tmp_path / "spool")}
    async with receiving(mortal_broker, redis_server, namespace, tmp_path, **spool) as (running, receiver, log):
        acknowledged: list[str] = []

        async def send(to: Receiver, numbers: range) -> None:
            for number in numbers:
                answer = await to.send("json", at("json", posted({**ITEM, "interaction_id": str(number)})))
                if answer.status == 200:
                    acknowledged.append(str(number))

        async def twenty() -> bool:
            return len(acknowledged) >= 20

        burst = asyncio.create_task(send(receiver, range(60)))
        await until(twenty)
        mortal_broker.kill()
        try:
            await burst
            receiver.kill()
            second = Receiver(running, tmp_path, free_port())
            await second.listening()
            await send(second, range(60, 70))
        finally:
            mortal_broker.restart()
        assert len(acknowledged) == 70

        async def drained() -> bool:
            try:
                return len({each["interaction_id"] for each in await told(log, "sms")}) == 70
            except RetryableError:  # the broker is back, and its partitions have no leader yet
                return False

        try:
            await until(drained, within_s=60)
            order = list(dict.fromkeys(each["interaction_id"] for each in await told(log, "sms")))
            assert order == acknowledged
            assert second.stop() == 0
        finally:
            second.kill()


async def test_a_recording_waits_for_redis(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    spool = {"RECEIVERS__SPOOL__DIR": str(tmp_path / "spool")}
    recording = at("twilio", form({"CallSid": "CA1", "RecordingSid": "RE1", "RecordingUrl": "https://x/1"}))
    async with receiving(broker, redis_server, namespace, tmp_path, **spool) as (running, receiver, log):
        assert (await receiver.send("twilio", at("twilio", form({**CALL, "CallStatus": "completed"})))).status == 200
        redis_server.pause()
        try:
            assert (await receiver.send("twilio", recording)).status == 200
            counted = (await receiver.ask("GET", "/metrics", {})).body
            assert b"\ninteraction_router_spooled_records 1.0\n" in counted
            receiver.kill()
        finally:
            redis_server.resume()
        second = Receiver(running, tmp_path, free_port())
        try:
            await second.listening()

            async def recorded() -> bool:
                return len(await told(log, "voice")) == 2

            await until(recorded)
            assert [each["from"] for each in await told(log, "voice")] == ["+27821234567"] * 2
            assert second.stop() == 0
        finally:
            second.kill()


async def test_without_a_spool_the_sender_is_told_to_come_again(
    mortal_broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    async with receiving(mortal_broker, redis_server, namespace, tmp_path) as (_, receiver, _log):
        mortal_broker.pause()
        try:
            begun = asyncio.get_running_loop().time()
            answer = await receiver.send("json", at("json", posted(ITEM)))
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert asyncio.get_running_loop().time() - begun < 5
        finally:
            mortal_broker.resume()

        async def taken() -> bool:
            return (await receiver.send("json", at("json", posted(ITEM)))).status == 200

        await until(taken)


async def test_the_memory_of_receivers_in_redis(redis_server: RedisServer, namespace: str, tmp_path: Path) -> None:
    running = Running(bootstrap="127.0.0.1:1", redis_url=redis_server.url, namespace=namespace, folder=tmp_path)
    client = open_client(running.settings.redis)
    memory = RedisMemory(client, namespace)
    try:
        assert await memory.recall("a") is None
        assert await memory.keep("a", b"1", ttl_s=60) == b"1"
        assert await memory.keep("a", b"2", ttl_s=60) == b"1"
        assert await memory.recall("a") == b"1"
        assert 0 < await client.call(f"{namespace}:receivers:a", "TTL", f"{namespace}:receivers:a") <= 60
    finally:
        await client.close()
