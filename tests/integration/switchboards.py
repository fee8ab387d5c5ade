"""Switches that play sessions to whoever logs in: the protocol of each, and nothing behind it."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Self
from urllib.parse import quote

import orjson

Event = Mapping[str, str]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Switchboard:
    """Listens on a port; plays one session a connection, and ends the connection after all but the last."""

    def __init__(
        self, sessions: Sequence[tuple[Sequence[Event] | None, Sequence[Event]]], *, secret: str, port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        """A session is the channels that run, None where listing them is refused, and the events after that."""
        self._sessions = list(sessions)
        self._secret = secret
        self._tls = tls
        self._server: asyncio.Server | None = None
        self.port = port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await self.welcomed(reader, writer, self._secret):
                listed, events = self._sessions.pop(0)
                await self.play(reader, writer, listed, events)
                if not self._sessions:
                    await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError, IndexError):
            pass
        finally:
            writer.close()

    async def welcomed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: str) -> bool:
        raise NotImplementedError

    async def play(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listed: Sequence[Event] | None,
        events: Sequence[Event],
    ) -> None:  # fmt: skip
        raise NotImplementedError


class AsteriskBoard(Switchboard):
    async def welcomed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: str) -> bool:
        writer.write(b"Asterisk Call Manager/9.0.0\r\n")
        asked = await _asked(reader, b"\r\n\r\n")
        right = f"Secret: {secret}" in asked and "Action: Login" in asked and "Events: call,cdr" in asked
        answer = {"response": "Success" if right else "Error", "actionid": "login"}
        # Events may come before the answer, and have to be passed over.
        writer.write(_ami({"event": "FullyBooted"}) + _ami(answer))
        await writer.drain()
        return right

    async def play(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listed: Sequence[Event] | None,
        events: Sequence[Event],
    ) -> None:  # fmt: skip
        assert "Action: CoreShowChannels" in await _asked(reader, b"\r\n\r\n")
        mark = {"actionid": "list"}
        if listed is None:
            writer.write(_ami({"response": "Error", "message": "Permission denied", **mark}))
        else:
            writer.write(_ami({"response": "Success", "eventlist": "start", **mark}))
            for row in listed:
                writer.write(_ami({"event": "CoreShowChannel", **mark, **row}))
            writer.write(_ami({"event": "CoreShowChannelsComplete", **mark}))
        for event in events:
            writer.write(_ami(event))
        await writer.drain()


class FreeSwitchBoard(Switchboard):
    async def welcomed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: str) -> bool:
        writer.write(b"Content-Type: auth/request\n\n")
        right = await _asked(reader, b"\n\n") == f"auth {secret}\n\n"
        reply = "+OK accepted" if right else "-ERR invalid"
        writer.write(f"Content-Type: command/reply\nReply-Text: {reply}\n\n".encode())
        await writer.drain()
        return right

    async def play(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listed: Sequence[Event] | None,
        events: Sequence[Event],
    ) -> None:  # fmt: skip
        assert (await _asked(reader, b"\n\n")).startswith("event plain CHANNEL_CREATE ")
        writer.write(b"Content-Type: command/reply\nReply-Text: +OK event listener enabled plain\n\n")
        assert await _asked(reader, b"\n\n") == "api show channels as json\n\n"
        rows = {} if not listed else {"rows": list(listed)}
        body = b"-USAGE: none" if listed is None else orjson.dumps({"row_count": len(listed), **rows})
        writer.write(b"Content-Type: api/response\nContent-Length: %d\n\n%b" % (len(body), body))
        for event in events:
            text = "".join(f"{name}: {quote(value)}\n" for name, value in event.items()) + "\n"
            head = f"Content-Length: {len(text)}\nContent-Type: text/event-plain\n\n"
            writer.write((head + text).encode())
        await writer.drain()


async def _asked(reader: asyncio.StreamReader, end: bytes) -> str:
    return (await reader.readuntil(end)).decode()


def _ami(fields: Event) -> bytes:
    return ("".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n").encode()
