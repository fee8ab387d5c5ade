"""Making a partition's tables anew from its outcomes: into a shadow, then flipped at once (docs/decisions/0008)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from interaction_router.application.folding import Folding
from interaction_router.application.outcomes import OUTCOMES, known_done, outcome_records
from interaction_router.application.snapshots import Snapshots
from interaction_router.application.states import CONVERSATIONS, write_states
from interaction_router.application.takeover import Takeover
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.application.views import HEAD, LOG, Views, read_head
from interaction_router.domain.errors import FatalError, RetryableError, RouterError
from interaction_router.domain.events import Decision, Outcome
from interaction_router.ports import Bounds, Log, Observer, Tables, Upkeep, shadow_of

UNUSABLE: Final = frozenset({"tables_damaged", "tables_clearing", "tables_restoring", "tables_type"})
"""Codes of tables that cannot be loaded until they are made anew."""

ELSEWHERE: Final = frozenset({"taken_over", "shadow_missing", "tables_standing"})
"""Codes of a shadow that is not where this rebuild has left it."""

FENCE: Final = -1
"""What a fence expects to stand at: nowhere, so that it never counts."""


@dataclass(frozen=True, slots=True)
class Rebuilding:
    """One partition before its rebuild: how its tables stand, and what a rebuild would make of them.

    `applied` is None where the tables cannot be used, and `reason` then says why; `shadow` is how far a rebuild that
    was broken off has come, -1 for none. `up_to` is the log offset that the rebuild flips at; `snapshot` the one that it
    goes on from, -1 for none.
    """

    partition: int
    applied: int | None
    reason: str | None
    shadow: int
    up_to: int
    snapshot: int
    bounds: Bounds


class Rebuilder:
    """Makes partitions anew, one at a time, while workers of these and of others run."""

    def __init__(
        self,
        log: Log,
        tables: Tables,
        upkeep: Upkeep,
        *,
        lineage: str,
        snapshots: Snapshots | None = None,
        observer: Observer = UNOBSERVED,
    ) -> None:
        """`lineage` names the internal log, as the workers know it; without `snapshots` all is folded from the start."""
        self._log = log
        self._tables = tables
        self._upkeep = upkeep
        self._lineage = lineage
        self._snapshots = snapshots
        self._observer = observer

    async def look(self, partition: int) -> Rebuilding:
        """Return what there is and what would be done; changes nothing."""
        bounds = await self._log.bounds(OUTCOMES, partition)
        applied, reason = await self._standing(partition)
        done = await known_done(self._log, partition, bounds)
        try:
            shadow = (await self._tables.load(shadow_of(partition), ())).applied
        except RouterError:
            shadow = -1
        up_to = done if applied is None else max(applied, done)
        snapshot = None if self._snapshots is None else await self._snapshots.latest(partition)
        return Rebuilding(
            partition, applied, reason, shadow, up_to, -1 if snapshot is None else snapshot.applied, bounds
        )

    async def rebuild(self, partition: int, told: Callable[[int], None] = lambda _: None) -> int:
        """Do it; return the log offset that the tables have then. `told` hears how far the shadow is.

        The tables get no further than what has been told: what is decided behind that is folded by whoever takes the
        partition over next, and told again before. Suspended last, and for as long as the rest takes: an owner that
        holds rows of the old tables can then write no more, and none can take over. The fence behind its last outcome
        that counts is the end of it even where it asks the tables nothing.

        What `told` raises breaks it off, but not once the partition is suspended.

        Raises:
            RetryableError: a server does not answer. What was begun is gone on with by the next call. Or somebody else
                makes the partition anew: `rebuilt_elsewhere`.
            FatalError: the outcomes cannot be folded.
        """
        try:
            return await self._rebuild(partition, told)
        except RouterError as error:
            if error.code not in ELSEWHERE:
                raise
            cause = f"Somebody else makes partition {partition} anew as well, or its tables were emptied."
            raise RetryableError("rebuilt_elsewhere", cause, "Let it end, then try again.") from error

    async def _rebuild(self, partition: int, told: Callable[[int], None]) -> int:
        folding = await self._begun(partition)
        told(folding.applied)
        await self._fold(folding, (await self.look(partition)).up_to, told)
        await self._fold(folding, (await self.look(partition)).up_to, told)  # what has come while the first was long
        await self._observer.reached("rebuild_folded", partition)
        await self.suspend(partition, applied=folding.applied, log_time_ms=folding.log_time_ms)
        bounds = await self._log.bounds(OUTCOMES, partition)
        await self._fold(folding, await known_done(self._log, partition, bounds), lambda _: None)
        await self._observer.reached("rebuild_caught_up", partition)
        await self._upkeep.flip(partition)
        await self._observer.reached("rebuild_flipped", partition)
        return folding.applied

    async def suspend(self, partition: int, *, applied: int, log_time_ms: int) -> None:
        """Let nobody decide the partition until its flip: neither a new owner, nor one that has it now.

        The fence is an outcome that does not count; it says the log offset and the log time of what is to be flipped.
        """
        await self._upkeep.suspend(partition, shadow_applied=applied)
        await self._observer.reached("rebuild_suspended", partition)
        fence = Outcome(applied, FENCE, -1, "", None, None, None, Decision(log_time_ms))
        await self._log.append(OUTCOMES, partition, outcome_records(fence))
        await self._observer.reached("rebuild_fenced", partition)

    async def _begun(self, partition: int) -> Folding:
        """Return the shadow to go on with: one that is half removed, or half written, is begun anew."""
        shadow = shadow_of(partition)
        base = None if self._snapshots is None else self._snapshots.base(partition, self._tables)
        folding = Folding(self._log, self._tables, partition, into=shadow, lineage=self._lineage, base=base)
        try:
            await folding.begin()
        except RouterError as error:
            if error.code not in UNUSABLE:
                raise
            await self._tables.clear(shadow)
            await folding.begin()
        return folding

    async def _fold(self, folding: Folding, up_to: int, told: Callable[[int], None]) -> None:
        if not await folding.up_to(max(up_to, folding.applied), told):
            cause = f"Outcomes count up to log offset {folding.applied}, and the tables have {up_to}."
            raise FatalError("outcomes_missing", cause, "The outcomes have lost records: restore the topic.")

    async def _standing(self, partition: int) -> tuple[int | None, str | None]:
        """Return how far the tables are, or why what they say of it is worth nothing."""
        try:
            loaded = await self._tables.load(partition, [], [HEAD])
        except (FatalError, RetryableError) as error:
            if error.code not in UNUSABLE:
                raise
            return None, error.code
        _, outcome, lineage = read_head(loaded.buckets[0])
        if lineage is not None and lineage != self._lineage:
            return None, "tables_of_another_log"
        outcomes, log = [await self._log.bounds(stream, partition) for stream in (OUTCOMES, LOG)]  # behind the tables
        if outcome >= outcomes.end or loaded.applied >= log.end:
            return None, "tables_ahead"
        return loaded.applied, None


async def catch_up(log: Log, tables: Tables, views: Views, partition: int) -> None:
    """Take a partition over once, so that its tables have all that is decided; a worker that is at it does the same.

    Raises:
        FatalError: the tables are not of this log.
    """
    takeover = Takeover(log, tables, views, partition)
    try:
        await takeover.run()
    except RetryableError as error:
        if error.code not in {"taken_over", "tables_clearing"}:
            raise
    finally:
        wrote = [key.bucket.removeprefix(CONVERSATIONS) for key in takeover.wrote]
        await write_states(log, tables, views, wrote, tombstones=False)
