"""`receive smtp` as a process, a real client, a real broker."""

import asyncio
import smtplib
import ssl
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import pytest
import trustme

from tests.integration.receivers import Receiver, raw_records
from tests.integration.running import Running
from tests.servers import Broker
from tests.servers.addresses import free_port

TENANTS = {
    "TENANTS__ACME__MAIL_DOMAINS": '["acme.example"]',
    "TENANTS__GLOBEX__MAIL_DOMAINS": '["globex.example"]',
    "RECEIVERS__SMTP__HOSTNAME": "mail.acme.example",
}
DIES_BEFORE_IT_ANSWERS = """
import os, signal
from interaction_router.application.delivery import Delivery
deliver = Delivery.deliver
async def dying(self, records):
    await deliver(self, records)
    os.kill(os.getpid(), signal.SIGKILL)
Delivery.deliver = dying
"""


def mail(message_id: str = "<1@example.com>", **headers: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Ann <ann@example.com>"
    message["To"] = "support@acme.example"
    message["Date"] = "Sun, 22 Nov 2026 10:15:30 +0200"
    message["Subject"] = "My parcel"
    message["Message-ID"] = message_id
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content("Where is it?\n.\nA line with one dot above.\n")
    return message


def parted(at: str) -> tuple[str, int]:
    host, _, port = at.rpartition(":")
    return host, int(port)


@pytest.fixture
async def running(broker: Broker, namespace: str, tmp_path: Path) -> Running:
    running = Running(
        bootstrap=broker.bootstrap, redis_url="redis://127.0.0.1:1", namespace=namespace, folder=tmp_path,
        TOPICS__PARTITIONS="2",
    )  # fmt: skip
    await running.apply_topics()
    return running


@pytest.fixture
async def receiver(running: Running, tmp_path: Path) -> AsyncIterator[Receiver]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    certificate = authority.issue_cert("mail.acme.example", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    receiver = Receiver(
        running, "smtp --port 0", tmp_path, RECEIVERS__SMTP__SSL_CERTFILE=str(tmp_path / "server.pem"),
        RECEIVERS__ATTACHMENTS__DIR=str(tmp_path / "attachments"), **TENANTS,
    )  # fmt: skip
    try:
        yield receiver
    finally:
        receiver.kill()


async def test_mail_comes_encrypted_and_is_in_the_topic_when_it_is_answered(
    receiver: Receiver, running: Running, tmp_path: Path
) -> None:
    host, port = parted(await receiver.at())
    message = mail()
    message.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="a.pdf")

    def send() -> dict[str, tuple[int, bytes]]:
        with smtplib.SMTP(host, port, timeout=20) as client:
            client.starttls(context=ssl.create_default_context(cafile=tmp_path / "authority.pem"))
            client.ehlo()
            assert int(client.esmtp_features["size"]) == 25 * 1024 * 1024
            recipients = ["support@acme.example", "us@Globex.example", "them@elsewhere.example"]
            return client.send_message(message, to_addrs=recipients)

    refused = await asyncio.to_thread(send)
    assert {address: code for address, (code, _) in refused.items()} == {"them@elsewhere.example": 550}
    records = {record["tenant"]: record for record in await raw_records(running, "email")}
    assert records["globex"]["to"] == ["support@acme.example", "us@Globex.example"]
    taken = records["acme"]
    assert (taken["interaction_id"], taken["from"]) == ("1@example.com", {"address": "ann@example.com", "name": "Ann"})
    assert taken["text"] == "Where is it?\n.\nA line with one dot above."
    (attachment,) = taken["attachments"]
    stored = tmp_path / "attachments" / "acme" / attachment["sha256"][:2] / attachment["sha256"]
    assert (attachment["name"], attachment["url"], stored.read_bytes()) == ("a.pdf", stored.as_uri(), b"%PDF-")
    assert receiver.stop() == 0


async def test_what_is_refused(receiver: Receiver, running: Running) -> None:
    host, port = parted(await receiver.at())

    def send() -> list[int]:
        with smtplib.SMTP(host, port, timeout=20) as client:
            client.ehlo()
            codes = [client.mail("ann@example.com", ["SIZE=26214401"])[0]]
            codes += [client.mail("ann@example.com")[0], client.rcpt("a@elsewhere.example")[0]]
            codes += [client.rcpt("support@acme.example")[0]]
            codes += [client.data(b"x: y\r\n\r\n" + (b"z" * 998 + b"\r\n") * 27_000)[0]]
            codes += [client.mail("<>")[0], client.rcpt("support@acme.example")[0]]
            codes += [client.data(b"From: x@y.example\r\n\r\n" + b"a long line " * 1_000)[0]]
            return codes

    assert await asyncio.to_thread(send) == [552, 250, 550, 250, 552, 250, 250, 250]
    (bounce,) = await raw_records(running, "email")
    assert bounce["auto_response"] is True


async def test_by_lmtp_each_recipient_is_answered(running: Running, tmp_path: Path) -> None:
    receiver = Receiver(running, "smtp --port 0", tmp_path, RECEIVERS__SMTP__PROTOCOL="lmtp", **TENANTS)
    try:
        host, port = parted(await receiver.at())

        def send() -> list[int]:
            with smtplib.LMTP(host, port) as client:
                client.ehlo()
                client.mail("ann@example.com")
                recipients = ["a@acme.example", "b@acme.example", "c@globex.example"]
                codes = [client.rcpt(each)[0] for each in recipients]
                codes += [client.data(mail().as_bytes())[0], client.getreply()[0], client.getreply()[0]]
                return [*codes, client.noop()[0]]

        assert await asyncio.to_thread(send) == [250] * 7
        assert len(await raw_records(running, "email")) == 2
    finally:
        receiver.kill()


async def test_killed_before_it_answers_and_sent_again_is_one_interaction(running: Running, tmp_path: Path) -> None:
    port = free_port()
    dying = Receiver(running, f"smtp --port {port}", tmp_path, before=DIES_BEFORE_IT_ANSWERS, **TENANTS)
    try:
        await dying.at()
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
            await asyncio.to_thread(_send, port)
        assert dying.process.wait(timeout=10) == -9
    finally:
        dying.kill()
    again = Receiver(running, f"smtp --port {port}", tmp_path, **TENANTS)
    try:
        await again.at()
        await asyncio.to_thread(_send, port)
    finally:
        again.kill()
    first, second = await raw_records(running, "email")
    assert first == second


def _send(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.send_message(mail())


async def test_without_a_broker_the_sender_keeps_it_and_with_a_spool_it_is_taken(tmp_path: Path) -> None:
    running = Running(bootstrap="127.0.0.1:1", redis_url="redis://127.0.0.1:1", namespace="nobody", folder=tmp_path)
    for spool, answer in ({}, 452), ({"RECEIVERS__SPOOL__DIR": str(tmp_path)}, 250):
        receiver = Receiver(running, "smtp --port 0", tmp_path, **spool, **TENANTS)
        try:
            host, port = parted(await receiver.at())

            def send(host: str = host, port: int = port) -> int:
                with smtplib.SMTP(host, port, timeout=20) as client:
                    client.ehlo()
                    client.mail("ann@example.com")
                    client.rcpt("support@acme.example")
                    return client.data(mail().as_bytes())[0]

            assert await asyncio.to_thread(send) == answer
        finally:
            receiver.kill()


S3 = {
    f"RECEIVERS__ATTACHMENTS__S3__{name}": value
    for name, value in {
        "BUCKET": "mail", "ENDPOINT": "http://127.0.0.1:1", "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x"
    }.items()
}  # fmt: skip


async def test_mail_waits_for_its_attachments_bucket(tmp_path: Path) -> None:
    running = Running(bootstrap="127.0.0.1:1", redis_url="redis://127.0.0.1:1", namespace="nobody", folder=tmp_path)
    spool = {"RECEIVERS__SPOOL__DIR": str(tmp_path)}
    receiver = Receiver(running, "smtp --port 0", tmp_path, **spool, **TENANTS, **S3)
    message = mail("<2@example.com>")
    message.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="a.pdf")
    try:
        host, port = parted(await receiver.at())

        def send() -> list[int]:
            with smtplib.SMTP(host, port, timeout=60) as client:
                client.ehlo()
                codes = []
                for each in (message, mail()):
                    client.mail("ann@example.com")
                    client.rcpt("support@acme.example")
                    codes.append(client.data(each.as_bytes())[0])
                return codes

        assert await asyncio.to_thread(send) == [452, 250]
    finally:
        receiver.kill()


def test_a_bucket_without_the_extra_is_said(tmp_path: Path) -> None:
    running = Running(bootstrap="127.0.0.1:1", redis_url="redis://127.0.0.1:1", namespace="nobody", folder=tmp_path)
    missing = "import sys; sys.modules['obstore.exceptions'] = sys.modules['obstore'] = None"
    receiver = Receiver(running, "smtp --port 0", tmp_path, before=missing, **TENANTS, **S3)
    assert receiver.process.wait(timeout=30) == 1
    assert "error: s3_missing:" in receiver.errors.read_text()
    assert "pip install interaction-router[s3]" in receiver.errors.read_text()


@pytest.mark.parametrize(
    ("settings", "words", "code"),
    [
        ({}, "tenants.<tenant>.mail_domains", 78),
        ({"CHANNELS": '["voice"]', **TENANTS}, "channel_unset", 78),
        (TENANTS, "topics apply", 1),
    ],
)
async def test_why_it_does_not_start_is_said(
    broker: Broker, namespace: str, tmp_path: Path, settings: dict[str, str], words: str, code: int
) -> None:
    running = Running(bootstrap=broker.bootstrap, redis_url="redis://127.0.0.1:1", namespace=namespace, folder=tmp_path)
    receiver = Receiver(running, "smtp --port 0", tmp_path, **settings)
    assert receiver.process.wait(timeout=20) == code
    assert words in receiver.errors.read_text()
