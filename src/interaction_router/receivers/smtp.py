"""`receive smtp`: mail that servers send here, by SMTP or LMTP.

250 stands for: the broker or the spool has it. What happens between storing and the answer makes the sender send
again, and the repeat is the same interaction.
"""

import asyncio
import logging
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Session
from aiosmtpd.smtp import Envelope as SmtpEnvelope

from interaction_router.channels.mail import Envelope
from interaction_router.domain.errors import ConfigurationError, RetryableError
from interaction_router.ports import Clock
from interaction_router.receivers.addresses import unusable
from interaction_router.receivers.mails import Mails
from interaction_router.settings import ReceiversSmtpSettings
from interaction_router.wire.mailboxes import mailbox

SIZE_LIMIT: Final = 25 * 1024 * 1024
_RECIPIENTS_LIMIT: Final = 100
_LINE_LIMIT: Final = 1024 * 1024
"""RFC 5321 has 1,000 characters; programs write whole paragraphs, and whole pictures, in a line."""
_IDLE_S: Final = 120.0
_LAST_WORDS_S: Final = 8.0

_LOGGER = logging.getLogger("interaction_router.receivers.smtp")


def tenants_by_domain(domains: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return whose each mail domain is, the domains as mailboxes have them; `domains` are by tenant."""
    return {_domain(f"x@{domain}"): tenant for tenant, of in domains.items() for domain in of}


def _domain(address: str) -> str:
    return (mailbox(address) or address.lower()).rpartition("@")[2]


class MailServer:
    """What is said to those who send mail; aiosmtpd calls its methods by their names."""

    def __init__(self, mails: Mails, tenants: Mapping[str, str], clock: Clock) -> None:
        """`tenants` are by their mail domains."""
        self._mails = mails
        self._tenants = tenants
        self._clock = clock
        self._taking = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: SmtpEnvelope, address: str, options: list[str]
    ) -> str:
        """Take mail for the tenants' domains only."""
        if _domain(address) not in self._tenants:
            return "550 5.1.2 No mail for this domain is taken here"
        if len(envelope.rcpt_tos) >= _RECIPIENTS_LIMIT:
            return "452 4.5.3 Too many recipients at once"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: SmtpEnvelope
    ) -> str:
        """Answer once the mail is stored, or cannot be."""
        content = envelope.content
        assert isinstance(content, bytes), "the server is told not to decode"
        self._taking += 1
        self._idle.clear()
        try:
            await self._mails.take(content, self._envelopes(envelope))
        except RetryableError as error:
            _LOGGER.warning("mail_not_stored", extra={"code": error.code, "bytes": len(content)})
            return "452 4.3.1 Cannot be stored for now, try again later"
        finally:
            self._taking -= 1
            if not self._taking:
                self._idle.set()
        _LOGGER.info("mail_taken", extra={"bytes": len(content), "recipients": len(envelope.rcpt_tos)})
        return "250 2.6.0 Taken"

    async def settle(self) -> None:
        """Wait for the mails that are being taken, but not for ever: their senders have them still."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._idle.wait()

    async def handle_exception(self, error: Exception) -> str:
        """Answer to a fault of this program's own: the sender keeps the mail."""
        _LOGGER.error("smtp_failed", exc_info=error)
        return "451 4.3.0 Failed here, try again later"

    def _envelopes(self, envelope: SmtpEnvelope) -> list[Envelope]:
        recipients: defaultdict[str, list[str]] = defaultdict(list)
        for address in envelope.rcpt_tos:
            recipients[self._tenants[_domain(address)]].append(address)
        sender, now_ms = envelope.mail_from or "", self._clock.now_ms()
        return [
            Envelope(tenant, now_ms, sender="" if sender == "<>" else sender, recipients=addresses)
            for tenant, addresses in recipients.items()
        ]


class _Smtp(SMTP):
    line_length_limit = _LINE_LIMIT


class _Lmtp(LMTP):
    """Answers a mail once for each recipient. Source: RFC 2033 section 4.2."""

    line_length_limit = _LINE_LIMIT
    _answers = 0

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        """Take a mail."""
        recipients = len(self.envelope.rcpt_tos) if self.envelope else 0
        self._answers = -recipients
        try:
            await super().smtp_DATA(arg)
        finally:
            self._answers = 0

    async def push(self, status: Any) -> None:  # Any: text or bytes
        """Say something; after the mail, as often as it has recipients."""
        if self._answers > 0:
            status = "\r\n".join([status] * self._answers)
        elif self._answers < 0 and status.startswith("354"):
            self._answers = -self._answers
        await super().push(status)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the server can be reached."""

    host: str
    port: int


@asynccontextmanager
async def smtp_server(settings: ReceiversSmtpSettings, server: MailServer) -> AsyncIterator[Listening]:
    """Listen as long as the context lasts; what is being taken at its end is finished.

    Raises:
        RouterError: it cannot listen there.
        ConfigurationError: the certificate cannot be used.
    """
    context = _tls(settings)
    loop = asyncio.get_running_loop()
    protocol = _Lmtp if settings.protocol == "lmtp" else _Smtp

    def connected() -> SMTP:
        return protocol(
            server,
            data_size_limit=SIZE_LIMIT,
            enable_SMTPUTF8=True,
            hostname=settings.hostname,
            ident="interaction-router",
            tls_context=context,
            require_starttls=settings.require_starttls,
            timeout=_IDLE_S,
            auth_exclude_mechanism=("LOGIN", "PLAIN"),
            loop=loop,
        )

    try:
        listening = await loop.create_server(connected, settings.host, settings.port)
    except OSError as error:
        raise unusable("smtp", settings.host, settings.port, error) from error
    try:
        host, port = listening.sockets[0].getsockname()[:2]
        yield Listening(host, port)
    finally:
        listening.close()
        await server.settle()


def _tls(settings: ReceiversSmtpSettings) -> ssl.SSLContext | None:
    if settings.ssl_certfile is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # With a pass phrase, an empty one: OpenSSL would otherwise ask for it on the terminal.
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, "")
    except OSError as error:
        cause = f"The certificate for STARTTLS cannot be used: {error.strerror or error.args[-1]}."
        raise ConfigurationError(
            "certificate_unusable", cause, "Look at receivers.smtp.ssl_certfile and .ssl_keyfile."
        ) from error
    return context
