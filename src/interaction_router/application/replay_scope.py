"""Which part of a log is replayed, and which part of that is compared with what is live."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from interaction_router.application.replay_lanes import Lane, Taken
from interaction_router.application.views import LOG
from interaction_router.domain.errors import FatalError
from interaction_router.domain.events import AliasMade, Conflicted, Event, Outcome, RowGone, RowPut
from interaction_router.domain.ids import Entity, Place
from interaction_router.domain.messages import AliasMoved, ContactMerged, EdgeStands, EdgeStruck, MergeWaits, Message
from interaction_router.ports import Log


@dataclass(frozen=True, slots=True)
class ReplayScope:
    """What was asked for; None, and no partitions, is all.

    Replayed is what was logged before `until_ms`, of one tenant, of one contact of it. Of that, compared is what was
    logged from `from_ms` on, in these partitions, at these offsets.
    """

    until_ms: int | None = None
    tenant: str | None = None
    contact: str | None = None
    from_ms: int | None = None
    partitions: Sequence[int] = ()
    offsets: tuple[int, int] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all of the log is replayed, so that another router can go on from it."""
        return self.until_ms is None and self.tenant is None and self.contact is None


@dataclass(frozen=True, slots=True)
class ReplaySelection:
    """A scope, and the homes that are replayed of one contact; `homes` is None where it names none."""

    scope: ReplayScope
    homes: frozenset[Entity] | None = None

    def has(self, to: Entity, message: Message) -> bool:
        """Tell whether what is for this home is replayed; what is for a partition is for everybody in it."""
        if not to.tenant:
            return True
        if self.scope.tenant not in {None, to.tenant}:
            return False
        return self.homes is None or to.kind == "partition" or _homes_of(to, message)[0] in self.homes

    def part_of(self, entity: Entity, outcome: Outcome) -> Outcome:
        """Return of an outcome what is of these homes: a tick closes conversations of any."""
        if self.homes is None or entity.kind != "partition":
            return outcome
        events = tuple(each for each in outcome.decision.events if set(_conversations(entity, [each])) <= self.homes)
        return replace(outcome, decision=replace(outcome.decision, events=events))

    def compares(self, place: Place, log_time_ms: int) -> bool:
        """Tell whether what was decided there is compared."""
        scope = self.scope
        return (
            (scope.from_ms is None or log_time_ms >= scope.from_ms)
            and (not scope.partitions or place.partition in scope.partitions)
            and (scope.offsets is None or scope.offsets[0] <= place.offset < scope.offsets[1])
        )


class _Homes:
    """Homes that have told each other anything belong together."""

    def __init__(self) -> None:
        self._of: dict[Entity, Entity] = {}

    def __contains__(self, home: object) -> bool:
        return home in self._of

    def first(self, home: Entity) -> Entity:
        """Return the one that stands for all that belong together with this."""
        while (further := self._of.setdefault(home, home)) != home:
            self._of[home] = self._of[further]
            home = further
        return home

    def join(self, home: Entity, others: Iterable[Entity]) -> None:
        """Let others belong together with this one."""
        first = self.first(home)
        for other in others:
            self._of[self.first(other)] = first

    def all_with(self, home: Entity) -> frozenset[Entity]:
        """Return all that belong together with this one."""
        first = self.first(home)
        return frozenset(each for each in list(self._of) if self.first(each) == first)


async def selected(log: Log, scope: ReplayScope) -> ReplaySelection:
    """Return what a scope comes to; reads the log until it is clear that there is something to compare.

    A contact decides by what its homes have told each other: its own, those of its addresses, of who had them before
    or after, of who was merged with it. So these are replayed with it, and they are enough.

    Raises:
        FatalError: `range_empty`, `contact_unknown`, `partition_unknown`; `outcomes_trimmed` where it cannot be known.
    """
    partitions = await log.partitions(LOG)
    for wrong in (each for each in scope.partitions if each >= partitions):
        cause = f"There is no partition {wrong}: the internal log has {partitions}, from 0 to {partitions - 1}."
        raise FatalError("partition_unknown", cause, "Check --partition and the namespace.")
    selection = ReplaySelection(scope)
    homes = _Homes()
    found: set[Entity] = set()
    for partition in range(partitions):
        lane = Lane(log, partition, (await log.bounds(LOG, partition)).end)
        while await lane.head() is not None and (scope.until_ms is None or lane.time_ms() < scope.until_ms):
            taken = await lane.take()
            to = taken.record.to
            if not selection.has(to, taken.record.message):
                continue
            if selection.compares(taken.place, taken.record.stamp_ms or 0):
                found.add(_homes_of(to, taken.record.message)[0])
            if scope.contact is not None:
                _take_note(homes, taken)
            elif found:
                return selection
    if scope.tenant is not None and scope.contact is not None:
        contact = Entity(scope.tenant, "contact", scope.contact)
        if contact not in homes:
            cause = f"Nothing in the log is of a contact {scope.contact} of {scope.tenant}."
            raise FatalError("contact_unknown", cause, "Check --tenant, --contact and --until.")
        selection = ReplaySelection(scope, homes.all_with(contact))
    if selection.homes is None or not selection.homes & found:
        cause = "There is no record in the log that the choice names."
        raise FatalError("range_empty", cause, "Look with `interaction-router tail --from-beginning --no-follow`.")
    return selection


def _take_note(homes: _Homes, taken: Taken) -> None:
    """Take note of what a record's home has told which others, and of the conversations that it had a hand in."""
    to = taken.record.to
    if to.kind == "partition":
        return
    if taken.trimmed:
        cause = f"Outcomes of partition {taken.place.partition} were removed: who has told whom cannot be known."
        raise FatalError("outcomes_trimmed", cause, "Replay the whole tenant, without --contact.")
    first, *further = _homes_of(to, taken.record.message)
    homes.join(first, further)
    if taken.live is not None:
        for send in taken.live.decision.sends:
            homes.join(first, _homes_of(send.to, send.message))
        homes.join(first, _conversations(to, taken.live.decision.events))


def _homes_of(to: Entity, message: Message) -> Sequence[Entity]:
    """Return the homes that a record is for: what a tenant's aliases know, they know of each contact by itself."""
    if to.kind == "aliases" and isinstance(message, ContactMerged | MergeWaits | EdgeStands | EdgeStruck | AliasMoved):
        return [Entity(to.tenant, "contact", each) for each in (message.contact_id, message.into)]
    return (to,)


def _conversations(entity: Entity, events: Iterable[Event]) -> Iterator[Entity]:
    """Yield the conversations that these events are of."""
    for event in events:
        if not isinstance(event, Conflicted | AliasMade | RowPut | RowGone):
            yield Entity(entity.tenant, "conversation", event.now.conversation_id)
