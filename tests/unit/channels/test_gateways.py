"""What a request is answered, in which order, and what is in the topics by then."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.adapters.embedded.memory import EmbeddedMemory
from interaction_router.adapters.spool import DiskSpool
from interaction_router.application.admission import Admission
from interaction_router.application.delivery import Delivery
from interaction_router.application.intake import AGENTS, Agents, IntakeSettings, TenantSettings
from interaction_router.channels.kit import Request
from interaction_router.channels.vendors import VENDORS
from interaction_router.domain.errors import RetryableError
from interaction_router.ports import Outgoing, Received
from interaction_router.receivers.answers import Answer
from interaction_router.receivers.gateways import Gateways, Outcome
from interaction_router.receivers.postponed import Postponed
from tests.unit.channels.asked import CREDENTIALS, asked, basic, form, mailgun_proof, multipart, posted, signed
from tests.unit.channels.payloads import CALL, POSTMARK_IN, ROWS, VOICE

CHANNELS = ("voice", "email", "sms", "whatsapp")
OWN, OTHER = "tel:+27110000000", "tel:+27110000001"
ITEM = {
    "channel": "sms",
    "direction": "inbound",
    "interaction_id": "1",
    "occurred_at": "2026-11-22T10:15:30Z",
    "from": "0821234567",
    "to": "1",
}


@dataclass
class Clock:
    at_ms: int = 0

    def now_ms(self) -> int:
        return self.at_ms


class Log(EmbeddedLog):
    away = False
    mute = False

    async def read(self, stream: str, partition: int, start: int, *, limit: int = 1000) -> Sequence[Received]:
        if self.mute:
            raise RetryableError("kafka_unavailable", "away")
        return await super().read(stream, partition, start, limit=limit)

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        if self.away:
            raise RetryableError("kafka_unavailable", "away")
        return await super().append(stream, partition, records)


class Memory(EmbeddedMemory):
    away = False

    async def keep(self, key: str, value: bytes, *, ttl_s: int) -> bytes:
        self._look()
        return await super().keep(key, value, ttl_s=ttl_s)

    async def recall(self, key: str) -> bytes | None:
        self._look()
        return await super().recall(key)

    def _look(self) -> None:
        if self.away:
            raise RetryableError("redis_unreachable", "away")


@dataclass
class Stand:
    log: Log
    memory: Memory
    clock: Clock
    counts: Counter[tuple[str, Outcome]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.open(None)

    def open(self, postponed: Postponed | None) -> None:
        gateways = {"acme": CREDENTIALS, "zeta": {"mailgun": CREDENTIALS["mailgun"]}, "part": {"sendgrid": LOGIN}}
        rules = IntakeSettings("router", CHANNELS, "ZA", {"acme": TenantSettings(addresses=frozenset({OWN, OTHER}))})
        admission, delivery = Admission(Agents(self.log), rules, self.clock), Delivery(self.log, None)
        self.gateways = Gateways(
            gateways, CHANNELS, delivery, self.memory, admission.refusals, self._count, postponed=postponed
        )

    def _count(self, vendor: str, outcome: Outcome) -> None:
        self.counts[vendor, outcome] += 1

    async def ask(self, vendor: str, request: Request, tenant: str = "acme") -> Answer:
        door = self.gateways.door(vendor, tenant, replace(request, body=b""))
        return door if isinstance(door, Answer) else await self.gateways.take(door, request)

    async def records(self, stream: str) -> list[Received]:
        return list(await self.log.read(stream, 0, 0))

    async def told(self, channel: str) -> list[dict[str, Any]]:
        return [orjson.loads(each.value or b"") for each in await self.records(f"interactions.{channel}.v1")]


LOGIN = {"username": "ann", "password": "secret"}


@asynccontextmanager
async def a_stand() -> AsyncIterator[Stand]:
    with EmbeddedDatabase() as database:
        clock = Clock()
        log = Log(database, clock)
        for stream in (*(f"interactions.{channel}.v1" for channel in CHANNELS), "dlq.v1", AGENTS):
            await log.create(stream, 1)
        yield Stand(log, Memory(database, clock), clock)


def proven(vendor: str, request: Request) -> Request:
    """Return it signed; a mail of Mailgun carries its proof in the body."""
    if vendor != "mailgun":
        return signed(vendor, request)
    if request.method == "POST" and request.media_type == "application/json":
        return replace(request, body=orjson.dumps({**orjson.loads(request.body), "signature": mailgun_proof("event")}))
    if request.media_type == "multipart/form-data":
        parts = b"".join(
            f'--b0undary\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in mailgun_proof("file").items()
        )
        return replace(request, body=parts + request.body)
    proof = "&".join(f"{name}={value}" for name, value in mailgun_proof("mail").items())
    return replace(request, body=request.body + b"&" + proof.encode())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
async def test_every_payload_is_acknowledged_once_it_is_in_a_topic(row: Any) -> None:
    """What cannot be read too: it is among the dead letters, byte for byte."""
    async with a_stand() as stand:
        request = proven(row.vendor, row.request)
        answer = await stand.ask(row.vendor, request)
        needs_call = row.name == "a recording"
        if row.request.media_type and row.request.media_type not in VENDORS[row.vendor].media_types:
            assert answer.status == 415
            return
        assert answer.status == 200
        told = [each for channel in CHANNELS for each in await stand.told(channel)]
        letters = await stand.records("dlq.v1")
        assert len(told) == (0 if needs_call else len(row.expected))
        assert [letter.value for letter in letters] == [request.body or request.query.encode()] * (
            row.unread or needs_call
        )
        for letter in letters:
            headers = dict(letter.headers)
            assert headers["dlq_code"] == b"payload_unknown"
            assert headers["dlq_stage"] == b"receive"
            assert headers["dlq_topic"] == f"gateways/{row.vendor}/acme".encode()
            assert "dlq_partition" not in headers
            if "content-type" in request.headers:
                assert headers["content-type"] == request.headers["content-type"].encode()


async def test_a_party_keeps_its_order_and_its_trace() -> None:
    async with a_stand() as stand:
        request = signed("twilio", form({**CALL, "CallStatus": "ringing"}))
        request = replace(request, headers={**request.headers, "traceparent": "00-aa-bb-01"})
        await stand.ask("twilio", request)
        (record,) = await stand.records("interactions.voice.v1")
        assert (record.key, list(record.headers)) == (b"acme|+27821234567", [("traceparent", b"00-aa-bb-01")])


async def test_twilio_always_gets_twiml() -> None:
    async with a_stand() as stand:
        for fields in ({**CALL, "CallStatus": "ringing"}, {"AccountSid": "AC1"}):
            answer = await stand.ask("twilio", signed("twilio", form(fields)))
            assert (answer.status, answer.content_type) == (200, "text/xml")
            assert answer.body.endswith(b"<Response></Response>")


@pytest.mark.parametrize(
    ("vendor", "tenant"),
    [("twilio", "nobody"), ("nobody", "acme"), ("twilio", "zeta"), ("json", "zeta"), ("sendgrid", "zeta")],
)
async def test_an_unknown_gateway_is_not_found_before_all_else(vendor: str, tenant: str) -> None:
    async with a_stand() as stand:
        assert (await stand.ask(vendor, form({}), tenant)).status == 404


async def test_a_gateway_that_is_set_up_for_mail_alone_has_no_events() -> None:
    async with a_stand() as stand:
        mail = multipart({"from": "ann@example.org"})
        assert (await stand.ask("sendgrid", mail, "part")).status == 401
        assert (await stand.ask("sendgrid", posted([]), "part")).status == 404


async def test_a_method_that_the_vendor_does_not_use_is_not_allowed() -> None:
    async with a_stand() as stand:
        for vendor in ("postmark", "json", "mailgun"):
            assert (await stand.ask(vendor, asked({}))).status == 405
        message = signed("kannel", asked({"id": "1", "from": "27821234567", "to": "12345", "text": "Hello"}))
        answer = await stand.ask("kannel", replace(message, method="HEAD"))
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST")
        assert await stand.told("sms") == []


@pytest.mark.parametrize("vendor", [*VENDORS, "json"])
async def test_who_proves_nothing_changes_nothing(vendor: str) -> None:
    """401 without a proof and 403 with a wrong one, also where the type of the body is wrong too."""
    async with a_stand() as stand:
        bare = replace(posted({}), headers={"content-type": "text/plain"})
        assert (await stand.ask(vendor, bare)).status == 401
        wrong = {
            "authorization": basic("ann:wrong"),
            "x-twilio-signature": "AAAA",
            "x-hub-signature-256": "sha256=00",
            "x-twilio-email-event-webhook-signature": "AAAA",
            "x-twilio-email-event-webhook-timestamp": "1",
        }
        request = form({**mailgun_proof("t"), "signature": "00"}) if vendor == "mailgun" else bare
        forged = replace(request, headers={**request.headers, **wrong})
        assert (await stand.ask(vendor, forged)).status == 403
        assert stand.counts[vendor, "forged"] == 2
        assert not await stand.records("dlq.v1")


async def test_a_body_of_another_type_is_told_so_to_who_proves_himself() -> None:
    async with a_stand() as stand:
        for vendor in ("postmark", "infobip", "json"):
            request = signed(vendor, replace(posted({}), headers={"content-type": "text/plain"}))
            assert (await stand.ask(vendor, request)).status == 415
        upper = signed("json", replace(posted(ITEM), headers={"content-type": "Application/JSON; charset=utf-8"}))
        assert (await stand.ask("json", upper)).status == 200


async def test_what_cannot_be_stored_is_to_be_sent_again() -> None:
    async with a_stand() as stand:
        stand.log.away = True
        for vendor, request in (
            ("twilio", signed("twilio", form({**CALL, "CallStatus": "ringing"}))),
            ("twilio", signed("twilio", form({"AccountSid": "AC1"}))),
            ("json", signed("json", posted(ITEM))),
        ):
            answer = await stand.ask(vendor, request)
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0


async def test_a_recording_finds_the_party_of_its_call_for_a_day() -> None:
    async with a_stand() as stand:
        await stand.ask("twilio", signed("twilio", form({**CALL, "CallStatus": "completed"})))
        recording = signed("twilio", form({"CallSid": "CA1", "RecordingSid": "RE1", "RecordingUrl": "https://x/1"}))
        await stand.ask("twilio", recording)
        _, told = await stand.told("voice")
        assert (told["from"], told["to"], told["direction"]) == ("+27821234567", "+27110000000", "inbound")
        assert (told["interaction_id"], told["event_id"]) == ("CA1", "RE1")
        stand.clock.at_ms += 24 * 3600 * 1000
        await stand.ask("twilio", recording)
        assert len(await stand.records("dlq.v1")) == 1


RECORDING = form({"CallSid": "CA1", "RecordingSid": "RE1", "RecordingUrl": "https://x/1"})


async def test_a_recording_whose_call_cannot_be_looked_up_is_to_be_sent_again() -> None:
    async with a_stand() as stand:
        await stand.ask("twilio", signed("twilio", form({**CALL, "CallStatus": "completed"})))
        stand.memory.away = True
        assert (await stand.ask("twilio", signed("twilio", RECORDING))).status == 503
        assert not await stand.records("dlq.v1")
        stand.memory.away = False
        assert (await stand.ask("twilio", signed("twilio", RECORDING))).status == 200
        assert [each.get("event_id") for each in await stand.told("voice")][1:] == ["RE1"]


async def test_a_recording_finds_a_call_that_redis_did_not_keep() -> None:
    async with a_stand() as stand:
        stand.memory.away = True
        await stand.ask("twilio", signed("twilio", form({**CALL, "CallStatus": "completed"})))
        await stand.ask("twilio", signed("twilio", RECORDING))
        assert [each["from"] for each in await stand.told("voice")] == ["+27821234567"] * 2


async def test_with_a_spool_a_recording_waits_for_redis_over_a_restart(tmp_path: Path) -> None:
    """One whose call nobody knows, and one of a gateway that is no more, are dead letters in the end."""
    async with a_stand() as stand:
        await stand.ask("twilio", signed("twilio", form({**CALL, "CallStatus": "completed"})))
        spool = DiskSpool(tmp_path / "postponed", max_bytes=1 << 20)
        postponed = Postponed(spool)
        stand.open(postponed)
        stand.memory.away = True
        unknown = form({"CallSid": "CA9", "RecordingSid": "RE9", "RecordingUrl": "https://x/9"})
        for request in (RECORDING, unknown):
            assert (await stand.ask("twilio", signed("twilio", request))).status == 200
        gone = Request("POST", "", {"content-type": "text/x"}, b"gone", 1)
        await postponed.add("gateways/twilio/nobody", gone)
        with pytest.raises(RetryableError):
            await postponed.drain(stand.gateways.store_postponed)
        assert len(await stand.told("voice")) == 1
        await spool.close()

        stand.memory.away = False
        again = DiskSpool(tmp_path / "postponed", max_bytes=1 << 20)
        postponed = Postponed(again)
        stand.open(postponed)
        await postponed.start()
        assert postponed.waiting == 3
        await postponed.drain(stand.gateways.store_postponed)
        assert [(each["from"], each.get("event_id")) for each in await stand.told("voice")][1:] == [
            ("+27821234567", "RE1")
        ]
        assert [letter.value for letter in await stand.records("dlq.v1")] == [unknown.body, b"gone"]
        assert postponed.waiting == 0
        assert not await again.lanes()
        await again.close()


async def test_a_recording_of_vonage_names_its_call_by_the_conversation() -> None:
    async with a_stand() as stand:
        await stand.ask("vonage", signed("vonage", posted({**VOICE, "status": "answered"})))
        recording = {"recording_url": "https://x/1", "recording_uuid": "r", "conversation_uuid": "CON-1"}
        await stand.ask("vonage", signed("vonage", posted(recording)))
        _, told = await stand.told("voice")
        assert (told["interaction_id"], told["from"]) == ("63f6", "+27821234567")


async def test_a_recording_of_a_withheld_caller_is_of_that_call() -> None:
    async with a_stand() as stand:
        await stand.ask("twilio", signed("twilio", form({**CALL, "From": "+266696687", "CallStatus": "ringing"})))
        await stand.ask("twilio", signed("twilio", form({"CallSid": "CA1", "RecordingUrl": "https://x/1"})))
        _, told = await stand.told("voice")
        assert (told["from"], told["interaction_id"]) == (None, "CA1")


async def test_an_event_of_a_call_that_names_no_party_gets_that_of_the_call() -> None:
    """What is there and empty is a withheld party, not a missing one."""
    async with a_stand() as stand:
        await stand.ask("twilio", signed("twilio", form({**CALL, "CallStatus": "ringing"})))
        await stand.ask("twilio", signed("twilio", form({"CallSid": "CA1", "CallStatus": "completed"})))
        await stand.ask("twilio", signed("twilio", form({**CALL, "CallSid": "CA2", "From": "", "CallStatus": "busy"})))
        await stand.ask("vonage", signed("vonage", posted({**VOICE, "status": "ringing"})))
        await stand.ask("vonage", signed("vonage", posted({"uuid": "63f6", "status": "completed"})))
        await stand.ask("vonage", signed("vonage", posted({"uuid": "77", "status": "completed"})))
        told = [(each["interaction_id"], each["from"], each["status"]) for each in await stand.told("voice")]
        assert told == [
            ("CA1", "+27821234567", "ringing"),
            ("CA1", "+27821234567", "ended"),
            ("CA2", None, "missed"),
            ("63f6", "+27821234567", "ringing"),
            ("63f6", "+27821234567", "ended"),
        ]
        assert len(await stand.records("dlq.v1")) == 1


async def test_kannel_has_nothing_to_send_to_the_customer() -> None:
    async with a_stand() as stand:
        for request in (asked({"id": "1", "from": "+27821234567"}), replace(asked({"id": "2"}), method="POST")):
            answer = await stand.ask("kannel", signed("kannel", request))
            assert (answer.status, answer.body) == (200, b"")


async def test_what_is_remembered_of_a_call_shows_nobodys_number() -> None:
    class Shown(Memory):
        kept = b""

        async def keep(self, key: str, value: bytes, *, ttl_s: int) -> bytes:
            self.kept += key.encode() + value
            return await super().keep(key, value, ttl_s=ttl_s)

    with EmbeddedDatabase() as database:
        log = Log(database, Clock())
        for stream in ("interactions.voice.v1", "dlq.v1"):
            await log.create(stream, 1)
        memory = Shown(database, Clock())
        stand = Stand(log, memory, Clock())
        await stand.ask("twilio", signed("twilio", form({**CALL, "CallStatus": "ringing"})))
        assert memory.kept
        assert b"821234567" not in memory.kept
        assert b"CA1" not in memory.kept


async def test_a_call_that_cannot_be_remembered_is_taken_all_the_same() -> None:
    async with a_stand() as stand:
        stand.memory.away = True
        request = signed("twilio", form({**CALL, "CallStatus": "ringing"}))
        assert (await stand.ask("twilio", request)).status == 200
        assert len(await stand.told("voice")) == 1


async def test_a_token_of_mailgun_serves_one_body() -> None:
    """Also the same body again, of whatever boundary; never another body or another tenant's."""
    async with a_stand() as stand:
        mail = multipart({"from": "ann@example.org", **mailgun_proof("t1")}, [("a.txt", "text/plain", b"hello")])
        again = replace(
            mail,
            body=mail.body.replace(b"b0undary", b"another"),
            headers={"content-type": "multipart/form-data; boundary=another"},
        )
        other_file = replace(mail, body=mail.body.replace(b"hello", b"hellp"))
        other_mail = multipart({"from": "eve@example.org", **mailgun_proof("t1")})
        statuses = [(await stand.ask("mailgun", each)).status for each in (mail, again, other_file, other_mail)]
        assert statuses == [200, 200, 403, 403]
        assert (await stand.ask("mailgun", mail, "zeta")).status == 403
        stand.clock.at_ms += 24 * 3600 * 1000
        assert (await stand.ask("mailgun", other_mail)).status == 200


