"""`receive http` as a process, and requests as vendors send them to it."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from interaction_router.channels.kit import Request
from tests.integration.running import Running, Worker, until
from tests.unit.channels.asked import CREDENTIALS, signed

PUBLIC_URL: Final = "https://hooks.example"
GATEWAYS = {
    f"TENANTS__ACME__GATEWAYS__{vendor.upper()}__{key.upper()}": value
    for vendor, credentials in CREDENTIALS.items()
    for key, value in credentials.items()
}


class Answered(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Receiver(Worker):
    """A receiver process."""

    def __init__(self, running: Running, folder: Path, port: int) -> None:
        self.port = port
        super().__init__(["receive", "http", "--port", str(port)], running.env, folder / f"receiver-{port}.log")

    async def listening(self) -> None:
        async def told() -> bool:
            assert self.process.poll() is None, self.errors.read_text()
            return b"ready http" in self.errors.read_bytes()

        await until(told)

    async def send(self, vendor: str, request: Request, *, tenant: str = "acme") -> Answered:
        """Send a request to a tenant's gateway, as it is but for its address."""
        query = f"?{request.query}" if request.query else ""
        return await self.ask(request.method, f"/v1/gateways/{vendor}/{tenant}{query}", request.headers, request.body)

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"", *, length: int | None = None
    ) -> Answered:
        """Send a request; `length` is what it says that its body has."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = [f"{method} {path} HTTP/1.1", "host: hooks.example", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write(
            "\r\n".join([*lines, f"content-length: {len(body) if length is None else length}", "", ""]).encode() + body
        )
        raw = await reader.read()
        writer.close()
        head, _, content = raw.partition(b"\r\n\r\n")
        status, *told = head.decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in told)
        return Answered(int(status.split()[1]), {name.lower(): value for name, value in pairs}, content)


def at(vendor: str, request: Request) -> Request:
    """Return the request signed for the address that the receiver is told to have."""
    query = f"?{request.query}" if request.query else ""
    return signed(vendor, replace(request, url=f"{PUBLIC_URL}/v1/gateways/{vendor}/acme{query}"))
