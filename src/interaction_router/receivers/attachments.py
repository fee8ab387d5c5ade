"""What came with mail, in a folder: each content once a tenant, under the name of its digest."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from interaction_router.channels.mail import Attachment
from interaction_router.domain.errors import RetryableError


class Attachments(Protocol):
    """Where attachments are stored."""

    async def store(self, tenant: str, attachments: Sequence[Attachment]) -> list[str | None]:
        """Return the links, None where nothing is stored, once the contents would survive a power cut.

        Storing a content again changes nothing.

        Raises:
            RetryableError: they are not taken for now.
        """
        ...


class AttachmentFolder:
    """`<folder>/<tenant>/<first two of the digest>/<digest>`; nothing in a name comes from the mail."""

    def __init__(self, folder: Path | None, url: str | None) -> None:
        """Store in `folder`, nowhere where None; links begin with `url` where a web server serves the folder."""
        self._folder = folder
        self._url = url

    async def store(self, tenant: str, attachments: Sequence[Attachment]) -> list[str | None]:
        """Return the links, once the contents would survive a power cut; storing one again changes nothing.

        Raises:
            RetryableError: the disk does not take them.
        """
        if self._folder is None or not attachments:
            return [None] * len(attachments)
        try:
            return await asyncio.to_thread(self._store, self._folder, tenant, attachments)
        except OSError as error:
            advice = "Look at `receivers.attachments.dir`: is it there, has the disk room, may this user write?"
            raise RetryableError("attachments_unavailable", f"Attachments: {error.strerror}.", advice) from error

    def _store(self, folder: Path, tenant: str, attachments: Sequence[Attachment]) -> list[str | None]:
        links: list[str | None] = []
        for each in attachments:
            place = Path(tenant, each.digest[:2], each.digest)
            path = folder / place
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, each.content)
            links.append(path.absolute().as_uri() if self._url is None else f"{self._url}/{place.as_posix()}")
        return links


def _write(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all."""
    passing = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with passing.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        passing.replace(path)
    except BaseException:
        passing.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
