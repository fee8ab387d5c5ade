"""A router on embedded storage in a directory: fed, stopped, and then asked by the program."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from interaction_router.bootstrap.embedded import embedded_router
from interaction_router.bootstrap.storage import opened_log
from interaction_router.cli.app import run
from interaction_router.cli.invocation import Invocation
from interaction_router.ports import Outgoing, Received
from interaction_router.settings import EmbeddedSettings, Settings, TopicsSettings

PARTITIONS = 3
TENANT = "acme"


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # Any: what the program printed
        return orjson.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [orjson.loads(line) for line in self.out.splitlines()]


class Program:
    """Runs command lines on the storage of one directory."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self._capsys = capsys

    def __call__(self, *args: str, env: Mapping[str, str] | None = None) -> Ran:
        code = run([*args, "--data", str(self.data)], Invocation(env={"USER": "ann", **(env or {})}))
        return Ran(code, *self._capsys.readouterr())

    def settings(self) -> Settings:
        return Settings(embedded=EmbeddedSettings(data_dir=self.data), topics=TopicsSettings(partitions=PARTITIONS))

    def feed(self, *records: tuple[str, Mapping[str, object]]) -> None:
        """Let a router take records, one after the other, and stop it."""
        asyncio.run(self._feed(records))

    async def _feed(self, records: Sequence[tuple[str, Mapping[str, object]]]) -> None:
        async with embedded_router(self.settings()) as embedded:
            await embedded.shell.settled()
            for stream, fields in records:
                await embedded.log.append(stream, 0, [Outgoing(None, orjson.dumps(fields))])
                await embedded.shell.settled()

    def place(self, stream: str, partition: int, key: bytes, fields: Mapping[str, object]) -> None:
        """Append a record behind the router's back."""
        self.place_bytes(stream, partition, key, orjson.dumps(fields))

    def place_bytes(
        self,
        stream: str,
        partition: int,
        key: bytes | None,
        value: bytes,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        async def append() -> None:
            async with opened_log(self.settings()) as log:
                await log.append(stream, partition, [Outgoing(key, value, headers)])

        asyncio.run(append())

    def records(self, stream: str) -> list[tuple[int, Received]]:
        async def read() -> list[tuple[int, Received]]:
            async with opened_log(self.settings()) as log:
                return [(each, record) for each in range(PARTITIONS) for record in await log.read(stream, each, 0)]

        return asyncio.run(read())

    def lineage(self, stream: str) -> str:
        async def read() -> str:
            async with opened_log(self.settings()) as log:
                return await log.lineage(stream)

        return asyncio.run(read())


def sms(interaction_id: str, sender: str | None, **more: object) -> tuple[str, Mapping[str, object]]:
    return "interactions.sms.v1", {
        "tenant": TENANT,
        "channel": "sms",
        "direction": "inbound",
        "interaction_id": interaction_id,
        "occurred_at": "2026-11-22T10:15:30.120+02:00",
        "from": sender,
        "to": "+27110000000",
        **more,
    }


def saved(contact_id: str, *addresses: str, name: str = "Ann") -> tuple[str, Mapping[str, object]]:
    return "contacts.v1", {
        "tenant": TENANT,
        "type": "contact.saved",
        "contact_id": contact_id,
        "name": name,
        "addresses": list(addresses),
    }
