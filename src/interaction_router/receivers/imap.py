"""`receive imap`: mailboxes that are looked into, and that tell of new mail by themselves (IDLE).

Nothing is changed in a mailbox. Up to where it has been read is kept in a file: the folder's UIDVALIDITY and the last
UID. It is written once the broker or the spool has the mail, so a death between the two takes a mail again, and the
repeat is the same interaction. Where the server has numbered the mails anew, those since the day before the last one
are taken again.

Source: RFC 3501 sections 2.3.1 and 6.4.8; RFC 2177.
"""

import asyncio
import contextlib
import logging
import random
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from imapclient import IMAPClient, SocketTimeout
from imapclient.exceptions import IMAPClientError, LoginError

from interaction_router.channels.mail import Envelope
from interaction_router.domain.errors import RetryableError
from interaction_router.domain.interactions import Direction
from interaction_router.ports import Clock
from interaction_router.receivers.kept import Kept
from interaction_router.receivers.mails import Mails
from interaction_router.settings import ImapSettings

SIZE_LIMIT: Final = 25 * 1024 * 1024
_TIMEOUTS: Final = SocketTimeout(connect=10, read=60)
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 60.0
_LISTEN_S: Final = 1.0
"""How long a thread waits for the server at once: as long as the end of the program waits for the thread."""
_LOOK_EVERY_S: Final = 30.0
"""How often a server is asked that cannot tell by itself."""
_LAST_WORDS_S: Final = 3.0
_AGAIN: Final = timedelta(days=1)

_LOGGER = logging.getLogger("interaction_router.receivers.imap")

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where a folder has been read; `day` is when the last mail came, for when its number says nothing."""

    validity: int
    uid: int
    day: str | None = None

    @classmethod
    def of(cls, kept: Mapping[str, Any] | None) -> "Position | None":
        """Return the position that was kept, None for a folder that was never read."""
        return None if kept is None else cls(int(kept["validity"]), int(kept["uid"]), kept.get("day"))


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder of a tenant's mailbox."""

    tenant: str
    name: str
    direction: Direction
    settings: ImapSettings
    idle_limit_s: float

    @property
    def identity(self) -> Sequence[str]:
        """What its position is kept by."""
        at = self.settings
        return (self.tenant, at.username, at.host, str(at.port), self.name)


