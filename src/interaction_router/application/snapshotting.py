"""Taking a snapshot of a partition: folded beside the tables that workers use, written, and read back."""

from collections.abc import Callable
from dataclasses import dataclass

from interaction_router.application.folding import Folding
from interaction_router.application.rebuilding import Rebuilder
from interaction_router.application.snapshots import Snapshots
from interaction_router.ports import Log, Tables, Upkeep


@dataclass(frozen=True, slots=True)
class Taken:
    """The snapshot of a partition: its log offset, its chunks, and the first outcome that is still needed beside it."""

    partition: int
    applied: int
    chunks: int
    removable: int


async def take_snapshot(
    log: Log,
    snapshots: Snapshots,
    partition: int,
    *,
    live: tuple[Tables, Upkeep],
    scratch: tuple[Tables, Upkeep],
    told: Callable[[int, int], None] = lambda *_: None,
) -> Taken:
    """Fold what is known to be told into the empty scratch, and write it; `told` hears how far it is, of how much.

    Never more than that: a takeover that begins with it repeats no view of what it has.

    Raises:
        RetryableError: a server does not answer, or somebody else has taken a snapshot meanwhile.
        FatalError: the outcomes cannot be folded, or the snapshot cannot be read back.
    """
    tables, upkeep = live
    plan = await Rebuilder(log, tables, upkeep, lineage=snapshots.lineage).look(partition)
    base = snapshots.base(partition, scratch[0])
    folding = Folding(log, scratch[0], partition, into=partition, lineage=snapshots.lineage, base=base)
    await folding.begin()
    await folding.up_to(max(plan.up_to, folding.applied), lambda at: told(at, plan.up_to))
    key, chunks = await snapshots.write(partition, folding, scratch)
    await snapshots.read_back(partition, key)
    behind = plan.applied is None or plan.applied < plan.up_to
    needed = plan.bounds.first if behind else await snapshots.removable(partition, folding.outcome)
    return Taken(partition, folding.applied, chunks, needed)