async def test_a_wrong_signature_spends_no_token() -> None:
    async with a_stand() as stand:
        forged = form({"from": "eve@example.org", **mailgun_proof("t1"), "signature": "00"})
        assert (await stand.ask("mailgun", forged)).status == 403
        assert (await stand.ask("mailgun", form({"from": "ann@example.org", **mailgun_proof("t1")}))).status == 200


async def test_a_token_that_cannot_be_looked_up_is_to_be_sent_again() -> None:
    async with a_stand() as stand:
        stand.memory.away = True
        answer = await stand.ask("mailgun", form({"from": "ann@example.org", **mailgun_proof("t1")}))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert not await stand.told("email")


async def test_a_channel_without_a_topic_is_a_dead_letter() -> None:
    async with a_stand() as stand:
        request = signed("vonage", posted({"message_uuid": "m", "channel": "messenger", "from": "1", "to": "2"}))
        assert (await stand.ask("vonage", request)).status == 200
        assert len(await stand.records("dlq.v1")) == 1


async def test_items_of_a_json_gateway_are_answered_one_by_one() -> None:
    async with a_stand() as stand:
        answer = await stand.ask("json", signed("json", posted(ITEM)))
        assert (answer.status, orjson.loads(answer.body)) == (200, {"status": "taken"})
        answer = await stand.ask("json", signed("json", posted([ITEM, ITEM])))
        assert (answer.status, orjson.loads(answer.body)) == (200, {"results": [{"status": "taken"}] * 2})
        answer = await stand.ask("json", signed("json", posted([ITEM, {**ITEM, "direction": "up"}])))
        fault = {"code": "schema_invalid", "field": "direction", "message": "has to be 'inbound' or 'outbound'"}
        assert (answer.status, orjson.loads(answer.body)) == (207, {"results": [{"status": "taken"}, fault]})
        answer = await stand.ask("json", signed("json", posted({**ITEM, "direction": "up"})))
        assert (answer.status, orjson.loads(answer.body)) == (422, fault)
        assert len(await stand.told("sms")) == 4


