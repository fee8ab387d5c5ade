"""The mail server, and the readers of mailboxes."""

import asyncio
from collections.abc import Iterator

from interaction_router.adapters.clock import SystemClock
from interaction_router.application.delivery import Delivery
from interaction_router.bootstrap.receiving import Ready, kept_of, nothing_to_receive, receiving, tasks
from interaction_router.channels.mail import CHANNEL as EMAIL
from interaction_router.domain.errors import ConfigurationError, FatalError
from interaction_router.domain.interactions import Direction
from interaction_router.receivers.attachments import AttachmentFolder, Attachments
from interaction_router.receivers.imap import Folder, FolderReader
from interaction_router.receivers.mails import Mails
from interaction_router.receivers.smtp import MailServer, smtp_server, tenants_by_domain
from interaction_router.settings import ImapSettings, ReceiversAttachmentsSettings, Settings


async def receive_smtp(settings: Settings, ready: Ready) -> None:
    """Take mail for the tenants' domains until cancelled; `ready` hears where."""
    tenants = tenants_by_domain({name: of.mail_domains for name, of in settings.tenants.items()})
    if not tenants:
        raise nothing_to_receive("smtp", setting="mail_domains", what="a domain whose mail comes here")
    async with receiving(settings, "smtp", EMAIL) as taker:
        server = MailServer(_mails(settings, taker), tenants, SystemClock())
        async with smtp_server(settings.receivers.smtp, server) as at:
            ready(f"{at.host}:{at.port}")
            await asyncio.Event().wait()


async def receive_imap(settings: Settings, ready: Ready) -> None:
    """Read every tenant's mailbox until cancelled; `ready` hears once each folder has been tried."""
    at = settings.receivers.imap
    folders = [
        Folder(name, folder, direction, of.imap, at.idle_limit.total_seconds())
        for name, of in settings.tenants.items()
        if of.imap is not None
        for folder, direction in _folders(of.imap)
    ]
    if not folders:
        raise nothing_to_receive("imap", setting="imap", what="where the tenant's mailbox is")
    kept = kept_of(settings, "imap")
    if kept is None:
        cause = "There is nowhere to keep up to where mailboxes have been read."
        raise ConfigurationError("state_unset", cause, "Set receivers.state_dir, a folder that outlives the process.")
    async with receiving(settings, "imap", EMAIL) as taker, tasks() as group:
        mails = _mails(settings, taker)
        readers = [FolderReader(folder, mails, kept, SystemClock()) for folder in folders]
        for reader in readers:
            group.create_task(reader.run(), name="mailbox")
        for reader in readers:
            await reader.tried.wait()
        ready(f"folders={len(readers)}")


def _mails(settings: Settings, taker: Delivery) -> Mails:
    return Mails(taker, _attachments(settings.receivers.attachments))


def _attachments(at: ReceiversAttachmentsSettings) -> Attachments:
    if at.s3 is None:
        return AttachmentFolder(at.dir, at.url)
    try:
        from interaction_router.receivers.attachment_bucket import AttachmentBucket  # noqa: PLC0415 - an extra
    except ImportError as error:
        cause = "receivers.attachments.s3 is set, and what it needs is not installed."
        raise FatalError("s3_missing", cause, "Run `pip install interaction-router[s3]`.") from error
    return AttachmentBucket(at.s3, at.url)


def _folders(at: ImapSettings) -> Iterator[tuple[str, Direction]]:
    yield at.folder, "inbound"
    if at.sent_folder is not None:
        yield at.sent_folder, "outbound"
