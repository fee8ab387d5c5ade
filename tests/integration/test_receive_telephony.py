"""`receive ami` and `receive esl` on sessions that a socket serves: as processes into a real broker, and within."""

import asyncio
import logging
import os
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest
import trustme
from pydantic import SecretStr

from interaction_router.adapters.clock import SystemClock
from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.application.delivery import Delivery
from interaction_router.channels.asterisk import Asterisk
from interaction_router.channels.calls import Line
from interaction_router.channels.freeswitch import FreeSwitch
from interaction_router.channels.unsent import events_of
from interaction_router.domain.errors import RetryableError
from interaction_router.ports import Outgoing
from interaction_router.receivers import ami, esl
from interaction_router.receivers.kept import Kept
from interaction_router.receivers.switches import Switch, SwitchHost
from interaction_router.settings import AmiSettings, EslSettings
from tests.integration.receivers import Receiver, raw_records
from tests.integration.running import Running, until
from tests.integration.switchboards import AsteriskBoard, Event, FreeSwitchBoard, Switchboard
from tests.servers import Broker
from tests.unit.channels import switches as sw

SAMPLES = Path(os.environ.get("PAYLOADS", Path(__file__).parents[3] / "shared" / "payloads"))
STREAM = "interactions.voice.v1"
SECRET = "s3cret: %"
Sessions = Sequence[tuple[Sequence[Event] | None, Sequence[Event]]]
BOARDS: dict[str, type[Switchboard]] = {"ami": AsteriskBoard, "esl": FreeSwitchBoard}


@pytest.mark.parametrize(("kind", "session", "call"), [("ami", sw.INBOUND, "1"), ("esl", sw.ESL_INBOUND, "a")])
async def test_a_call_is_heard_by_the_program_and_is_in_the_topic(
    broker: Broker, namespace: str, tmp_path: Path, kind: str, session: Sequence[Event], call: str
) -> None:
    name = kind.upper()
    running = Running(
        bootstrap=broker.bootstrap, redis_url="redis://127.0.0.1:1", namespace=namespace, folder=tmp_path,
        TOPICS__PARTITIONS="1",
    )  # fmt: skip
    await running.apply_topics()
    async with BOARDS[kind]([([], session)], secret=SECRET) as board:
        settings = {"HOST": "127.0.0.1", "PORT": str(board.port), "SECRET": SECRET, "AGENTS__101": "thandi"}
        settings |= {"USERNAME": "router"} if kind == "ami" else {}
        receiver = Receiver(
            running, kind, tmp_path, **{f"TENANTS__ACME__{name}__{key}": value for key, value in settings.items()}
        )
        try:
            assert await receiver.at() == "switches=1"

            async def written() -> bool:
                return len(await raw_records(running, "voice")) >= 3

            await until(written)
            assert receiver.stop() == 0
        finally:
            receiver.kill()
    told = await raw_records(running, "voice")
    assert [(each["interaction_id"], each["status"], each.get("agent_id")) for each in told] == [
        (call, "ringing", None),
        (call, "answered", "thandi"),
        (call, "ended", None),
    ]
    assert {(each["tenant"], each["from"]) for each in told} == {("acme", sw.CUSTOMER)}


@dataclass(frozen=True)
class Trust:
    """A switch's context, with a certificate for `pbx.example`, and who has signed it and who has not."""

    served: ssl.SSLContext
    cafile: Path
    stranger: Path


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    folder, authority = tmp_path_factory.mktemp("trust"), trustme.CA()
    found = Trust(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), folder / "ca.pem", folder / "stranger.pem")
    authority.issue_cert("pbx.example").configure_cert(found.served)
    authority.cert_pem.write_to_path(found.cafile)
    trustme.CA().cert_pem.write_to_path(found.stranger)
    return found


def over_tls(running: Running, kind: str, port: int, folder: Path, **settings: str) -> Receiver:
    given = {"HOST": "127.0.0.1", "PORT": str(port), "SECRET": SECRET, "USERNAME": "router", "TLS": "true", **settings}
    if kind == "esl":
        del given["USERNAME"]
    return Receiver(
        running, kind, folder, **{f"TENANTS__ACME__{kind.upper()}__{name}": value for name, value in given.items()}
    )


