"""What comes to receivers other than by webhooks, tried outside of them: a mail, or what a switch said."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from interaction_router.channels.asterisk import Asterisk
from interaction_router.channels.calls import Line
from interaction_router.channels.freeswitch import FreeSwitch
from interaction_router.channels.mail import Envelope, read_mail
from interaction_router.wire.strict_json import JsonObject

_EXTENSIONS: Final = re.compile(r"\d{2,6}|\*\d{1,6}")


def _mail(body: bytes, tenant: str, now_ms: int) -> list[JsonObject]:
    return [read_mail(body, Envelope(tenant, now_ms)).fields]


def _asterisk(body: bytes, tenant: str, now_ms: int) -> list[JsonObject]:
    machine = Asterisk(Line(tenant, "asterisk", _EXTENSIONS))
    return [fields for event in events_of(body) for fields in machine.take(event, now_ms)]


def _freeswitch(body: bytes, tenant: str, now_ms: int) -> list[JsonObject]:
    machine = FreeSwitch(Line(tenant, "freeswitch", _EXTENSIONS))
    return [fields for event in events_of(body) for fields in machine.take(event, now_ms)]


READERS: Final[Mapping[str, Callable[[bytes, str, int], list[JsonObject]]]] = {
    "mail": _mail,
    "asterisk": _asterisk,
    "freeswitch": _freeswitch,
}


def events_of(body: bytes) -> Iterator[Mapping[str, str]]:
    """Yield the events of a session that was written down: `Name: value` a line, an empty line behind each event."""
    for block in body.decode("utf-8", "replace").replace("\r", "").split("\n\n"):
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, colon, value = line.partition(":")
            if colon:
                fields.setdefault(name.strip().lower(), value.strip())
        if fields:
            yield fields
