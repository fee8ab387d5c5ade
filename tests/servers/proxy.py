"""A TCP proxy that delays, cuts, or says nothing while its connections stay open."""

import asyncio
from contextlib import suppress
from typing import Literal

from tests.servers.addresses import LOOPBACK

Mood = Literal["well", "slow", "cut", "silent"]
DELAY_S = 0.15
_CHUNK_BYTES = 1 << 16


class Proxy:
    """Leads connections of one port to another, in the event loop of its owner."""

    def __init__(self, port: int, to: int) -> None:
        """Nothing listens before `start`."""
        self._port = port
        self._to = to
        self._mood: Mood = "well"
        self._changed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self._port)

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self._close_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def be(self, mood: Mood) -> None:
        """Change the mood: `cut` ends all connections and every new one, `silent` leaves them open and passes nothing.

        What a silent proxy has not passed is lost with its connections, which end when it is well again.
        """
        was, self._mood = self._mood, mood
        self._changed.set()
        self._changed = asyncio.Event()
        if mood == "cut" or was == "silent":
            self._close_all()

    def _close_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mood == "cut":
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._to)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(_CHUNK_BYTES):
                if self._mood == "slow":
                    await asyncio.sleep(DELAY_S)
                while self._mood == "silent":
                    await self._changed.wait()
                if sink.is_closing():
                    break
                sink.write(data)
                await sink.drain()
        sink.close()
        self._writers.discard(sink)
