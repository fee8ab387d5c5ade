"""The outcomes that count, folded from the beginning, and the tables beside them."""

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from interaction_router.application.outcomes import OUTCOMES, Counting
from interaction_router.application.views import CONTACTS, DUE, HEAD, LOG, read_head
from interaction_router.domain.evolve import evolve
from interaction_router.domain.rows import POLICY, Contact, Conversation, Head, Policy, Row, RowKey, index_bucket
from interaction_router.domain.timers import due_at_ms
from interaction_router.ports import Tables
from interaction_router.wire.codec import encode_row
from tests.checker.source import Difference, Source

_EVER = 1e18
_MOST = 1_000_000


@dataclass(slots=True)
class Folded:
    """A partition as its outcomes have it: the rows, and None for those that were once there."""

    last: int = -1
    rows: dict[RowKey, Row | None] = field(default_factory=dict)
    head: Head = field(default_factory=Head)
    policies: set[int] = field(default_factory=set)
    two_open: list[Difference] = field(default_factory=list)


def fold(source: Source, partition: int) -> Folded:
    """Fold what counts; after each outcome a contact may have one open conversation."""
    folded = Folded()
    counting = Counting(-1)
    open_of: dict[tuple[str, str], set[str]] = defaultdict(set)
    for outcome, _ in counting.count(source.records[OUTCOMES][partition]):
        touched: set[tuple[str, str]] = set()
        for event in outcome.decision.events:
            changes = evolve(folded.rows.get, event, log_time_ms=outcome.decision.log_time_ms, offset=outcome.offset)
            for key, row in changes:
                _follow(open_of, touched, folded.rows.get(key), row)
                folded.rows[key] = row
                if key == POLICY:
                    folded.policies.add(outcome.offset)
        folded.two_open += [
            Difference("two_open", f"{OUTCOMES}/{partition}", f"{contact} after log offset {outcome.offset}")
            for contact in sorted(touched)
            if len(open_of[contact]) > 1
        ]
        folded.head.log_time_ms = outcome.decision.log_time_ms
        if outcome.origin is not None:
            folded.head.watermarks[outcome.origin[:2]] = outcome.origin[2:]
    folded.last = counting.last
    return folded


def _follow(
    open_of: dict[tuple[str, str], set[str]], touched: set[tuple[str, str]], was: Row | None, row: Row | None
) -> None:
    for each, is_now in ((was, False), (row, True)):
        if isinstance(each, Conversation) and each.contact_id is not None:
            contact = (each.tenant, each.contact_id)
            open_of[contact].discard(each.conversation_id)
            if is_now and each.status == "open":
                open_of[contact].add(each.conversation_id)
                touched.add(contact)


async def check_tables(source: Source, tables: Tables) -> list[Difference]:
    """The log is decided to its end, and every partition's tables are the fold of what counts."""
    differences: list[Difference] = []
    for partition, end in enumerate(source.ends[LOG]):
        where = f"partition {partition}"
        try:
            folded = fold(source, partition)
        except TypeError as error:  # an event of what is not there, or is something else
            differences.append(Difference("contradiction", where, str(error)))
            continue
        differences += folded.two_open
        if folded.last != end - 1:
            differences.append(Difference("undecided", where, f"decided up to {folded.last}, the log ends at {end}"))
        differences += [each async for each in _rows(tables, partition, folded)]
        differences += [each async for each in _scores(tables, partition, folded)]
        loaded = await tables.load(partition, [], [HEAD])
        head, _, _ = read_head(loaded.buckets[0])
        if loaded.applied != folded.last:
            differences.append(Difference("applied", where, f"{loaded.applied}, not {folded.last}"))
        if head != folded.head:
            differences.append(Difference("head", where, f"{head}, not {folded.head}"))
    return differences


async def _rows(tables: Tables, partition: int, folded: Folded) -> AsyncIterator[Difference]:
    """Compare every row that ever was, and the whole of each index; a port does not tell of rows nobody names."""
    keys = sorted(folded.rows)
    loaded = await tables.load(partition, keys)
    for key, value in zip(keys, loaded.rows, strict=True):
        row = folded.rows[key]
        if value != (None if row is None else encode_row(row)):
            what = "missing" if value is None else "extra" if row is None else "changed"
            yield Difference(f"row_{what}", f"partition {partition}", f"{key.bucket} {key.field}")
    owners = {row.owner for row in folded.rows.values() if isinstance(row, Conversation)}
    buckets = sorted({index_bucket(owner) for owner in owners} | {key.bucket for key in keys if key.field})
    loaded = await tables.load(partition, [], buckets)
    for bucket, fields in zip(buckets, loaded.buckets, strict=True):
        for name in sorted(fields):
            if folded.rows.get(RowKey(bucket, name)) is None:
                yield Difference("row_extra", f"partition {partition}", f"{bucket} {name}")


async def _scores(tables: Tables, partition: int, folded: Folded) -> AsyncIterator[Difference]:
    """What people and timers look for: each conversation on its shelf, each that can idle at its time."""
    wanted: dict[str, set[str]] = defaultdict(set)
    due: dict[str, float] = {}
    policy = folded.rows.get(POLICY)
    for row in folded.rows.values():
        tenant = getattr(row, "tenant", None)
        if isinstance(row, Contact):
            wanted[f"{CONTACTS}:{row.tenant}"].add(row.contact_id)
        if tenant is not None:
            wanted[f"open:{tenant}"], wanted[f"closed:{tenant}"]
        if isinstance(row, Conversation):
            if row.retired:
                continue
            wanted[f"{'open' if row.status == 'open' else 'closed'}:{row.tenant}"].add(row.conversation_id)
            at_ms = due_at_ms(row, policy if isinstance(policy, Policy) else Policy())
            if at_ms is not None:
                due[f"{row.tenant}/{row.conversation_id}"] = at_ms
    for name, members in sorted(wanted.items()):
        found = {member for member, _ in await _all_of(tables, partition, name)}
        if found != members:
            yield Difference("scores", f"partition {partition}", f"{name}: {sorted(found ^ members)}")
    found_due = dict(await _all_of(tables, partition, DUE))
    if len(folded.policies) <= 1 and found_due != due:  # what was due under an older policy stays until it is touched
        names = sorted(name for name in {*due, *found_due} if due.get(name) != found_due.get(name))
        yield Difference("scores", f"partition {partition}", f"{DUE}: {names}")


async def _all_of(tables: Tables, partition: int, name: str) -> list[tuple[str, float]]:
    return await tables.scored(partition, name, low=0, high=_EVER, limit=_MOST)
