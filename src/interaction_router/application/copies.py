"""A partition's tables as lines of JSON: written out at one moment, and put into empty tables again."""

from collections.abc import AsyncIterator, Iterator
from typing import Final

from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.rebuilding import Rebuilder
from interaction_router.application.rowlines import OTHER_FILE, Line, lines_of, take_line
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.application.views import HEAD, Views, read_head
from interaction_router.domain.errors import FatalError, RetryableError
from interaction_router.ports import Log, Observer, Tables, Upkeep, Writes, shadow_of

FORM: Final = 1
"""The form of the lines; another one would be another number."""

BATCH: Final = 1000
"""Lines that are put into the tables at once."""

_APPLIED: Final = "applied"


class Copies:
    """Writes partitions out and puts them in again; a copy holds personal data, as the rows do.

    The first line of a copy has `partition`, `applied` and what it is a copy of; the last one how many lines there
    were between them, each as in `rowlines`.
    """

    def __init__(
        self, log: Log, tables: Tables, upkeep: Upkeep, views: Views, *, observer: Observer = UNOBSERVED
    ) -> None:
        """Copy these tables, whose rows are of this log."""
        self._log = log
        self._tables = tables
        self._upkeep = upkeep
        self._views = views
        self._observer = observer

    async def export(self, partition: int) -> AsyncIterator[Line]:
        """Yield a partition's lines, all of one moment.

        Raises:
            RetryableError: the tables have moved on meanwhile, and what was yielded is worth nothing.
        """
        loaded = await self._tables.load(partition, [], [HEAD])
        _, _, lineage = read_head(loaded.buckets[0])
        yield self._first(partition, loaded.applied, lineage)
        count = 0
        async for names in self._upkeep.names(partition):
            rows = await self._tables.load(partition, names.rows)
            scores = await self._upkeep.scores(partition, names.members)
            if {rows.applied, scores.applied} != {loaded.applied}:
                cause = f"A worker has moved partition {partition} while it was written out."
                raise RetryableError("tables_moved", cause, "Stop the workers, or try again when less is to be done.")
            for line in lines_of(
                zip(names.rows, rows.rows, strict=True), zip(names.members, scores.scores, strict=True)
            ):
                count += 1
                yield line
        yield {"end": partition, "lines": count}

    async def put(self, first: Line, lines: Iterator[Line], *, dry: bool) -> int:
        """Put the lines behind a first one into the tables, all at once; return how many. `dry` only reads them.

        Raises:
            FatalError: they are no whole copy of this log's tables, or the partition's tables are not empty.
        """
        partition = self._check(first)
        await self._be_empty(partition)
        shadow, into = shadow_of(partition), Writes()
        if not dry:
            await self._tables.clear(shadow)
        for count, line in enumerate(lines):
            if "end" in line:
                if line != {"end": partition, "lines": count}:
                    break
                if not dry:
                    await self._tables.apply(shadow, after=-1, applied=first[_APPLIED], writes=into)
                    await self._observer.reached("import_filled", partition)
                    await self._flip(partition, first[_APPLIED])
                return count
            take_line(line, into)
            if len(into.puts) + len(into.scores) >= BATCH:
                if not dry:
                    await self._tables.apply(shadow, after=-1, applied=-1, writes=into)
                into = Writes()
        raise FatalError("copy_unreadable", f"The copy of partition {partition} is not whole.", OTHER_FILE)

    async def _flip(self, partition: int, applied: int) -> None:
        shadow = shadow_of(partition)
        head, outcome, lineage = read_head((await self._tables.load(shadow, [], [HEAD])).buckets[0])
        end = (await self._log.bounds(OUTCOMES, partition)).end
        if outcome >= end or (lineage not in {None, self._views.lineage}):
            await self._tables.clear(shadow)
            cause = f"The copy of partition {partition} has outcome {outcome}, and the log ends at {end}."
            raise FatalError("tables_ahead", cause, "The outcomes have lost records, or were made anew.")
        lineage = self._views.lineage
        rebuilder = Rebuilder(self._log, self._tables, self._upkeep, lineage=lineage, observer=self._observer)
        await rebuilder.suspend(partition, applied=applied, log_time_ms=head.log_time_ms)
        await self._upkeep.flip(partition)
        await self._observer.reached("import_flipped", partition)

    def _first(self, partition: int, applied: int, lineage: str | None) -> Line:
        return {
            "form": FORM,
            "partition": partition,
            "partitions": self._views.partitions,
            _APPLIED: applied,
            "lineage": lineage or self._views.lineage,
        }

    def _check(self, first: Line) -> int:
        """Return the partition that a first line is of, where the copy fits."""
        if first.get("form") != FORM or type(first.get(_APPLIED)) is not int:
            raise FatalError("copy_unreadable", "The file has no copy that this version can read.", OTHER_FILE)
        if first.get("lineage") != self._views.lineage or first.get("partitions") != self._views.partitions:
            cause = "The copy is of another internal log: its rows would not be what this one says."
            raise FatalError(
                "tables_of_another_log", cause, "Use the namespace, and the topics, that it was made from."
            )
        partition = first.get("partition")
        if type(partition) is not int or partition not in range(self._views.partitions):
            raise FatalError("copy_unreadable", "The copy names a partition that there is not.", OTHER_FILE)
        return partition

    async def _be_empty(self, partition: int) -> None:
        standing = (await self._tables.load(partition, ())).applied
        async for names in self._upkeep.names(partition):
            standing = max(standing, 0 if names.rows or names.members else -1)
        if standing >= 0:
            cause = f"Partition {partition} has rows: a copy is put into empty tables only."
            raise FatalError("tables_not_empty", cause, "See `interaction-router state rebuild`.")