@pytest.mark.parametrize(("kind", "session"), [("ami", sw.INBOUND), ("esl", sw.ESL_INBOUND)])
async def test_a_call_is_heard_over_tls(
    broker: Broker, namespace: str, tmp_path: Path, trust: Trust, kind: str, session: Sequence[Event]
) -> None:
    running = Running(bootstrap=broker.bootstrap, redis_url="redis://127.0.0.1:1", namespace=namespace, folder=tmp_path)
    await running.apply_topics()
    async with BOARDS[kind]([([], session)], secret=SECRET, tls=trust.served) as board:
        known = {"SSL_CAFILE": str(trust.cafile), "SSL_SERVER_NAME": "pbx.example"}
        receiver = over_tls(running, kind, board.port, tmp_path, **known)
        try:
            await receiver.at()

            async def written() -> bool:
                return len(await raw_records(running, "voice")) == 3

            await until(written)
            assert receiver.stop() == 0
        finally:
            receiver.kill()


@pytest.mark.parametrize("kind", ["ami", "esl"])
@pytest.mark.parametrize(
    ("cafile", "name", "words"),
    [("stranger", "pbx.example", "certificate"), ("cafile", "other.example", "match"), ("cafile", None, "match")],
)
async def test_a_switch_that_cannot_prove_itself_is_told_no_secret(
    tmp_path: Path, trust: Trust, kind: str, cafile: str, name: str | None, words: str
) -> None:
    running = Running(bootstrap="127.0.0.1:1", redis_url="redis://127.0.0.1:1", namespace="nobody", folder=tmp_path)
    asked: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=trust.served)
    async with server:
        port = server.sockets[0].getsockname()[1]
        named = {} if name is None else {"SSL_SERVER_NAME": name}
        receiver = over_tls(running, kind, port, tmp_path, SSL_CAFILE=str(getattr(trust, cafile)), **named)
        try:
            assert await receiver.at() == "switches=1"
        finally:
            receiver.kill()
    (lost, *_) = [line for line in receiver.errors.read_text().splitlines() if "switch_lost" in line]
    assert words in lost
    assert not any(asked)


def test_certificates_that_are_none_end_the_program(tmp_path: Path) -> None:
    running = Running(bootstrap="127.0.0.1:1", redis_url="redis://127.0.0.1:1", namespace="nobody", folder=tmp_path)
    receiver = over_tls(running, "ami", 1, tmp_path, SSL_CAFILE=__file__)
    assert receiver.process.wait(timeout=30) == 78
    (said,) = [line for line in receiver.errors.read_text().splitlines() if line.startswith("error:")]
    assert "certificate_unusable" in said
    assert "tenants.acme.ami.ssl_cafile" in said


class Heard:
    """A switch that is heard within this process, and what it has told."""

    def __init__(self, log: EmbeddedLog, switch: Switch) -> None:
        self.log = log
        self.switch = switch

    async def told(self) -> list[dict[str, Any]]:
        return [orjson.loads(record.value or b"") for record in await self.log.read(STREAM, 0, 0)]

    async def until(self, count: int) -> list[dict[str, Any]]:
        async def written() -> bool:
            return len(await self.told()) >= count

        await until(written)
        return await self.told()


@asynccontextmanager
async def heard(
    kind: str, port: int, *, secret: str = SECRET, log: type[EmbeddedLog] = EmbeddedLog, kept: Kept | None = None
) -> AsyncIterator[Heard]:
    line = Line("acme", kind, re.compile(r"\d{2,6}"), agents={"101": "thandi"})
    with EmbeddedDatabase(None) as database:
        records = log(database, SystemClock())
        await records.create(STREAM, 1, compacted=False)
        place, given = SwitchHost(kind, "acme", "127.0.0.1", port), SecretStr(secret)
        if kind == "ami":
            at = AmiSettings(host="127.0.0.1", port=port, username="router", secret=given)
            switch = Switch(place, ami.conversation(at), Asterisk(line), Delivery(records, None), kept, SystemClock())
        else:
            of = EslSettings(host="127.0.0.1", port=port, secret=given)
            switch = Switch(place, esl.conversation(of), FreeSwitch(line), Delivery(records, None), kept, SystemClock())
        hearing = asyncio.create_task(switch.run(), name="switch")
        try:
            yield Heard(records, switch)
        finally:
            hearing.cancel()
            await asyncio.wait([hearing])


