"""`receivers.attachments.Attachments`: the folder, and a bucket of a server that speaks as S3 does."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from pydantic import SecretStr

from interaction_router.channels.mail import Attachment
from interaction_router.domain.errors import RetryableError
from interaction_router.receivers.attachment_bucket import AttachmentBucket
from interaction_router.receivers.attachments import AttachmentFolder, Attachments
from interaction_router.settings import ReceiversAttachmentsS3Settings
from tests.servers.addresses import answers, free_port

BUCKET = "mail"
USER, SECRET = "router", "s3cret"
SERVED = "https://files.example/mail"


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[str]:
    """The S3 server of rclone, whose buckets are folders of `tmp_path / "s3"`; its address."""
    (tmp_path / "s3" / BUCKET).mkdir(parents=True)
    port = free_port()
    serve = ["serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{USER},{SECRET}", str(tmp_path / "s3")]
    env = {"RCLONE_CONFIG": str(tmp_path / "rclone.conf"), "HOME": str(tmp_path)}
    process = subprocess.Popen([Path(sys.executable).parent / "rclone", *serve], env=env, stderr=subprocess.DEVNULL)
    try:
        deadline, listens = time.monotonic() + 60, answers(port, b"GET / HTTP/1.0\r\n\r\n")
        while not listens():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def bucket(endpoint: str, name: str = BUCKET, url: str | None = None, secret: str = SECRET) -> AttachmentBucket:
    at = ReceiversAttachmentsS3Settings(
        bucket=name, endpoint=endpoint, access_key_id=USER, secret_access_key=SecretStr(secret)
    )
    return AttachmentBucket(at, url)


@dataclass(frozen=True)
class Place:
    """A store under test, one whose links are served, one that takes nothing, and what is in the first."""

    store: Attachments
    served: Attachments
    away: Attachments
    link: Callable[[str], str]
    read: Callable[[str], bytes]


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        folder, file = tmp_path / "attachments", tmp_path / "file"
        file.write_bytes(b"")
        return Place(
            AttachmentFolder(folder, None),
            AttachmentFolder(folder, SERVED),
            AttachmentFolder(file, None),
            lambda name: (folder / name).as_uri(),
            lambda name: (folder / name).read_bytes(),
        )
    endpoint: str = request.getfixturevalue("s3")

    return Place(
        bucket(endpoint),
        bucket(endpoint, url=SERVED),
        bucket(endpoint, "nowhere"),
        lambda name: f"s3://{BUCKET}/{name}",
        lambda name: (tmp_path / "s3" / BUCKET / name).read_bytes(),
    )


def attachment(content: bytes, name: str = "a.pdf") -> Attachment:
    return Attachment(name, "application/pdf", sha256(content).hexdigest(), content)


def name_of(tenant: str, content: bytes) -> str:
    digest = sha256(content).hexdigest()
    return f"{tenant}/{digest[:2]}/{digest}"


async def test_contents_are_stored_under_their_digest_and_linked_in_order(place: Place) -> None:
    contents = [b"first", b"", b"x" * 6_000_000, b"first"]
    links = await place.store.store("acme", [attachment(content, "../../x\r\n") for content in contents])
    assert links == [place.link(name_of("acme", content)) for content in contents]
    assert [await asyncio.to_thread(place.read, name_of("acme", content)) for content in contents] == contents


async def test_storing_again_changes_nothing(place: Place) -> None:
    first = await place.store.store("acme", [attachment(b"again")])
    assert await place.store.store("acme", [attachment(b"again", "b.pdf")]) == first
    assert await asyncio.to_thread(place.read, name_of("acme", b"again")) == b"again"


async def test_a_tenants_contents_are_its_own(place: Place) -> None:
    (link,) = await place.store.store("zeta", [attachment(b"theirs")])
    assert link == place.link(name_of("zeta", b"theirs"))
    with pytest.raises(FileNotFoundError):
        await asyncio.to_thread(place.read, name_of("acme", b"theirs"))


async def test_links_are_of_the_server_that_serves_them(place: Place) -> None:
    assert await place.served.store("acme", [attachment(b"served")]) == [f"{SERVED}/{name_of('acme', b'served')}"]


async def test_nothing_to_store_is_nothing_to_link(place: Place) -> None:
    assert await place.away.store("acme", []) == []


async def test_what_is_not_taken_is_to_be_brought_again(place: Place) -> None:
    with pytest.raises(RetryableError) as failure:
        await place.away.store("acme", [attachment(b"secret")])
    assert failure.value.code == "attachments_unavailable"
    assert "secret" not in str(failure.value)


async def test_a_bucket_that_nobody_serves_or_to_which_one_has_no_key_takes_nothing(s3: str) -> None:
    for away in (bucket(f"http://127.0.0.1:{free_port()}"), bucket(s3, secret="guessed")):
        with pytest.raises(RetryableError) as failure:
            await away.store("acme", [attachment(b"x")])
        assert "guessed" not in str(failure.value)
