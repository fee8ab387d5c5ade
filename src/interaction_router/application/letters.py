"""Dead letters as their topic has them, each once: after a crash one may stand there again."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from interaction_router.application.outcomes import read_range
from interaction_router.application.views import DEAD_LETTERS
from interaction_router.domain.errors import FatalError
from interaction_router.domain.ids import Place
from interaction_router.domain.names import stream_name
from interaction_router.ports import Log, Received

REDRIVEN_FROM: Final = "redriven_from"
"""The header of a record that was redriven: where its letter stands. A letter of it has the header too."""

ROUTERS_OWN: Final = "dlq_"
"""The headers that begin so say why and from where; all others came with the record."""

_FIELD: Final = re.compile(r"([a-z_]+(?:\.\w+|\[\d+\])*): (.*)", re.DOTALL)
_PLACE: Final = re.compile(r"(?:(.+)/)?(\d{1,9})@(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter without what it holds.

    `name` tells it from every other: the place of the record that was refused, or where a receiver refused it, that of
    the letter itself. `place` is where it stands, `topic` where it came from. `source` is None where no record can be
    written to that.
    """

    name: str
    place: Place
    stamp_ms: int
    code: str
    message: str
    stage: str
    topic: str
    source: Place | None
    redriven_from: str | None
    size_bytes: int

    @property
    def field(self) -> str | None:
        """The field at fault, where the message names one."""
        found = _FIELD.fullmatch(self.message)
        return None if found is None else found[1]

    @property
    def short_place(self) -> str:
        """Where it stands in the topic of dead letters: `3@17`."""
        return f"{self.place.partition}@{self.place.offset}"


class LetterFilter(NamedTuple):
    """Which letters are wanted; what is empty or None is any. Times are of the letters' stamps."""

    codes: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    from_ms: int | None = None
    until_ms: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Tell whether a letter is wanted."""
        return (
            (not self.codes or letter.code in self.codes)
            and (not self.topics or letter.topic in self.topics)
            and (not self.stages or letter.stage in self.stages)
            and (self.from_ms is None or letter.stamp_ms >= self.from_ms)
            and (self.until_ms is None or letter.stamp_ms < self.until_ms)
        )


class LetterPlace(NamedTuple):
    """How a person names a letter: by its own place, or by that of the record that was refused (`topic` given)."""

    topic: str | None
    partition: int
    offset: int


def read_place(text: str, *, namespace: str) -> LetterPlace | None:
    """Return what `3@17`, `router.dlq.v1/3@17` or `router.interactions.sms.v1/3@812` means; None for anything else."""
    found = _PLACE.fullmatch(text)
    if found is None:
        return None
    topic = found[1] if found[1] != f"{namespace}.{DEAD_LETTERS}" else None
    return LetterPlace(topic, int(found[2]), int(found[3]))


class Letters:
    """Reads the dead letters; changes nothing."""

    def __init__(self, log: Log, *, namespace: str, inputs: str | None = None) -> None:
        """`namespace` begins the names of topics in what letters say, `inputs` where given those of raw records."""
        self._log = log
        self._namespace = namespace
        self._inputs = inputs

    async def scan(self, wanted: LetterFilter) -> AsyncIterator[Letter]:
        """Yield the letters that are there now and wanted, each once, partition by partition."""
        seen: set[str] = set()
        for partition in range(await self._log.partitions(DEAD_LETTERS)):
            start, end = await self._log.bounds(DEAD_LETTERS, partition)
            if wanted.from_ms is not None:
                start = await self._log.offset_at(DEAD_LETTERS, partition, wanted.from_ms)
            async for records in read_range(self._log, DEAD_LETTERS, partition, start, end):
                for record in records:
                    letter = self.letter(partition, record)
                    if wanted.takes(letter) and letter.name not in seen:
                        seen.add(letter.name)
                        yield letter

    async def find(self, place: LetterPlace) -> tuple[Letter, Received]:
        """Return the letter that a person names, and the record that holds it.

        Raises:
            FatalError: `letter_unknown`.
        """
        letter = await self._find_by_source(place) if place.topic is not None else None
        partition, offset = place.partition, place.offset
        if letter is not None:
            partition, offset = letter.place.partition, letter.place.offset
        elif place.topic is not None:
            raise self._unknown(f"of {place.topic}/{place.partition}@{place.offset}")
        if partition < await self._log.partitions(DEAD_LETTERS):
            for record in await self._log.read(DEAD_LETTERS, partition, offset, limit=1):
                if record.offset == offset:
                    return self.letter(partition, record), record
        raise self._unknown(f"at {partition}@{offset}")

    async def _find_by_source(self, place: LetterPlace) -> Letter | None:
        name = f"{place.topic}/{place.partition}@{place.offset}"
        async for letter in self.scan(LetterFilter()):
            if letter.name == name:
                return letter
        return None

    async def record(self, letter: Letter) -> Received:
        """Return the record that holds a letter.

        Raises:
            FatalError: `letter_unknown`: it is no longer kept.
        """
        _, record = await self.find(LetterPlace(None, letter.place.partition, letter.place.offset))
        return record

    def place_of(self, letter: Letter) -> str:
        """Return where a letter stands, with the name of the topic."""
        return f"{self._namespace}.{DEAD_LETTERS}/{letter.short_place}"

    def letter(self, partition: int, record: Received) -> Letter:
        """Return what a record of the topic says; of one that nobody of us has written, as much as there is."""
        headers = header_texts(record.headers)
        topic = headers.get("dlq_topic", "")
        stream = stream_name(self._namespace, topic, self._inputs)
        place = Place(DEAD_LETTERS, partition, record.offset)
        name = f"{self._namespace}.{DEAD_LETTERS}/{partition}@{record.offset}"
        source = None
        if headers.get("dlq_partition", "").isdecimal() and headers.get("dlq_offset", "").isdecimal():
            source = Place(stream, int(headers["dlq_partition"]), int(headers["dlq_offset"]))
            name = f"{topic}/{source.partition}@{source.offset}"
        return Letter(
            name,
            place,
            record.timestamp,
            headers.get("dlq_code", "unknown"),
            headers.get("dlq_message", ""),
            headers.get("dlq_stage", "unknown"),
            topic,
            source if stream != topic else None,
            headers.get(REDRIVEN_FROM),
            len(record.value or b""),
        )

    def _unknown(self, where: str) -> FatalError:
        advice = "Look with `interaction-router dlq list --all`; letters are kept for `topics.dlq_retention`."
        return FatalError("letter_unknown", f"There is no dead letter {where}.", advice)


def header_texts(headers: Sequence[tuple[str, bytes | None]]) -> dict[str, str]:
    """Return the headers as text, the last of a name; gateways may send one without a value, which says nothing."""
    return {name: value.decode(errors="replace") for name, value in headers if value is not None}


def own_headers(record: Received) -> tuple[tuple[str, bytes], ...]:
    """Return the headers that the refused record came with."""
    return tuple((name, value) for name, value in record.headers if not name.startswith(ROUTERS_OWN))
