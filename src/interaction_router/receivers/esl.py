"""`receive esl`: the event socket of FreeSWITCH, which the receiver connects to (its "inbound" mode).

Source: developer.signalwire.com, mod_event_socket, seen 2026-11-24.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Final
from urllib.parse import unquote

import orjson

from interaction_router.channels.freeswitch import EVENTS
from interaction_router.receivers.switches import SILENCE_S, ConversationError, Converse, Event, Listed
from interaction_router.settings import EslSettings

_BODY_LIMIT: Final = 64 * 1024 * 1024
_LINES_LIMIT: Final = 10_000
_LENGTH: Final = re.compile(r"\d{1,9}", re.ASCII)


def conversation(settings: EslSettings) -> Converse:
    """Return how to talk to this FreeSWITCH."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> AsyncIterator[Event | Listed]:
        greeting, _ = await _message(reader)
        if greeting.get("content-type") == "text/rude-rejection":
            raise ConversationError("the switch's access list refuses this address")
        if greeting.get("content-type") != "auth/request":
            raise ConversationError("this is no event socket")
        secret = settings.secret.get_secret_value()
        _say(writer, f"auth {secret}" if settings.username is None else f"userauth {settings.username}:{secret}")
        await _accepted(reader, "the password is refused")
        _say(writer, f"event plain {' '.join(EVENTS)}")
        await _accepted(reader, "the events are refused")
        _say(writer, "api show channels as json")
        while True:
            head, body = await _message(reader)
            match head.get("content-type"):
                case "text/event-plain":
                    yield _event(body)
                case "api/response":
                    yield _listed(body)
                case "text/disconnect-notice":
                    raise EOFError("the switch ended the connection")
                case _:
                    pass

    return converse


async def _accepted(reader: asyncio.StreamReader, otherwise: str) -> None:
    while True:
        head, _ = await _message(reader)
        if head.get("content-type") == "command/reply":
            break
    if not head.get("reply-text", "").startswith("+OK"):
        raise ConversationError(otherwise)


async def _message(reader: asyncio.StreamReader) -> tuple[Mapping[str, str], bytes]:
    """Read a head, and the body whose length it tells."""
    async with asyncio.timeout(SILENCE_S):
        lines: list[str] = []
        while line := (await reader.readuntil(b"\n")).decode("utf-8", "replace").rstrip("\r\n"):
            lines.append(line)
            if len(lines) > _LINES_LIMIT:
                raise ConversationError("the switch says more at once than it ever does")
        head = _fields(lines)
        length = head.get("content-length", "0")
        if _LENGTH.fullmatch(length) is None or int(length) > _BODY_LIMIT:
            raise ConversationError("the switch says more at once than it ever does")
        return head, await reader.readexactly(int(length))


def _event(body: bytes) -> Event:
    """Return the fields of an event; what follows its first empty line is a body of its own."""
    return _fields(body.decode("utf-8", "replace").split("\n\n", 1)[0].split("\n"))


def _fields(lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), unquote(value.strip(), errors="replace"))
    return fields


def _listed(body: bytes) -> Listed:
    """Return the rows of `show channels as json`; none are left out of its answer."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Listed(None, "`show channels as json` was not answered in JSON")
    rows = answer.get("rows", []) if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        return Listed(None, "`show channels as json` was answered without rows")
    return Listed([{str(key): str(value) for key, value in row.items()} for row in rows if isinstance(row, dict)])


def _say(writer: asyncio.StreamWriter, command: str) -> None:
    if "\n" in command or "\r" in command:
        raise ConversationError("the user or the password has a line break in it")
    writer.write(f"{command}\n\n".encode())