def faults(answer: Answer) -> list[tuple[str, str | None] | None]:
    """Return code and field of each item of a list that was not taken."""
    return [
        None if item.get("status") == "taken" else (item["code"], item["field"])
        for item in orjson.loads(answer.body)["results"]
    ]


async def test_an_item_between_ones_own_addresses_is_refused_at_once() -> None:
    async with a_stand() as stand:
        internal = {**ITEM, "from": "011 000 0000", "to": [OWN, {"address": OTHER}]}
        answer = await stand.ask("json", signed("json", posted(internal)))
        assert (answer.status, orjson.loads(answer.body)["code"]) == (422, "own_address")
        answer = await stand.ask("json", signed("json", posted([ITEM, internal, {**ITEM, "from": "1"}])))
        assert (answer.status, faults(answer)) == (207, [None, ("own_address", None), ("own_address", None)])
        assert stand.counts["json", "refused"] == 2
        assert len(await stand.told("sms")) == 1


async def test_an_outbound_item_of_an_agent_who_may_not_is_refused_at_once() -> None:
    """As the agents are at the moment of the request, where it would be refused; else at most 5 s before."""
    async with a_stand() as stand:

        async def agent(*channels: str) -> None:
            value = orjson.dumps({"tenant": "acme", "agent_id": "ann", "name": "Ann", "channels": channels})
            await stand.log.append(AGENTS, 0, [Outgoing(b"acme|ann", value)])
            stand.clock.at_ms += 1

        async def ask(**fields: str) -> list[tuple[str, str | None] | None]:
            item = {**ITEM, "direction": "outbound", **fields}
            return faults(await stand.ask("json", signed("json", posted([ITEM, item]))))

        assert await ask(agent_id="ann") == [None, None]
        await agent("voice")
        assert await ask(agent_id="ann") == [None, None]
        stand.clock.at_ms += 5_000
        assert await ask(agent_id="ann") == [None, ("agent_not_qualified", "agent_id")]
        assert await ask(agent_id="bob") == [None, ("agent_unknown", "agent_id")]
        assert await ask(agent_id="bob", direction="inbound") == [None, None]
        assert await ask() == [None, None]
        await agent("voice", "sms")
        assert await ask(agent_id="ann") == [None, None]
        await agent("voice")
        stand.clock.at_ms += 5_000
        stand.log.mute = True
        assert await ask(agent_id="ann") == [None, None], "what cannot be known is intake's to refuse"


