"""`receive imap` on a real IMAP server, and on a log within this process."""

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from imapclient import IMAPClient
from pydantic import SecretStr

from interaction_router.adapters.clock import SystemClock
from interaction_router.adapters.embedded.database import EmbeddedDatabase
from interaction_router.adapters.embedded.log import EmbeddedLog
from interaction_router.application.delivery import Delivery
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.domain.interactions import Direction
from interaction_router.receivers.attachments import AttachmentFolder
from interaction_router.receivers.imap import Folder, FolderReader
from interaction_router.receivers.kept import Kept
from interaction_router.receivers.mails import Mails
from interaction_router.settings import ImapSettings
from tests.integration.running import until
from tests.servers.addresses import answers, free_port

STREAM = "interactions.email.v1"
USER, PASSWORD = "support", "s3cret"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    at = free_port()
    arguments = ["dict", "--demo-data", "--demo-user", USER, "--demo-password", PASSWORD]
    program = "from pymap.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, "--host", "127.0.0.1", "--port", str(at), "--no-tls",
         "--no-service", "admin", *arguments],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline, greets = time.monotonic() + 20, answers(at, b"")
        while not greets():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield at
    finally:
        process.kill()
        process.wait()


@contextmanager
def mailbox(port: int) -> Iterator[IMAPClient]:
    with IMAPClient("127.0.0.1", port, ssl=False, timeout=20) as client:
        client.login(USER, PASSWORD)
        yield client


def settings(port: int, **more: Any) -> ImapSettings:
    password = SecretStr(str(more.pop("password", PASSWORD)))
    return ImapSettings(host="127.0.0.1", port=port, tls="off", username=USER, password=password, **more)


def mail(number: int) -> bytes:
    return (
        f"From: Ann <ann@example.com>\r\nTo: support@acme.example\r\nMessage-ID: <{number}@example.com>\r\n"
        f"Date: Sun, 22 Nov 2026 10:15:30 +0200\r\nSubject: {number}\r\n\r\nWhere is it?\r\n"
    ).encode()


class Reading:
    def __init__(self, log: EmbeddedLog, reader: FolderReader) -> None:
        self._log = log
        self.reader = reader

    async def told(self) -> list[dict[str, Any]]:
        return [orjson.loads(record.value or b"") for record in await self._log.read(STREAM, 0, 0)]

    async def until(self, *numbers: int) -> list[dict[str, Any]]:
        async def written() -> bool:
            return [each["interaction_id"] for each in await self.told()] == [f"{each}@example.com" for each in numbers]

        await until(written, within_s=20)
        return await self.told()


@asynccontextmanager
async def reading(
    at: ImapSettings, name: str, kept: Path, *, direction: Direction = "inbound"
) -> AsyncIterator[Reading]:
    folder = Folder("acme", name, direction, at, idle_limit_s=540)
    with EmbeddedDatabase(None) as database:
        log = EmbeddedLog(database, SystemClock())
        await log.create(STREAM, 1, compacted=False)
        mails = Mails(Delivery(log, None), AttachmentFolder(None, None))
        reader = FolderReader(folder, mails, Kept(kept, "router", "imap"), SystemClock())
        running = asyncio.create_task(reader.run(), name="mailbox")
        try:
            async with asyncio.timeout(20):
                await reader.tried.wait()
            yield Reading(log, reader)
        finally:
            running.cancel()
            await asyncio.wait([running])


async def add(port: int, name: str, *numbers: int) -> None:
    def append() -> None:
        with mailbox(port) as client:
            for number in numbers:
                client.append(name, mail(number))

    await asyncio.to_thread(append)


async def create(port: int, name: str) -> None:
    def made() -> None:
        with mailbox(port) as client:
            client.create_folder(name)

    await asyncio.to_thread(made)


async def test_new_mail_is_taken_as_it_comes_and_each_once(port: int, tmp_path: Path) -> None:
    await create(port, "New")
    await add(port, "New", 1)
    async with reading(settings(port), "New", tmp_path) as at:
        await add(port, "New", 2)
        (told,) = await at.until(2)
        assert (told["direction"], told["from"]["address"], told["text"]) == (
            "inbound",
            "ann@example.com",
            "Where is it?",
        )
    await add(port, "New", 3, 4)
    async with reading(settings(port), "New", tmp_path) as at:
        await at.until(3, 4)

    def flags() -> list[tuple[bytes, ...]]:
        with mailbox(port) as client:
            client.select_folder("New", readonly=True)
            return list(client.get_flags(client.search()).values())

    assert not any(b"\\Seen" in each for each in await asyncio.to_thread(flags))


async def test_all_mail_is_taken_where_that_is_set_and_sent_mail_is_outbound(port: int, tmp_path: Path) -> None:
    await create(port, "Gone out")
    await add(port, "Gone out", 1, 2)
    async with reading(settings(port, start="all"), "Gone out", tmp_path, direction="outbound") as at:
        told = await at.until(1, 2)
        assert [(each["direction"], each["status"]) for each in told] == [("outbound", "sent")] * 2


async def test_a_folder_that_is_numbered_anew_is_read_again(
    port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await create(port, "Anew")
    await add(port, "Anew", 1)
    async with reading(settings(port, start="all"), "Anew", tmp_path) as at:
        await at.until(1)

    def anew() -> None:
        with mailbox(port) as client:
            client.delete_folder("Anew")
            client.create_folder("Anew")
            for number in (1, 2):
                client.append("Anew", mail(number))

    await asyncio.to_thread(anew)
    async with reading(settings(port), "Anew", tmp_path) as at:
        await at.until(1, 2)
    assert "imap_renumbered" in caplog.messages
    assert "ann@" not in str([vars(record) for record in caplog.records])


async def test_a_wrong_password_is_said(port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with reading(settings(port, password="wrong"), "INBOX", tmp_path):
        assert "imap_refused" in caplog.messages
    assert "wrong" not in str([vars(record) for record in caplog.records])


async def test_nobody_at_the_port_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with reading(settings(1), "INBOX", tmp_path):
        assert "imap_lost" in caplog.messages


async def test_a_mail_that_cannot_be_stored_is_taken_later(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(port, "Later")
    deliver, refusals = Delivery.deliver, [RetryableError("kafka_unavailable", "away")]

    async def failing(self: Delivery, records: Any) -> None:
        if refusals:
            raise refusals.pop()
        await deliver(self, records)

    monkeypatch.setattr(Delivery, "deliver", failing)
    async with reading(settings(port), "Later", tmp_path) as at:
        await add(port, "Later", 1)
        await at.until(1)
    assert not refusals


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "new", "router", "imap")
    assert kept.load(["a"]) is None
    kept.save(["a"], {"uid": 42})
    kept.save(["a", "b"], {"uid": 1})
    assert kept.load(["a"]) == {"uid": 42}
    assert Kept(tmp_path / "new", "other", "imap").load(["a"]) is None
    assert Kept(tmp_path / "new", "router", "ami").load(["a"]) is None
    for path in (tmp_path / "new").iterdir():
        path.write_text("{")
    with pytest.raises(FatalError):
        kept.load(["a"])


def test_what_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RetryableError):
        Kept(tmp_path / "file", "router", "imap").save(["a"], {})
