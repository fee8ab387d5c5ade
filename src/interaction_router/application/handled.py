"""What has become of dead letters: a compacted topic of the router's own, which a wiped Redis does not take along."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import orjson

from interaction_router.application.appending import append_batches
from interaction_router.application.outcomes import READ_RECORDS
from interaction_router.application.views import Batches
from interaction_router.domain.errors import FatalError
from interaction_router.domain.ids import partition_of_key
from interaction_router.ports import Log, Outgoing, Received

HANDLED: Final = "internal.dlq.handled"

HandledState = Literal["redriving", "redriven", "discarded"]


@dataclass(frozen=True, slots=True)
class Handling:
    """What somebody does or has done with a letter.

    `attempt` names the run of the command. A record that was sent stands at `to`; while that is not known, at or behind
    `not_before` of the partition that the refused one came from, if it was sent at all.
    """

    state: HandledState
    letter: str
    attempt: str
    actor: str | None
    at_ms: int
    not_before: int | None = None
    to: str | None = None


class HandledLetters:
    """Knows the last handling of each letter by the letter's name."""

    def __init__(self, log: Log) -> None:
        """Know none; `follow` reads."""
        self._log = log
        self._next: dict[int, int] | None = None
        self._known: dict[str, Handling] = {}

    def of(self, name: str) -> Handling | None:
        """Return the last handling of a letter, None where nobody has touched it."""
        return self._known.get(name)

    async def follow(self) -> list[tuple[str, Handling]]:
        """Read on to the end of the topic; return what is new, that of one letter in order.

        Raises:
            FatalError: `topic_missing`.
        """
        if self._next is None:
            partitions = await self._log.partitions(HANDLED)
            self._next = {each: (await self._log.bounds(HANDLED, each)).first for each in range(partitions)}
        found: list[tuple[str, Handling]] = []
        for partition in self._next:
            while records := await self._log.read(HANDLED, partition, self._next[partition], limit=READ_RECORDS):
                found += [_read(record) for record in records]
                self._next[partition] = records[-1].offset + 1
        self._known.update(found)
        return found

    async def follow_if_there(self) -> None:
        """Read on likewise; a topic that is missing says that no letter was ever handled."""
        try:
            await self.follow()
        except FatalError as error:
            if error.code != "topic_missing":
                raise

    async def claim(self, handlings: Mapping[str, Handling]) -> None:
        """Write what is about to be done, so that of several who try at once one does it.

        Raises:
            FatalError: `letter_taken`: somebody else came first, since `follow` read last. Nothing may be done then.
        """
        for name, handling in await self.follow():
            if name in handlings:
                raise _taken(name, handling)
        await self.write(handlings)
        first: dict[str, Handling] = {}
        for name, handling in await self.follow():
            first.setdefault(name, handling)
        for name, handling in handlings.items():
            if first[name].attempt != handling.attempt:
                raise _taken(name, first[name])

    async def write(self, handlings: Mapping[str, Handling]) -> None:
        """Write what is done with letters, or was."""
        partitions = await self._log.partitions(HANDLED)
        batches: Batches = defaultdict(list)
        for name, handling in handlings.items():
            key = name.encode()
            batches[partition_of_key(key, partitions)].append(Outgoing(key, _value(handling)))
        await append_batches(self._log, (HANDLED, batches))


def attempts_under_way(handlings: Sequence[Handling], *, now_ms: int, within_ms: int) -> list[Handling]:
    """Return those that whoever began them may still be at."""
    return [each for each in handlings if each.state == "redriving" and now_ms - each.at_ms < within_ms]


def _taken(name: str, handling: Handling) -> FatalError:
    actor = handling.actor or "somebody else"
    cause = f"The dead letter of {name} is being handled by {actor} at this moment."
    return FatalError("letter_taken", cause, "Look at `interaction-router dlq list --all`, then try again.")


def _value(handling: Handling) -> bytes:
    fields = {name: getattr(handling, name) for name in Handling.__slots__}
    return orjson.dumps({name: value for name, value in fields.items() if value is not None})


def _read(record: Received) -> tuple[str, Handling]:
    try:
        fields = orjson.loads(record.value or b"")
        return (record.key or b"").decode(), Handling(**{"actor": None, **fields})
    except (TypeError, ValueError) as error:
        cause = f"A record of {HANDLED} is not in a form that this version knows ({type(error).__name__})."
        raise FatalError("handling_unreadable", cause, "Run the version that wrote it, or a newer one.") from error
