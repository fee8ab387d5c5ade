"""The wiring of the receivers: settings to servers and clients, on the router's log."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from interaction_router.application.delivery import Delivery
from interaction_router.bootstrap import SystemClock, answering, delivery, kafka_log
from interaction_router.domain.errors import FatalError
from interaction_router.receivers.attachments import AttachmentFolder
from interaction_router.receivers.mails import Mails
from interaction_router.receivers.smtp import MailServer, smtp_server, tenants_by_domain
from interaction_router.settings import Settings

Ready = Callable[[str], None]


@asynccontextmanager
async def receiving(settings: Settings, receiver: str) -> AsyncIterator[Delivery]:
    """Have what takes a receiver's records: Kafka, or a router on embedded storage in this very process."""
    if settings.embedded.data_dir is None:
        async with kafka_log(settings) as log, delivery(settings, log, receiver) as taker:
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
    async with receiving(settings, "smtp") as taker:
        server = MailServer(_mails(settings, taker), tenants, SystemClock())
        async with smtp_server(settings.receivers.smtp, server) as at:
            ready(f"{at.host}:{at.port}")
            await asyncio.Event().wait()


def _unset(receiver: str, setting: str, what: str) -> FatalError:
    cause = f"No tenant has anything to receive by {receiver}."
    return FatalError("nothing_to_receive", cause, f"Set tenants.<tenant>.{setting}, {what}.")
