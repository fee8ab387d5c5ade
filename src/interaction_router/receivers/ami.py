"""`receive ami`: the manager interface of Asterisk.

Source: docs.asterisk.org, "The Asterisk Manager TCP/IP API", and the actions Login, CoreShowChannels and Ping, seen
2026-11-24.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from interaction_router.receivers.switches import SILENCE_S, ConversationError, Converse, Event, Listed
from interaction_router.settings import AmiSettings

_PING_EVERY_S: Final = 20.0
_LINES_LIMIT: Final = 1_000
_LISTING: Final = "list"
_LOGIN: Final = "login"


def conversation(settings: AmiSettings) -> Converse:
    """Return how to talk to this Asterisk."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> AsyncIterator[Event | Listed]:
        banner = await _line(reader)
        if not banner.startswith("Asterisk Call Manager"):
            raise ConversationError("this is no Asterisk manager interface")
        secret = settings.secret.get_secret_value()
        _say(writer, Action="Login", ActionID=_LOGIN, Username=settings.username, Secret=secret, Events="call,cdr")
        while (answer := await _packet(reader)).get("actionid") != _LOGIN:
            pass
        if answer.get("response", "").lower() != "success":
            raise ConversationError("the manager's name and secret are refused")
        _say(writer, Action="CoreShowChannels", ActionID=_LISTING)
        pinging = asyncio.create_task(_ping(writer), name="ami-ping")
        try:
            async for said in _heard(reader):
                yield said
        finally:
            pinging.cancel()

    return converse


async def _heard(reader: asyncio.StreamReader) -> AsyncIterator[Event | Listed]:
    """Yield what comes, answers to pings too, and the channels that run once all of them have been listed."""
    rows: list[Event] = []
    while True:
        packet = await _packet(reader)
        kind = packet.get("event", "").lower()
        if packet.get("actionid") == _LISTING:
            if kind == "coreshowchannel":
                rows.append(packet)
            elif kind == "coreshowchannelscomplete":
                yield Listed(rows)
                rows = []
            elif packet.get("response", "").lower() == "error":
                yield Listed(None, "the manager may not list channels: give it the privilege `reporting`")
        else:
            yield packet


async def _packet(reader: asyncio.StreamReader) -> Event:
    """Read up to the next empty line; of a name that is given twice the first stands."""
    fields: dict[str, str] = {}
    lines = 0
    async with asyncio.timeout(SILENCE_S):
        while line := await _line(reader):
            lines += 1
            if lines > _LINES_LIMIT:
                raise ConversationError("the switch says more at once than it ever does")
            name, colon, value = line.partition(":")
            if colon:
                fields.setdefault(name.strip().lower(), value.strip())
    return fields


async def _line(reader: asyncio.StreamReader) -> str:
    line = await reader.readuntil(b"\n")
    return line.decode("utf-8", "replace").rstrip("\r\n")


async def _ping(writer: asyncio.StreamWriter) -> None:
    """Keep the switch talking."""
    with suppress(OSError):
        while True:
            await asyncio.sleep(_PING_EVERY_S)
            _say(writer, Action="Ping")
            await writer.drain()


def _say(writer: asyncio.StreamWriter, **fields: str) -> None:
    lines = [f"{name}: {value}" for name, value in fields.items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise ConversationError("the manager's name or secret has a line break in it")
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