_KEPT = [
    {"channel": "PJSIP/carrier-1", "uniqueid": "1", "linkedid": "1", "calleridnum": sw.CUSTOMER, "exten": sw.OWN},
    {"channel": "PJSIP/101-2", "uniqueid": "2", "linkedid": "1"},
]
_ESL_KEPT = [
    {"uuid": "a", "direction": "inbound", "call_uuid": "a", "cid_num": sw.CUSTOMER, "dest": sw.OWN},
    {"uuid": "b", "direction": "outbound", "call_uuid": "a", "cid_num": sw.CUSTOMER, "dest": "101"},
]
_RESUMED: list[tuple[str, Sessions]] = [
    ("ami", [([], sw.INBOUND[:10]), (_KEPT, sw.INBOUND[11:])]),
    ("ami", [([], sw.INBOUND[:10]), (None, sw.INBOUND[11:])]),
    ("ami", [([], sw.INBOUND[:10]), ([], [])]),
    ("esl", [([], sw.ESL_INBOUND[:7]), (_ESL_KEPT, sw.ESL_INBOUND[7:])]),
    ("esl", [([], sw.ESL_INBOUND[:7]), (None, sw.ESL_INBOUND[7:])]),
    ("esl", [([], sw.ESL_INBOUND[:7]), ([], [])]),
]