async def test_a_list_that_is_too_long_or_of_another_tenant_is_not_taken_at_all() -> None:
    async with a_stand() as stand:
        assert (await stand.ask("json", signed("json", posted([ITEM] * 1_001)))).status == 413
        foreign = [ITEM, {**ITEM, "tenant": "zeta"}]
        assert (await stand.ask("json", signed("json", posted(foreign)))).status == 403
        assert not await stand.told("sms")


async def test_an_idempotency_key_is_the_events_id() -> None:
    async with a_stand() as stand:
        for body in (ITEM, [ITEM, {**ITEM, "event_id": "mine"}]):
            request = signed("json", posted(body))
            await stand.ask("json", replace(request, headers={**request.headers, "idempotency-key": "k"}))
        assert [each["event_id"] for each in await stand.told("sms")] == ["k", "k/0", "mine"]
        request = signed("json", posted(ITEM))
        long = replace(request, headers={**request.headers, "idempotency-key": "k" * 513})
        assert orjson.loads((await stand.ask("json", long)).body)["field"] == "event_id"


async def test_many_requests_at_once_are_all_stored() -> None:
    async with a_stand() as stand:
        requests = [
            signed("postmark", posted({**POSTMARK_IN, "Headers": [], "Subject": f"s{number}"})) for number in range(200)
        ]
        answers = await asyncio.gather(*(stand.ask("postmark", request) for request in requests))
        assert {answer.status for answer in answers} == {200}
        told = await stand.told("email")
        assert len({each["interaction_id"] for each in told}) == 200
        assert all(each["interaction_id"].startswith("synthetic:") for each in told)
