"""Redriving dead letters: each back to the topic that it came from, once, whatever dies meanwhile."""

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import uuid4

from interaction_router.application.appending import append_each
from interaction_router.application.handled import HandledLetters, Handling, attempts_under_way
from interaction_router.application.letters import REDRIVEN_FROM, Letter, Letters, header_texts, own_headers
from interaction_router.application.outcomes import read_range
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.application.views import DEAD_LETTERS
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.ports import Clock, Log, Observer, Outgoing

BATCH: Final = 200
"""So many letters are claimed, sent and marked together."""

BATCH_BYTES: Final = 16 * 1024 * 1024
"""Fewer where they hold more than this."""

UNDER_WAY_MS: Final = 60_000
"""For so long a claim keeps everybody else from the letter; whoever made it sends within half of that, or not at all."""

Stream = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Redriven:
    """A letter that was sent: where its record stands now. `found` where an earlier run had sent it already."""

    letter: Letter
    to: str
    found: bool


class Redriving:
    """One run of redriving or discarding."""

    def __init__(
        self,
        letters: Letters,
        log: Log,
        handled: HandledLetters,
        clock: Clock,
        *,
        inputs: Mapping[str, str],
        observer: Observer = UNOBSERVED,
    ) -> None:
        """`inputs` are the topics that a record may be sent to, by their streams."""
        self._log = log
        self._letters = letters
        self._handled = handled
        self._clock = clock
        self._inputs = inputs
        self._observer = observer
        self._attempt = uuid4().hex
        self._partitions: dict[str, int] = {}

    async def objection(self, letter: Letter) -> str | None:
        """Return why a letter cannot be redriven at all, None where it can."""
        if letter.source is None:
            if letter.stage == "receive":
                return f"a receiver refused it for {letter.topic}, before it was a record: no topic takes it back"
            return "it does not say which record of this namespace it was"
        stream, partition = letter.source.stream, letter.source.partition
        if stream not in self._inputs:
            return f"{letter.topic} is no topic that the router reads"
        if stream not in self._partitions:
            self._partitions[stream] = await self._log.partitions(stream)
        if partition >= self._partitions[stream]:
            return f"{letter.topic} has {self._partitions[stream]} partitions now, and {partition} is none of them"
        return None

    async def redrive(
        self, letters: Sequence[Letter], *, actor: str | None, value: bytes | None = None
    ) -> AsyncGenerator[Sequence[Redriven], None]:
        """Send letters that can be redriven, those of one partition in their order; yield each batch that is done.

        `value` goes in place of what the letter holds. What is left when it fails or is left off can be tried again:
        of a letter whose fate is not known, the topic is asked first whether it has the record.

        Raises:
            FatalError: `letter_taken`, or `letter_under_way`.
        """
        ordered = sorted(letters, key=lambda each: each.source or each.place)
        for batch in _batches(ordered):
            known = await self._sent_before(batch)
            sent = await self._send([each for each in batch if each.name not in known], actor, value)
            yield [*known.values(), *sent]

    async def discard(self, letters: Sequence[Letter], *, actor: str | None) -> None:
        """Mark letters as handled."""
        self._refuse_under_way(letters)
        now_ms = self._clock.now_ms()
        await self._handled.claim(
            {
                each.name: Handling("discarded", self._letters.place_of(each), self._attempt, actor, now_ms)
                for each in letters
            }
        )

    async def _sent_before(self, batch: Sequence[Letter]) -> dict[str, Redriven]:
        """Return those that a run which died has sent without saying so, and say it."""
        self._refuse_under_way(batch)
        doubtful: dict[Stream, dict[str, tuple[Letter, Handling]]] = defaultdict(dict)
        for letter in batch:
            handling = self._handled.of(letter.name)
            if handling is not None and handling.state == "redriving" and letter.source is not None:
                place = (letter.source.stream, letter.source.partition)
                doubtful[place][handling.letter] = (letter, handling)
        found: dict[str, Redriven] = {}
        done: dict[str, Handling] = {}
        for place, by_mark in doubtful.items():
            for mark, offset in (await self._marked(place, by_mark)).items():
                letter, handling = by_mark[mark]
                to = self._topic_place(place, offset)
                found[letter.name] = Redriven(letter, to, found=True)
                done[letter.name] = replace(handling, state="redriven", to=to)
        if done:
            await self._noted(done)
        return found

    async def _marked(self, place: Stream, by_mark: dict[str, tuple[Letter, Handling]]) -> dict[str, int]:
        """Return the offsets of records that are marked as these letters."""
        start = min(handling.not_before or 0 for _, handling in by_mark.values())
        end = (await self._log.bounds(*place)).end
        found: dict[str, int] = {}
        async for records in read_range(self._log, *place, start, end):
            for record in records:
                mark = header_texts(record.headers).get(REDRIVEN_FROM, "")
                if mark in by_mark and record.offset >= (by_mark[mark][1].not_before or 0):
                    found.setdefault(mark, record.offset)
        return found

    def _refuse_under_way(self, letters: Sequence[Letter]) -> None:
        handlings = [handling for each in letters if (handling := self._handled.of(each.name)) is not None]
        under_way = attempts_under_way(handlings, now_ms=self._clock.now_ms(), within_ms=UNDER_WAY_MS)
        if under_way:
            first = under_way[0]
            cause = f"The dead letter at {first.letter} is being redriven by {first.actor or 'somebody else'}."
            advice = f"If that run has died, try again in {UNDER_WAY_MS // 1000} s: it is found out what it has sent."
            raise FatalError("letter_under_way", cause, advice)

    async def _send(self, batch: Sequence[Letter], actor: str | None, value: bytes | None) -> list[Redriven]:
        """Claim the letters, append their records, and mark them: a death between any two is found out afterwards."""
        if not batch:
            return []
        by_stream: dict[Stream, list[Letter]] = defaultdict(list)
        for letter in batch:
            assert letter.source is not None, "`objection` has refused it"
            by_stream[letter.source.stream, letter.source.partition].append(letter)
        ends = {place: (await self._log.bounds(*place)).end for place in by_stream}
        records = {place: await self._records(letters, value) for place, letters in by_stream.items()}
        now_ms = self._clock.now_ms()
        claims = {
            letter.name: Handling(
                "redriving", self._letters.place_of(letter), self._attempt, actor, now_ms, not_before=ends[place]
            )
            for place, letters in by_stream.items()
            for letter in letters
        }
        await self._handled.claim(claims)
        await self._observer.reached("redrive_claimed", DEAD_LETTERS)
        if self._clock.now_ms() - now_ms > UNDER_WAY_MS // 2:
            raise RetryableError("redrive_late", "Claiming the letters took too long.", "Try again in a minute.")
        appended = await append_each(self._log, records)
        await self._observer.reached("redrive_appended", DEAD_LETTERS)
        sent = [
            Redriven(letter, self._topic_place(place, offset), found=False)
            for place, offsets in appended.items()
            for letter, offset in zip(by_stream[place], offsets, strict=True)
        ]
        await self._noted(
            {each.letter.name: replace(claims[each.letter.name], state="redriven", to=each.to) for each in sent}
        )
        return sent

    async def _noted(self, done: Mapping[str, Handling]) -> None:
        await self._handled.write(done)
        await self._observer.reached("redrive_noted", DEAD_LETTERS)

    async def _records(self, letters: Sequence[Letter], value: bytes | None) -> list[Outgoing]:
        """Return the records as they came, marked; a mark of an earlier redrive gives way to that of this letter."""
        records = []
        for letter in letters:
            record = await self._letters.record(letter)
            headers = [(name, each) for name, each in own_headers(record) if name != REDRIVEN_FROM]
            mark = (REDRIVEN_FROM, self._letters.place_of(letter).encode())
            records.append(Outgoing(record.key, record.value if value is None else value, [*headers, mark]))
        return records

    def _topic_place(self, place: Stream, offset: int) -> str:
        return f"{self._inputs[place[0]]}/{place[1]}@{offset}"


def _batches(letters: Sequence[Letter]) -> Iterator[list[Letter]]:
    batch: list[Letter] = []
    size = 0
    for letter in letters:
        if batch and (len(batch) == BATCH or size + letter.size_bytes > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(letter)
        size += letter.size_bytes
    if batch:
        yield batch


def unhandled(letters: Sequence[Letter], handled: HandledLetters) -> list[Letter]:
    """Return the letters of which nobody knows that they were redriven or discarded."""
    return [each for each in letters if (known := handled.of(each.name)) is None or known.state == "redriving"]


def counts(letters: Sequence[Letter]) -> list[dict[str, object]]:
    """Return how many letters there are by code, stage and topic, the most first."""
    found = Counter((each.code, each.stage, each.topic) for each in letters)
    return [
        {"code": code, "stage": stage, "topic": topic, "letters": count}
        for (code, stage, topic), count in sorted(found.items(), key=lambda each: (-each[1], each[0]))
    ]
