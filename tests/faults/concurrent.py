"""Homes that are all busy at once: a history is given without waiting for what it leads to, and parts of it twice."""

from dataclasses import dataclass, replace
from random import Random

from interaction_router.domain import events
from interaction_router.domain.ids import Entity, Place, home
from interaction_router.domain.messages import ContactMerged, ContactSaved, InteractionEvent, LogRecord, Message, Origin
from interaction_router.domain.rows import Policy
from tests.model import state, steps
from tests.model.updates import Refusal
from tests.unit.against_model import CONTACTS, Driver
from tests.unit.world import World

MOST_STEPS = 20_000
"""More than any history of the strategies needs: what goes on for longer is sent round for ever."""


@dataclass(frozen=True, slots=True)
class Given:
    """A raw record as intake has read it."""

    to: Entity
    message: Message
    stream: str
    place: Place


class ConcurrentWorld(World):
    """A world that decides only when it is told to, in any order; stamps stand at arrival, as the broker's do."""

    def __init__(self, *, seed: int, policy: Policy, partitions: int = 4) -> None:
        super().__init__(seed=seed, policy=policy, partitions=partitions)
        self._order = Random(seed)
        self.given: list[Given] = []

    def give(self, to: Entity, message: Message, *, stream: str = "interactions.sms.v1", repeat: bool = False) -> None:
        """Append as intake does: all that came before a merge is acknowledged first."""
        assert not repeat, "repeats are drawn by `repeat_last`"
        self._offset += 1
        given = Given(to, message, stream, Place(stream, 0, self._offset))
        self.given.append(given)
        self._append(given)

    def repeat_last(self, count: int, *, contacts: int) -> None:
        """Do what intake does after a crash: append the last records again, interactions with another hint."""
        for given in self.given[-count:] if count else []:
            to = given.to
            if isinstance(given.message, InteractionEvent) and not given.message.withheld:
                owner = Entity(to.tenant, "contact", f"c{self._order.randrange(contacts)}")
                to = self._order.choice((Entity(to.tenant, "endpoint", given.message.party), owner))
            self._append(replace(given, to=to))

    def _append(self, given: Given) -> None:
        if isinstance(given.message, ContactMerged):
            for at in range(len(self.homes)):
                while self._ways[-1, at]:
                    self._arrive((-1, at))
        fixed_home = not isinstance(given.message, InteractionEvent)
        origin = Origin(given.stream, 0, given.place.offset, 0) if fixed_home else None
        record = LogRecord(given.to, given.message, given.place, None, origin)
        self._ways[-1, home(given.to, len(self.homes))].append(record)

    def _arrive(self, way: tuple[int, int]) -> None:
        record = self._ways[way].popleft()
        stamp_ms = self.now_ms if record.stamp_ms is None else record.stamp_ms
        self.homes[way[1]].log.append(replace(record, stamp_ms=stamp_ms))

    def settle(self) -> None:
        """Decide nothing yet."""

    def advance(self, most: int) -> bool:
        """Let up to `most` things happen; return whether nothing is left to happen."""
        for _ in range(most):
            ways: list[tuple[int, int] | int] = [way for way, waiting in self._ways.items() if waiting]
            ways += [at for at, each in enumerate(self.homes) if each.next < len(each.log)]
            if not ways:
                return True
            step = self._order.choice(ways)
            if isinstance(step, int):
                self._decide(step)
            else:
                self._arrive(step)
        return False


class ConcurrentDriver(Driver):
    """Gives a history's steps without waiting; names and texts are marked, so that what is left of them can be found."""

    def __init__(
        self, policy: state.Policy, *, seed: int, partitions: int = 4, dedup_window_ms: int = Policy().dedup_window_ms
    ) -> None:
        super().__init__(policy, seed=seed, partitions=partitions)
        rules = Policy(dedup_window_ms, policy.late_grace_ms, policy.idle_close_ms)
        self.busy = ConcurrentWorld(seed=seed, policy=rules, partitions=partitions)
        self.world = self.busy
        self._random = Random(seed)
        self._repeats = 0.15 if dedup_window_ms else 0.0
        self._names = 0

    def run(self, history: list[steps.Timed]) -> bool:
        """Give it all, then let everything happen; return whether it comes to an end."""
        for timed in history:
            self.give(self._marked(timed))
            if self._random.random() < self._repeats:
                self.busy.repeat_last(self._random.randrange(1, 6), contacts=5)
            self.busy.advance(self._random.choice((0, 0, 1, 3, 10, 40)))
        return self.busy.advance(MOST_STEPS)

    def _marked(self, timed: steps.Timed) -> steps.Timed:
        step = timed.step
        if isinstance(step, steps.InteractionEvent):
            self._names += 1
            fields = replace(step.fields, text=f"text-{self._names}")
            return replace(timed, step=replace(step, fields=fields))
        if isinstance(step, steps.ToConversation):
            opened = [each.event for each in self.busy.seen if isinstance(each.event, events.Opened)]
            self._opened = [each.now.conversation_id for each in opened]
            if step.conversation < 0:
                return replace(timed, step=replace(step, conversation=len(self._opened) + step.conversation))
        return timed

    def give(self, timed: steps.Timed) -> Refusal | None:
        """Append what intake would; a save has a name of its own."""
        step = timed.step
        if not isinstance(step, steps.SaveContact):
            return super().give(timed)
        self.busy.now_ms = timed.at_ms
        self._names += 1
        saved = ContactSaved(step.contact_id, f"name-{self._names}", step.endpoints)
        self.busy.give(Entity(step.tenant, "contact", step.contact_id), saved, stream=CONTACTS)
        return None
