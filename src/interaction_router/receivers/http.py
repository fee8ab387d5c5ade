"""The HTTP server of webhooks and of the outbound gate: FastAPI on uvicorn."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import uvicorn
from fastapi import FastAPI
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from interaction_router import __version__
from interaction_router.channels.kit import Request
from interaction_router.ports import Clock
from interaction_router.receivers.addresses import unusable
from interaction_router.receivers.answers import TOO_LARGE, TOO_SLOW, Answer, refusal
from interaction_router.receivers.counts import Counts
from interaction_router.receivers.gateways import Door, Gateways
from interaction_router.receivers.openapi import GATE, JSON_GATEWAY, SECURITY
from interaction_router.receivers.outbound import Gate

BODY_BYTES: Final = 10 * 1024 * 1024
"""The most that a request may bring."""

DRAINED_BYTES: Final = 4 * BODY_BYTES
"""How much of a body that is too large is read and dropped, so that its sender gets to read the answer."""

DRAIN_S: Final = 2
"""How long that may take."""

BODY_S: Final = 30
"""How long a body may take to come."""

STOP_S: Final = 5
"""How long requests under way may take once the server is asked to stop."""

_LOGGER = logging.getLogger("interaction_router.receivers")
GATEWAYS: Final = "/v1/gateways/"
_METHODS: Final = frozenset({"GET", "POST"})
_FAILED: Final = refusal(500, "failed", "the receiver has failed; its log says how")


def http_app(gateways: Gateways, gate: Gate, counts: Counts, clock: Clock, *, public_url: str | None) -> ASGIApp:
    """Return the application; `public_url` is the address that vendors call where a proxy stands before it.

    Webhooks go past FastAPI and Starlette, whose layers would take a third of the time; they serve and describe all
    else, and describe the JSON gateway.
    """
    app = FastAPI(
        title="interaction-router receivers",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        openapi_url="/v1/openapi.json",
    )

    async def take(scope: Scope, receive: Receive, name: str, tenant: str) -> Answer:
        head = _head(scope, public_url, clock)
        door = gateways.door(name, tenant, head)
        body = await _body(head, receive)
        if isinstance(door, Answer):
            return door
        if isinstance(body, Answer):
            return body
        return await _taken(gateways, door, _with(head, body))

    async def take_json(http: HttpRequest) -> Response:
        return _response(await take(http.scope, http.receive, "json", http.path_params["tenant"]))

    async def take_any(http: HttpRequest) -> Response:
        return _response(await take(http.scope, http.receive, http.path_params["vendor"], http.path_params["tenant"]))

    async def ask(http: HttpRequest) -> Response:
        head = _head(http.scope, public_url, clock)
        body = await _body(head, http.receive)
        if isinstance(body, Answer):
            return _response(body)
        return _response(await gate.answer(_with(head, body)))

    async def health(_: HttpRequest) -> Response:
        return Response(b'{"status":"up"}', media_type="application/json")

    async def metrics(_: HttpRequest) -> Response:
        return Response(counts.exposition(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def refuse(_: HttpRequest, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "not_allowed"}.get(error.status_code, "refused")
        return _response(refusal(error.status_code, code, error.detail, headers=error.headers))

    app.exception_handler(HTTPException)(refuse)
    app.add_api_route("/v1/gateways/json/{tenant}", take_json, methods=["POST"], **JSON_GATEWAY)
    app.add_api_route("/v1/outbound/check", ask, methods=["POST"], **GATE)
    app.add_route("/v1/gateways/{vendor}/{tenant}", take_any, methods=["GET", "POST"], include_in_schema=False)
    app.add_route("/healthz", health, methods=["GET"], include_in_schema=False)
    app.add_route("/metrics", metrics, methods=["GET"], include_in_schema=False)
    app.openapi().setdefault("components", {})["securitySchemes"] = SECURITY
    return _Front(app, take)


class _Front:
    """Hands webhooks to where they are taken, and everything else to FastAPI, which would hand them there too."""

    def __init__(self, app: ASGIApp, take: Callable[[Scope, Receive, str, str], Awaitable[Answer]]) -> None:
        self._app = app
        self._take = take

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"]
        place = path.removeprefix(GATEWAYS).split("/") if path.startswith(GATEWAYS) else ()
        if len(place) != 2 or scope["method"] not in _METHODS:  # noqa: PLR2004 - vendor and tenant
            await self._app(scope, receive, send)
            return
        try:
            answer = await self._take(scope, receive, *place)
        except ClientDisconnect:
            return
        headers = [(name.encode(), value.encode()) for name, value in _headers(answer).items()]
        headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


async def _taken(gateways: Gateways, door: Door, request: Request) -> Answer:
    try:
        return await gateways.take(door, request)
    except Exception as error:
        # An entry point. The traceback would show no payload, but the message of the exception might.
        _LOGGER.error("request_failed", extra={"gateway": door.source, "error": type(error).__name__})  # noqa: TRY400
        _LOGGER.debug("request_failed_at", exc_info=True)
        return _FAILED


def _head(scope: Scope, public_url: str | None, clock: Clock) -> Request:
    """Return the request without its body."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    base = public_url or f"{scope['scheme']}://{headers.get('host', '')}"
    return Request(scope["method"], f"{base}{path}" + (f"?{query}" if query else ""), headers, b"", clock.now_ms())


def _with(head: Request, body: bytes) -> Request:
    return Request(head.method, head.url, head.headers, body, head.received_at_ms)


async def _body(head: Request, receive: Receive) -> bytes | Answer:
    """Return the body, or what is answered where it is too large or does not come."""
    announced = head.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > BODY_BYTES:
        if "expect" not in head.headers and int(announced) <= DRAINED_BYTES:
            await _drain(receive)
        return TOO_LARGE
    pieces: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(BODY_S):
            while more and size <= BODY_BYTES:
                piece, more = await _piece(receive)
                size += len(piece)
                pieces.append(piece)
    except TimeoutError:
        return TOO_SLOW
    if size > BODY_BYTES:
        if more:
            await _drain(receive)
        return TOO_LARGE
    return b"".join(pieces)


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    """Return the next piece of the body, and whether there are more.

    Raises:
        ClientDisconnect: whoever asked is gone.
    """
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


async def _drain(receive: Receive) -> None:
    """Read on for a moment and drop it: a sender that is cut off in the middle would not read the answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while (await _piece(receive))[1]:
                pass


def _headers(answer: Answer) -> dict[str, str]:
    headers = {"content-type": answer.content_type, **answer.headers}
    if answer.status in {TOO_LARGE.status, TOO_SLOW.status}:
        headers["connection"] = "close"
    return headers


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, _headers(answer))


class _Server(uvicorn.Server):
    """A server that leaves signals to the program."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


@asynccontextmanager
async def http_server(
    app: ASGIApp, host: str, port: int
) -> AsyncIterator[tuple[str, int, Callable[[], Awaitable[None]]]]:
    """Serve as long as the context lasts; yields where, and what waits for the server's end.

    Raises:
        RouterError: it cannot listen there.
    """
    listening = _listen(host, port)
    at = listening.getsockname()
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_S,
        timeout_keep_alive=75,
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listening]), name="http")
    try:
        while not server.started and not running.done():  # noqa: ASYNC110 - uvicorn tells it by nothing else
            await asyncio.sleep(0.01)
        yield at[0], at[1], lambda: asyncio.shield(running)
    finally:
        server.should_exit = True
        await running


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise unusable("http", host, port, error) from error
    listening.set_inheritable(True)
    return listening
