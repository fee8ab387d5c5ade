"""The wiring of the receivers: settings to servers and clients, on the router's log."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

from interaction_router.adapters.kafka.topics import look_at_topics
from interaction_router.application.delivery import PATIENCE_S, Delivery
from interaction_router.bootstrap import SystemClock, answering, delivery, first_of, kafka_log
from interaction_router.channels.asterisk import Asterisk
from interaction_router.channels.calls import CHANNEL as VOICE
from interaction_router.channels.calls import Line
from interaction_router.channels.freeswitch import FreeSwitch
from interaction_router.channels.mail import CHANNEL as EMAIL
from interaction_router.domain.errors import FatalError, RouterError
from interaction_router.domain.interactions import Direction
from interaction_router.receivers import ami, esl
from interaction_router.receivers.attachments import AttachmentFolder
from interaction_router.receivers.imap import Folder, FolderReader
from interaction_router.receivers.kept import Kept
from interaction_router.receivers.mails import Mails
from interaction_router.receivers.smtp import MailServer, smtp_server, tenants_by_domain
from interaction_router.receivers.switches import Place, Switch
from interaction_router.settings import ImapSettings, Settings, SwitchSettings

Ready = Callable[[str], None]


@asynccontextmanager
async def receiving(settings: Settings, receiver: str, channel: str) -> AsyncIterator[Delivery]:
    """Have what takes a receiver's records: Kafka, or a router on embedded storage in this very process.

    Raises:
        FatalError: the channel is none of the settings', or a topic is missing.
    """
    if channel not in settings.channels:
        cause = f"What comes by {receiver} is of the channel {channel}, which is none of the settings'."
        raise FatalError(
            "channel_unset", cause, f"Add {channel} to `channels`, and run `interaction-router topics apply`."
        )
    if settings.embedded.data_dir is None:
        async with kafka_log(settings) as log:
            await look_at_topics(log, settings.channels, patience_s=PATIENCE_S)
            async with delivery(settings, log, receiver) as taker:
                yield taker
    else:
        async with answering(settings) as (embedded, _), delivery(settings, embedded, receiver) as taker:
            yield taker


def _mails(settings: Settings, taker: Delivery) -> Mails:
    at = settings.receivers.attachments
    return Mails(taker, AttachmentFolder(at.dir, at.url))


async def receive_smtp(settings: Settings, ready: Ready) -> None:
    """Take mail for the tenants' domains until cancelled; `ready` hears where."""
    tenants = tenants_by_domain({name: of.mail_domains for name, of in settings.tenants.items()})
    if not tenants:
        raise _unset("smtp", "mail_domains", "a domain whose mail comes here")
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
        raise _unset("imap", "imap", "where the tenant's mailbox is")
    kept = _kept(settings, "imap")
    if kept is None:
        cause = "There is nowhere to keep up to where mailboxes have been read."
        raise FatalError("state_unset", cause, "Set receivers.state_dir, a folder that outlives the process.")
    async with receiving(settings, "imap", EMAIL) as taker, _tasks() as group:
        mails = _mails(settings, taker)
        readers = [FolderReader(folder, mails, kept, SystemClock()) for folder in folders]
        for reader in readers:
            group.create_task(reader.run(), name="mailbox")
        for reader in readers:
            await reader.tried.wait()
        ready(f"folders={len(readers)}")


def _kept(settings: Settings, kind: str) -> Kept | None:
    folder = settings.receivers.state_dir or settings.embedded.data_dir
    return None if folder is None else Kept(folder, settings.namespace, kind)


def _folders(at: ImapSettings) -> Iterator[tuple[str, Direction]]:
    yield at.folder, "inbound"
    if at.sent_folder is not None:
        yield at.sent_folder, "outbound"


async def receive_ami(settings: Settings, ready: Ready) -> None:
    """Hear every tenant's Asterisk until cancelled."""
    switches = {name: of.ami for name, of in settings.tenants.items() if of.ami is not None}
    if not switches:
        raise _unset("ami", "ami", "where the tenant's Asterisk is")
    kept = _kept(settings, "ami")
    async with receiving(settings, "ami", VOICE) as taker:
        await _hear(
            [
                Switch(Place("ami", name, at.host, at.port), ami.conversation(at), Asterisk(_line(name, "asterisk", at)),
                       taker, kept, SystemClock())
                for name, at in switches.items()
            ],
            ready,
        )  # fmt: skip


async def receive_esl(settings: Settings, ready: Ready) -> None:
    """Hear every tenant's FreeSWITCH until cancelled."""
    switches = {name: of.esl for name, of in settings.tenants.items() if of.esl is not None}
    if not switches:
        raise _unset("esl", "esl", "where the tenant's FreeSWITCH is")
    kept = _kept(settings, "esl")
    async with receiving(settings, "esl", VOICE) as taker:
        await _hear(
            [
                Switch(Place("esl", name, at.host, at.port), esl.conversation(at),
                       FreeSwitch(_line(name, "freeswitch", at)), taker, kept, SystemClock())
                for name, at in switches.items()
            ],
            ready,
        )  # fmt: skip


def _line(tenant: str, provider: str, at: SwitchSettings) -> Line:
    return Line(tenant, provider, re.compile(at.internal_numbers), at.internal_calls, at.agents)


async def _hear(switches: Sequence[Switch], ready: Ready) -> None:
    """Keep connected to all switches; `ready` hears once each has been tried."""
    async with _tasks() as group:
        for switch in switches:
            group.create_task(switch.run(), name="switch")
        for switch in switches:
            await switch.tried.wait()
        ready(f"switches={len(switches)}")


@asynccontextmanager
async def _tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """Have a group of tasks; an error of the program's own comes out of it as it was raised."""
    failure: RouterError | None = None
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except* RouterError as errors:
        failure = first_of(errors)
    if failure is not None:
        raise failure


def _unset(receiver: str, setting: str, what: str) -> FatalError:
    cause = f"No tenant has anything to receive by {receiver}."
    return FatalError("nothing_to_receive", cause, f"Set tenants.<tenant>.{setting}, {what}.")
