"""How conversations and the interaction index go from one home to another."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from interaction_router.domain.ids import Entity
from interaction_router.domain.messages import Carried, Index
from interaction_router.domain.rows import (
    Conversation,
    Endpoint,
    Entry,
    Moved,
    RowKey,
    conversation_key,
    endpoint_key,
    endpoint_prefix,
    index_bucket,
)
from interaction_router.domain.turn import Turn
from interaction_router.domain.values import replace

PART_ENTRIES = 500
PART_CHARACTERS = 256 * 1024
"""A record of the log carries at most so many interactions, and no further one once it has so many characters."""


def carry(
    turn: Turn,
    conversations: Iterable[Conversation],
    index: Mapping[str, Entry],
    to: Entity,
) -> list[Carried]:
    """Take conversations out of their owner's home, leaving stubs; return them in parts that a log record holds."""
    of_conversation: dict[str, dict[str, Entry]] = {}
    for field, entry in index.items():
        if entry.to is None:
            of_conversation.setdefault(entry.conversation_id, {})[field] = entry
    parts = []
    for row in conversations:
        entries = of_conversation.get(row.conversation_id, {})
        parts += [Carried(row, part) for part in _in_parts(entries)] or [Carried(row, {})]
        turn.put(conversation_key(row.conversation_id), Moved(row.conversation_id, row.tenant, to))
        bucket = index_bucket(row.owner)
        for field in entries:
            turn.put(RowKey(bucket, field), Entry(row.conversation_id, to, at_ms=turn.log_time_ms))
    return parts


def _in_parts(entries: Mapping[str, Entry]) -> Iterator[dict[str, Entry]]:
    part: dict[str, Entry] = {}
    size = 0
    for field, entry in entries.items():
        part[field] = entry
        size += _characters(entry)
        if len(part) >= PART_ENTRIES or size >= PART_CHARACTERS:
            yield part
            part, size = {}, 0
    if part:
        yield part


def _characters(entry: Entry) -> int:
    return len(str(entry))


def in_records(parts: Iterable[Carried]) -> list[tuple[Carried, ...]]:
    """Return the parts, several small ones together, as many as one log record holds."""
    records: list[tuple[Carried, ...]] = []
    group: list[Carried] = []
    count = size = 0
    for part in parts:
        group.append(part)
        count += max(1, len(part.entries))
        size += sum(_characters(entry) for entry in part.entries.values())
        if count >= PART_ENTRIES or size >= PART_CHARACTERS:
            records.append(tuple(group))
            group, count, size = [], 0, 0
    if group:
        records.append(tuple(group))
    return records


def index_parts(index: Index) -> list[dict[str, str]]:
    """Return an index in parts that a log record holds; at least one, which may be empty."""
    fields = list(index)
    starts = range(0, len(fields), PART_ENTRIES)
    return [{field: index[field] for field in fields[at : at + PART_ENTRIES]} for at in starts] or [{}]


def take(turn: Turn, carried: Sequence[Carried]) -> list[str]:
    """Let conversations live here from now on; return their ids.

    Of one that comes in several parts, the first brings it: since then it may have changed here.
    """
    me = turn.record.to
    bucket = index_bucket(me)
    turn.need(conversation_key(each.conversation.conversation_id) for each in carried)
    ids: dict[str, None] = {}
    for each in carried:
        row = each.conversation
        if not isinstance(turn.row(conversation_key(row.conversation_id)), Conversation):
            turn.put(conversation_key(row.conversation_id), replace(row, owner=me))
        ids[row.conversation_id] = None
        for field, entry in each.entries.items():
            turn.put(RowKey(bucket, field), entry)
    return list(ids)


def pass_by(turn: Turn, carried: Iterable[Carried], to: Entity) -> None:
    """Keep stubs of conversations that only come through here on their way to another home."""
    bucket = index_bucket(turn.record.to)
    for each in carried:
        row = each.conversation
        turn.put(conversation_key(row.conversation_id), Moved(row.conversation_id, row.tenant, to))
        for field in each.entries:
            turn.put(RowKey(bucket, field), Entry(row.conversation_id, to, at_ms=turn.log_time_ms))


def learn(turn: Turn, index: Index, giver: Entity) -> None:
    """Take over what the giver knows of interactions; what is known here stands."""
    bucket = index_bucket(turn.record.to)
    turn.need(RowKey(bucket, field) for field in index)
    for field, conversation_id in index.items():
        key = RowKey(bucket, field)
        if turn.get(key, Entry) is None:
            turn.put(key, Entry(conversation_id, giver, at_ms=turn.log_time_ms))


def index_of(index: Mapping[str, Entry], tenant: str, party: str) -> dict[str, str]:
    """Return an endpoint's part of an index, as it goes with the ownership."""
    prefix = endpoint_prefix(tenant, party)
    return {field: entry.conversation_id for field, entry in index.items() if field.startswith(prefix)}


def ensure_endpoint(turn: Turn, party: str) -> Endpoint:
    """Return the endpoint's row, made where it is not there: without a row there is no index."""
    key = endpoint_key(turn.tenant, party)
    endpoint = turn.get(key, Endpoint)
    if endpoint is None:
        endpoint = Endpoint()
        turn.put(key, endpoint)
    return endpoint
