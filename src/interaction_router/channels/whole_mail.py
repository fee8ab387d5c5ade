"""A mail that a vendor passes on as it came, in MIME, read as one that came by SMTP."""

from collections.abc import Sequence

from interaction_router.channels.kit import Event
from interaction_router.channels.mail import Envelope, read_mail


def whole_mail(content: bytes, provider: str, *, received_at_ms: int, recipients: Sequence[str]) -> Event:
    """Return the event of a mail; `recipients` are whom it was brought to."""
    envelope = Envelope(tenant="", received_at_ms=received_at_ms, recipients=recipients)
    fields = {**read_mail(content, envelope).fields, "provider": provider}
    del fields["tenant"]
    return Event(fields)
