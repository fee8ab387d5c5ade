"""The worker's own web server, in a thread of its own: it answers also where the worker's event loop stands still."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

CONNECTIONS_S = 0.5
"""How long an answer under way may hold up the end."""
START_S = 5.0
STOP_S = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page says."""

    status: int
    body: bytes
    content_type: str


Page = Callable[[], Awaitable[Answer]]
"""Called in the server's event loop."""


class WebServer:
    """Serves pages by their path, to `GET` and `HEAD`; one object serves once."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        """Keep the pages; nothing listens before `start`."""
        self._pages = pages
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving = threading.Event()
        self._ending = asyncio.Event()
        self.port = 0

    def start(self, host: str, port: int) -> None:
        """Listen, and serve from then on.

        Raises:
            OSError: the address cannot be had.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
        self.port = listening.getsockname()[1]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listening)), name="web", daemon=True)
        self._thread.start()
        self._serving.wait(START_S)

    def stop(self) -> None:
        """End it; what is being answered has half a second."""
        if self._thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(STOP_S)

    async def _serve(self, listening: socket.socket) -> None:
        application = web.Application()
        for path, page in self._pages.items():
            application.router.add_get(path, _handler(page))
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=CONNECTIONS_S)
        await runner.setup()
        try:
            await web.SockSite(runner, listening).start()
            self._loop = asyncio.get_running_loop()
            self._serving.set()
            await self._ending.wait()
        finally:
            await runner.cleanup()


def _handler(page: Page) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(_request: web.Request) -> web.StreamResponse:
        answer = await page()
        headers = {"Content-Type": answer.content_type, "Cache-Control": "no-store"}
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    return handle
