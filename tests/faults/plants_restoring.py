"""Further defects to plant: in how a takeover puts a snapshot into tables that others are at as well."""

from collections.abc import Callable

import pytest

from interaction_router.adapters.embedded import tables
from interaction_router.adapters.embedded.tables import EmbeddedTables
from interaction_router.application.folding import Folding
from interaction_router.application.snapshots import Snapshot, Snapshots
from interaction_router.ports import Bounds, Restoring, Standing, Writes

Patch = pytest.MonkeyPatch


def _restored_after(patch: Patch, seen: Callable[[Standing, Standing, Standing], Standing]) -> None:
    """Let steps of a restore be done behind what `seen` makes of where the tables are, of `after` and of `then`."""
    restore = EmbeddedTables.restore

    async def careless(
        self: EmbeddedTables, partition: int, *, after: Standing, then: Standing, writes: Writes
    ) -> Standing:
        with self._database.reading() as connection:
            standing = tables.standing_of(connection, partition)
        return await restore(self, partition, after=seen(standing, after, then), then=then, writes=writes)

    patch.setattr(EmbeddedTables, "restore", careless)


def a_chunk_goes_in_whatever_was_before(patch: Patch) -> None:
    """Whoever restores does not look whether the tables are still where its last chunk has left them."""
    _restored_after(patch, lambda standing, after, _: standing if isinstance(after, Restoring) else after)


def a_snapshot_goes_beside_rows(patch: Patch) -> None:
    """A restore begins whatever there is in the tables: mostly the fold behind it mends that, so a script shows it."""
    _restored_after(
        patch, lambda standing, after, then: standing if isinstance(then, Restoring) and not then.chunks else after
    )


def half_a_snapshot_is_loaded(patch: Patch) -> None:
    """Tables that are being filled look empty to others, who begin to fold."""
    restore = EmbeddedTables.restore

    async def late(
        self: EmbeddedTables, partition: int, *, after: Standing, then: Standing, writes: Writes
    ) -> Standing:
        if isinstance(then, Restoring) and then.chunks:
            with self._database.writing() as connection:
                if tables.standing_of(connection, partition) == -1:
                    tables._put(connection, partition, writes)
                    return then
        begun = isinstance(then, Restoring) and not then.chunks
        ended = isinstance(after, Restoring) and isinstance(then, int)
        if begun:
            return then
        return await restore(self, partition, after=-1 if ended else after, then=then, writes=writes)

    patch.setattr(EmbeddedTables, "restore", late)


def rows_of_an_older_snapshot_stay(patch: Patch) -> None:
    """What a newer snapshot lacks lingers; few stories come by it, so a script shows it."""

    async def kept(self: EmbeddedTables, partition: int, *, after: Restoring) -> Standing:
        with self._database.writing() as connection:
            standing = tables.standing_of(connection, partition)
            if standing == after:
                connection.execute("DELETE FROM applied WHERE partition = ?", (partition,))
        return -1 if standing == after else standing

    patch.setattr(EmbeddedTables, "empty", kept)


def a_snapshot_has_what_was_not_told(patch: Patch) -> None:
    """It is folded to the end of the outcomes."""
    up_to = Folding.up_to

    async def all_of_it(self: Folding, applied: int, told: Callable[[int], None] = lambda _: None) -> bool:
        await up_to(self, applied, told)
        await up_to(self, 1 << 40, told)
        return True

    patch.setattr(Folding, "up_to", all_of_it)


def a_manifest_counts_wherever_it_stands(patch: Patch) -> None:
    """Of two who take a snapshot at once the first removes what stands of the second, which is the latest."""

    async def last(self: Snapshots, partition: int, bounds: Bounds) -> Snapshot | None:
        found = [each async for _, each in self._manifests(partition, bounds.first, bounds.end)]
        return found[-1] if found else None

    patch.setattr(Snapshots, "_latest_within", last)


PLANTS_RESTORING = (
    a_chunk_goes_in_whatever_was_before,
    half_a_snapshot_is_loaded,
    a_snapshot_has_what_was_not_told,
    a_manifest_counts_wherever_it_stands,
)
