"""Plays simulated gateways against a running router, and watches from outside what comes of it."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

import orjson

from interaction_router.application.intake import COMMANDS
from interaction_router.application.simulated_gateways import SimulatedGateways
from interaction_router.application.simulation import Simulated
from interaction_router.application.story import Asked, Scene
from interaction_router.application.subscriber import SeenLetter, SeenUpdate, Subscriber
from interaction_router.domain.errors import RefusalCode
from interaction_router.domain.ids import Place, digest
from interaction_router.ports import Log
from interaction_router.wire.times import spell_time

_REMEMBERED: Final = 20_000
_LATENCIES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Said:
    """Somebody outside does something."""

    text: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """A record was sent again; `changes` are the updates that came of it: there should be none."""

    place: Place
    changes: int
    channel: str
    interaction_id: str
    status: str | None


Sight = SeenUpdate | SeenLetter | Said | Repeated


@dataclass(slots=True)
class Tally:
    """What was sent, by nature, and seen; `unforeseen` are refusals that should not have been, or the other way."""

    sent: Counter[str] = field(default_factory=Counter)
    updates: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)
    linked: Counter[str] = field(default_factory=Counter)
    letters: Counter[str] = field(default_factory=Counter)
    unforeseen: Counter[str] = field(default_factory=Counter)
    changed_by_repeats: int = 0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))

    def latency_ms(self, share: float) -> float | None:
        """Return what that share of the updates came within, from before the append to after the read."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


class Demonstration:
    """Sends each step when it is due, and tells in between what a subscriber sees."""

    def __init__(
        self,
        log: Log,
        subscriber: Subscriber,
        *,
        settled: Callable[[], Awaitable[None]],
        tell: Callable[[Sight], None],
        tenant: str,
    ) -> None:
        """`settled` waits until the router has handled all that was sent."""
        self._gateways = SimulatedGateways(log)
        self._subscriber = subscriber
        self._settled = settled
        self._tell = tell
        self._tenant = tenant
        self._looking = asyncio.Lock()
        self._looked = asyncio.Event()
        self._sent_at: dict[Place, float] = {}
        self._expected: dict[Place, RefusalCode] = {}
        self._changes: Counter[Place] = Counter()
        self._conversations: dict[str, str] = {}
        self.tally = Tally()

    async def play(self, scenes: Iterable[Scene], *, start_ms: int) -> None:
        """Send each scene's step `due_ms` after now, which is the time of day `start_ms`."""
        begun = time.monotonic()
        for scene in scenes:
            await asyncio.sleep(max(0.0, begun + scene.due_ms / 1000 - time.monotonic()))
            await self._send(scene, start_ms)

    async def watch(self, bell: asyncio.Event) -> None:
        """Tell what is new each time the bell rings, until cancelled."""
        while True:
            await bell.wait()
            bell.clear()
            await self.look()

    async def prepare(self, records: Iterable[Simulated], *, pause_s: float) -> None:
        """Send what has to be there before, then leave the router time to read who is an agent."""
        for record in records:
            await self._gateways.send(record.stream, record.key, record.value)
            self.tally.sent[record.nature] += 1
        await asyncio.sleep(pause_s)

    async def closed(self, reason: str, *, within_s: float) -> None:
        """Wait until a conversation has been closed for the reason, or the time is up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not self.tally.closed[reason]:
                    self._looked.clear()
                    await self._looked.wait()

    async def finish(self) -> None:
        """Wait until all that was sent is handled and told; count what should have been refused and was not."""
        await self._settled()
        await self.look()
        self.tally.unforeseen.update(f"no {code}" for code in self._expected.values())
        self._expected.clear()

    async def look(self) -> None:
        """Tell what is new."""
        async with self._looking:
            updates, letters = await self._subscriber.read()
            now = time.perf_counter()
            for update in updates:
                self._count(update, now)
                self._tell(update)
            for letter in letters:
                self.tally.letters[letter.code] += 1
                if letter.cause is None or self._expected.pop(letter.cause, None) != letter.code:
                    self.tally.unforeseen[letter.code] += 1
                self._tell(letter)
        self._looked.set()

    async def _send(self, scene: Scene, start_ms: int) -> None:
        if scene.said is not None:
            self._tell(Said(scene.said))
        step = scene.step
        if isinstance(step, Asked):
            command = await self._command(step, start_ms)
            if command is None:
                return
            key, value = command
            stream, nature, code = COMMANDS, "command", None
        else:
            stream, key, value, _, nature, code = step
        before = time.perf_counter()
        place = await self._gateways.send(stream, key, value)
        self.tally.sent[nature] += 1
        _remember(self._sent_at, place, before)
        if code is not None:
            self._expected[place] = code
        if nature == "duplicate":
            await self._check_repeat(place, value)

    async def _command(self, asked: Asked, start_ms: int) -> tuple[bytes, bytes] | None:
        """Return the command's key and value, for the conversation that the updates have told.

        None where they have told none: the story was played before on these data, and is one big repetition.
        """
        if asked.interaction_id not in self._conversations:
            await self._settled()
            await self.look()
        conversation_id = self._conversations.get(asked.interaction_id)
        if conversation_id is None:
            return None
        fields = {
            "tenant": self._tenant,
            "type": asked.type,
            "conversation_id": conversation_id,
            "command_id": digest(asked.type, conversation_id).hex(),
            "at": spell_time(start_ms + asked.due_ms),
            **asked.fields,
        }
        return f"{self._tenant}|{conversation_id}".encode(), orjson.dumps(fields)

    async def _check_repeat(self, place: Place, value: bytes) -> None:
        """Tell what came of a record that was sent again, once the router is done with it."""
        await self._settled()
        await self.look()
        changes = self._changes[place]
        self.tally.changed_by_repeats += changes > 0
        again = orjson.loads(value)
        self._tell(Repeated(place, changes, again["channel"], again["interaction_id"], again.get("status")))

    def _count(self, update: SeenUpdate, now: float) -> None:
        tally, fields = self.tally, update.fields
        tally.updates[update.type] += 1
        if update.type == "conversation.closed":
            tally.closed[fields["reason"]] += 1
        elif update.type == "conversation.linked":
            tally.linked[fields["by"]] += 1
        elif update.type == "conversation.interaction_added" and update.conversation_id is not None:
            _remember(self._conversations, fields["interaction"]["interaction_id"], update.conversation_id)
        _remember(self._changes, update.cause, self._changes[update.cause] + 1)
        sent_at = self._sent_at.get(update.cause)
        if sent_at is not None:
            tally.latencies_ms.append((now - sent_at) * 1000)


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _remember(known: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Keep the value; what was kept first goes when there is too much: a demo may be kept running."""
    known[key] = value
    if len(known) > _REMEMBERED:
        del known[next(iter(known))]