@pytest.mark.parametrize(("kind", "sessions"), _RESUMED)
async def test_a_lost_connection_is_made_again_and_the_call_ends_once(
    kind: str, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with BOARDS[kind](sessions, secret=SECRET) as board, heard(kind, board.port) as at:
        told = await at.until(3)
    assert [each["status"] for each in told] == ["ringing", "answered", "ended"]
    assert (told[-1].get("metadata", {}).get("gap") is not None) == (sessions[1] == ([], []))
    assert "switch_gap" in caplog.messages
    assert ("switch_not_listed" in caplog.messages) == (sessions[1][0] is None)
    assert sw.CUSTOMER not in str([vars(record) for record in caplog.records])


_BEFORE: list[tuple[str, Sessions, Sessions]] = [
    ("ami", [([], sw.INBOUND[:10])], [(_KEPT, sw.INBOUND[11:])]),
    ("ami", [([], sw.INBOUND[:10])], [([], [])]),
    ("esl", [([], sw.ESL_INBOUND[:7])], [(_ESL_KEPT, sw.ESL_INBOUND[7:])]),
    ("esl", [([], sw.ESL_INBOUND[:7])], [([], [])]),
]


@pytest.mark.parametrize(("kind", "before", "after"), _BEFORE)
async def test_a_call_goes_on_over_a_restart(
    kind: str, before: Sessions, after: Sessions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept(tmp_path, "router", kind)
    async with BOARDS[kind](before, secret=SECRET) as board, heard(kind, board.port, kept=kept) as at:
        first = await at.until(2)
        port = board.port
    async with BOARDS[kind](after, secret=SECRET, port=port), heard(kind, port, kept=kept) as at:
        (last,) = await at.until(1)
        await at.switch.tried.wait()
    assert [each["status"] for each in (*first, last)] == ["ringing", "answered", "ended"]
    assert {(each["interaction_id"], each["from"]) for each in (*first, last)} == {
        (last["interaction_id"], sw.CUSTOMER)
    }
    assert (last.get("metadata", {}).get("gap") is not None) == (after == [([], [])])
    assert "switch_gap" in caplog.messages


async def test_the_answer_to_a_ping_tells_that_no_more_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interaction_router.channels.asterisk._RECORD_WAITS_MS", 0)
    record = sw.ami("Cdr", Uniqueid="9", Source=sw.CUSTOMER, Destination=sw.OWN, Disposition="ANSWERED")
    session = [record, {"response": "Success", "ping": "Pong"}]
    async with BOARDS["ami"]([([], session)], secret=SECRET) as board, heard("ami", board.port) as at:
        assert [each["status"] for each in await at.until(3)] == ["ringing", "answered", "ended"]


async def test_calls_that_cannot_be_understood_are_forgotten(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with BOARDS["ami"]([([], sw.INBOUND)], secret=SECRET) as board:
        kept = Kept(tmp_path, "router", "ami")
        kept.save(("acme", "127.0.0.1", str(board.port)), {"calls": [{"call_id": "1"}], "at_ms": 1})
        async with heard("ami", board.port, kept=kept) as at:
            await at.until(3)
    assert "calls_forgotten" in caplog.messages


def test_a_state_that_cannot_be_read_ends_the_program(tmp_path: Path) -> None:
    Kept(tmp_path, "nobody", "esl").save(("acme", "127.0.0.1", "1"), {})
    (state,) = tmp_path.iterdir()
    state.write_text("{")
    running = Running(bootstrap="127.0.0.1:1", redis_url="redis://127.0.0.1:1", namespace="nobody", folder=tmp_path)
    settings = {
        "TENANTS__ACME__ESL__HOST": "127.0.0.1",
        "TENANTS__ACME__ESL__PORT": "1",
        "TENANTS__ACME__ESL__SECRET": "x",
    }
    receiver = Receiver(running, "esl", tmp_path, RECEIVERS__STATE_DIR=str(tmp_path), **settings)
    assert receiver.process.wait(timeout=30) == 1
    assert receiver.errors.read_text().splitlines()[-1].startswith("error: state_unreadable:")


@pytest.mark.parametrize("kind", ["ami", "esl"])
async def test_a_wrong_secret_is_said(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async with BOARDS[kind]([([], [])], secret="right") as board, heard(kind, board.port, secret="wrong") as at:
        await at.switch.tried.wait()
    (lost, *_) = [record for record in caplog.records if record.message == "switch_lost"]
    assert "refused" in vars(lost)["cause"]
    assert "wrong" not in str(vars(lost))


async def test_nobody_at_the_port_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with heard("ami", 1) as at:
        await at.switch.tried.wait()
    assert "switch_lost" in caplog.messages


@pytest.mark.parametrize("kind", ["ami", "esl"])
@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 100 + b"\n\n", b"x: y\n" * 20_000])
async def test_something_else_at_the_port_is_said(kind: str, garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, heard(kind, server.sockets[0].getsockname()[1]) as at:
        await at.switch.tried.wait()
    assert "switch_lost" in caplog.messages


class _Away(EmbeddedLog):
    """A log that does not answer the first few times."""

    refusals = 2

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        if self.refusals:
            self.refusals -= 1
            raise RetryableError("kafka_unavailable", "away")
        return await super().append(stream, partition, records)


async def test_what_was_heard_waits_for_the_broker() -> None:
    async with BOARDS["ami"]([([], sw.INBOUND)], secret=SECRET) as board, heard("ami", board.port, log=_Away) as at:
        assert [each["status"] for each in await at.until(3)] == ["ringing", "answered", "ended"]


class _Slow(EmbeddedLog):
    """A log that takes its time to acknowledge what it has."""

    stored: ClassVar[list[Outgoing]] = []

    async def append(self, stream: str, partition: int, records: Sequence[Outgoing]) -> list[int]:
        offsets = await super().append(stream, partition, records)
        self.stored.extend(records)
        await asyncio.sleep(0.5)
        return offsets

    @classmethod
    async def has_three(cls) -> bool:
        return len(cls.stored) >= 3


async def test_what_is_being_stored_at_the_end_is_not_stored_again() -> None:
    async with BOARDS["ami"]([([], sw.INBOUND)], secret=SECRET) as board, heard("ami", board.port, log=_Slow):
        await until(_Slow.has_three)
    told = [orjson.loads(each.value or b"")["status"] for each in _Slow.stored]
    assert told == ["ringing", "answered", "ended"]


class _Full(Kept):
    """A disk that takes nothing."""

    def save(self, of: Sequence[str], value: object) -> None:
        raise RetryableError("state_unwritable", f"{of} {value}")


async def test_a_full_disk_keeps_no_call_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = _Full(tmp_path, "router", "ami")
    async with BOARDS["ami"]([([], sw.INBOUND)], secret=SECRET) as board, heard("ami", board.port, kept=kept) as at:
        await at.until(3)
    assert "calls_not_kept" in caplog.messages


@pytest.mark.skipif(not SAMPLES.exists(), reason="the samples are not here")
async def test_the_samples() -> None:
    events = list(events_of((SAMPLES / "08_asterisk_ami_originate_call.txt").read_bytes()))
    async with BOARDS["ami"]([([], events)], secret=SECRET) as board, heard("ami", board.port) as at:
        assert [each["status"] for each in await at.until(3)] == ["ringing", "answered", "ended"]
    (event, *_) = events_of((SAMPLES / "09_freeswitch_esl_channel_create.txt").read_bytes())
    async with BOARDS["esl"]([([], [event])], secret=SECRET) as board, heard("esl", board.port) as at:
        (call,) = await at.until(1)
    assert (call["status"], call["from"], call["to"]) == ("ringing", "100", "101")
