"""A subscriber as the contract wants one: reads the updates, keeps the highest `seq` of each conversation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from interaction_router.application.letters import header_texts
from interaction_router.application.views import DEAD_LETTERS, UPDATES
from interaction_router.domain.ids import Place
from interaction_router.ports import Log, Received


@dataclass(frozen=True, slots=True)
class SeenUpdate:
    """An update as it was read.

    `fields` are its JSON. `cause` is the record that made it so, without the namespace; of a timer an internal one.
    """

    fields: Mapping[str, Any]  # Any: the JSON of the contract
    value: bytes
    cause: Place

    @property
    def type(self) -> str:
        """What it tells, as `conversation.opened`."""
        return str(self.fields["type"])

    @property
    def conversation_id(self) -> str | None:
        """The conversation, None for an update of a contact."""
        return self.fields.get("conversation_id")


@dataclass(frozen=True, slots=True)
class SeenLetter:
    """A refused record as the dead letters have it, and where it stood before."""

    code: str
    message: str
    value: bytes | None
    cause: Place | None


class Subscriber:
    """Reads on from where the topics ended when it began; its place is kept in memory only."""

    def __init__(self, log: Log, *, namespace: str) -> None:
        """`namespace` begins the names of topics, in causes too."""
        self._log = log
        self._prefix = f"{namespace}."
        self._next: dict[tuple[str, int], int] = {}
        self._seqs: dict[str, int] = {}

    async def begin(self) -> list[tuple[str, int]]:
        """Go to the ends of the topics; return the partitions that are followed."""
        for stream in (UPDATES, DEAD_LETTERS):
            for partition in range(await self._log.partitions(stream)):
                self._next[stream, partition] = (await self._log.bounds(stream, partition)).end
        return list(self._next)

    async def read(self) -> tuple[list[SeenUpdate], list[SeenLetter]]:
        """Return what is new, updates by the time of their causes; those of one conversation are in their order."""
        updates: list[SeenUpdate] = []
        for record in await self._new(UPDATES):
            update = self._update(record)
            if self._is_new(update):
                updates.append(update)
        updates.sort(key=lambda update: str(update.fields["at"]))
        return updates, [self._letter(record) for record in await self._new(DEAD_LETTERS)]

    async def _new(self, stream: str) -> list[Received]:
        found: list[Received] = []
        for of, partition in self._next:
            if of == stream:
                records: Sequence[Received]
                while records := await self._log.read(stream, partition, self._next[stream, partition]):
                    found += records
                    self._next[stream, partition] = records[-1].offset + 1
        return found

    def _update(self, record: Received) -> SeenUpdate:
        value = record.value or b""
        fields = orjson.loads(value)
        cause = fields["cause"]
        place = Place(cause["topic"].removeprefix(self._prefix), cause["partition"], cause["offset"])
        return SeenUpdate(fields, value, place)

    def _is_new(self, update: SeenUpdate) -> bool:
        """Tell whether its `seq` is above all that were seen: after a crash of the router one may come again."""
        conversation_id = update.conversation_id
        if conversation_id is None:
            return True
        seq = int(update.fields["seq"])
        if seq <= self._seqs.get(conversation_id, 0):
            return False
        self._seqs[conversation_id] = seq
        return True

    def _letter(self, record: Received) -> SeenLetter:
        headers = header_texts(record.headers)
        cause = None
        if "dlq_offset" in headers:
            stream = headers["dlq_topic"].removeprefix(self._prefix)
            cause = Place(stream, int(headers["dlq_partition"]), int(headers["dlq_offset"]))
        return SeenLetter(headers["dlq_code"], headers["dlq_message"], record.value, cause)