class FolderReader:
    """Reads one folder until cancelled."""

    def __init__(self, folder: Folder, mails: Mails, kept: Kept, clock: Clock) -> None:
        self._folder = folder
        self._mails = mails
        self._kept = kept
        self._clock = clock
        self.tried = asyncio.Event()
        """Set once the folder has been read to its end, or could not be, for the first time."""

    async def run(self) -> None:
        """Stay connected; a lost connection is made again, later each time."""
        pause_s = _FIRST_PAUSE_S
        while True:
            begun = asyncio.get_running_loop().time()
            try:
                await self._connection()
            except LoginError:
                _LOGGER.warning("imap_refused", extra=self._about(cause="the user or the password is refused"))
                pause_s = _LONGEST_PAUSE_S
            except (IMAPClientError, OSError, EOFError, RetryableError, ValueError) as error:
                told = error.code if isinstance(error, RetryableError) else type(error).__name__
                _LOGGER.warning("imap_lost", extra=self._about(cause=told))
            self.tried.set()
            if asyncio.get_running_loop().time() - begun > _LONGEST_PAUSE_S:
                pause_s = _FIRST_PAUSE_S
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - so that receivers do not come at once
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _connection(self) -> None:
        client = await _blocking(lambda: _connected(self._folder.settings))
        try:
            await _blocking(lambda: _log_in(client, self._folder.settings))
            selected = await _blocking(lambda: client.select_folder(self._folder.name, readonly=True))
            position = await self._resumed(client, selected)
            _LOGGER.info("imap_connected", extra=self._about(uid=position.uid))
            idles = await _blocking(lambda: client.has_capability("IDLE"))
            while True:
                position = await self._read(client, position)
                self.tried.set()
                await (self._idle(client) if idles else self._wait(client))
        finally:
            _hang_up(client)

    async def _resumed(self, client: IMAPClient, selected: Mapping[bytes, Any]) -> Position:
        """Return where to go on; a folder that is numbered anew is read again since the day before the last mail."""
        validity, following = int(selected[b"UIDVALIDITY"]), int(selected.get(b"UIDNEXT", 1))
        position = Position.of(await _blocking(lambda: self._kept.load(self._folder.identity)))
        if position is None:
            begin = 0 if self._folder.settings.start == "all" else following - 1
            position = Position(validity, begin)
            await self._save(position)
        elif position.validity != validity:
            since = _since(position, self._clock)
            uids = await _blocking(lambda: client.search(["SINCE", since]))
            _LOGGER.warning("imap_renumbered", extra=self._about(again=len(uids), since=since.isoformat()))
            position = Position(validity, min(uids, default=following) - 1, position.day)
        return position

    async def _read(self, client: IMAPClient, position: Position) -> Position:
        """Take every mail behind the position, the oldest first."""
        uids = await _blocking(lambda: client.search(["UID", f"{position.uid + 1}:*"]))
        # The range ends with the last mail there is, also where that is below its beginning.
        for uid in sorted(each for each in uids if each > position.uid):
            position = await self._take(client, uid, position)
        return position

    async def _take(self, client: IMAPClient, uid: int, position: Position) -> Position:
        wanted = ["INTERNALDATE", "RFC822.SIZE", f"BODY.PEEK[]<0.{SIZE_LIMIT}>"]
        fetched = (await _blocking(lambda: client.fetch([uid], wanted))).get(uid)
        if fetched is None:
            return position
        content, came = fetched.get(b"BODY[]<0>") or fetched.get(b"BODY[]") or b"", fetched.get(b"INTERNALDATE")
        came_at = came.astimezone(UTC) if isinstance(came, datetime) else None
        received_at_ms = max(0, int(came_at.timestamp() * 1000)) if came_at else self._clock.now_ms()
        envelope = Envelope(self._folder.tenant, received_at_ms, direction=self._folder.direction)
        damage = "size" if int(fetched.get(b"RFC822.SIZE", 0)) > SIZE_LIMIT else None
        await self._mails.take(content, [envelope], damage=damage)
        position = Position(position.validity, uid, came_at.date().isoformat() if came_at else position.day)
        await self._save(position)
        _LOGGER.info("mail_taken", extra=self._about(uid=uid, bytes=len(content)))
        return position

    async def _save(self, position: Position) -> None:
        await _blocking(lambda: self._kept.save(self._folder.identity, position))

    async def _idle(self, client: IMAPClient) -> None:
        """Wait until the server tells of something, or has said nothing for so long that it is to be asked."""
        await _blocking(client.idle)
        waited_s = 0.0
        while waited_s < self._folder.idle_limit_s:
            if await _blocking(lambda: client.idle_check(timeout=_LISTEN_S)):
                break
            waited_s += _LISTEN_S
        await _blocking(client.idle_done)

    async def _wait(self, client: IMAPClient) -> None:
        await asyncio.sleep(_LOOK_EVERY_S)
        await _blocking(client.noop)

    def _about(self, **more: object) -> dict[str, object]:
        """Return what a log event says besides its name."""
        return {"tenant": self._folder.tenant, "folder": self._folder.name, **more}


async def _blocking(call: Callable[[], Answer]) -> Answer:
    """Make a call of the library, which waits for the server, in a thread.

    A client is no two threads' at once: who is cancelled waits for the thread, but not for ever.
    """
    calling = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        await asyncio.wait([calling], timeout=_LAST_WORDS_S)
        raise


def _hang_up(client: IMAPClient) -> None:
    """Close the connection under whatever thread still waits for the server."""
    with contextlib.suppress(OSError, IMAPClientError, AttributeError):
        client.socket().shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError, IMAPClientError, AttributeError):
        client.shutdown()


def _connected(settings: ImapSettings) -> IMAPClient:
    context = None if settings.tls == "off" else ssl.create_default_context(cafile=settings.ssl_cafile)
    client = IMAPClient(
        settings.host, settings.port, ssl=settings.tls == "tls", ssl_context=context if settings.tls == "tls" else None,
        timeout=_TIMEOUTS,  # type: ignore[arg-type]  # the library's own type for connecting and reading apart
    )  # fmt: skip
    client.normalise_times = False
    if settings.tls == "starttls":
        client.starttls(context)
    return client


def _log_in(client: IMAPClient, settings: ImapSettings) -> None:
    client.login(settings.username, settings.password.get_secret_value())


def _since(position: Position, clock: Clock) -> Any:  # Any: a date, for which the library has no type
    """Return the day before the one on which the last mail came that was taken; yesterday where that is not known."""
    today = datetime.fromtimestamp(clock.now_ms() / 1000, UTC).date()
    last = today if position.day is None else datetime.fromisoformat(position.day).date()
    return last - _AGAIN
