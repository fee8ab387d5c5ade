"""What is too old to be kept: closed conversations leave the lists, interactions leave the index.

Both are decided at a record of the log, by log time and by the policy in force: a replay forgets the same.
"""

from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter

from interaction_router.domain.events import RowGone
from interaction_router.domain.messages import IndexGrown, Retire
from interaction_router.domain.rows import (
    Conversation,
    Entry,
    RowKey,
    conversation_key,
    index_bucket,
    is_mark,
    mark_field,
    party_part,
)
from interaction_router.domain.timers import CALL_LIMIT_MS
from interaction_router.domain.turn import Turn

KEPT_INTERACTIONS = 1_000
"""So many interactions of a party are known, the newest, however old they are."""


def retire(turn: Turn, message: Retire) -> None:
    """Take those of the conversations out of the lists that have been closed for long, and are here."""
    retention_ms = turn.policy.closed_retention_ms
    if retention_ms is None:
        return
    turn.need(map(conversation_key, message.conversations))
    for conversation_id in message.conversations:
        row = turn.row(conversation_key(conversation_id))
        if not isinstance(row, Conversation) or row.retired or row.closed_at_ms is None:
            continue
        if row.closed_at_ms + retention_ms <= turn.log_time_ms:
            turn.retire(row)


def forget(turn: Turn, message: IndexGrown) -> None:
    """Forget interactions of closed conversations: older than the window, and not among the newest of their party.

    A conversation that keeps none of them keeps a mark, so that a save, a merge and an erasure still find it.
    """
    del message
    me = turn.record.to
    bucket, index = index_bucket(me), turn.index(me)
    going = _old(index, until_ms=turn.log_time_ms - turn.policy.dedup_window_ms)
    turn.need(conversation_key(entry.conversation_id) for entry in going.values() if entry.to is None)
    going = {field: entry for field, entry in going.items() if _may_go(turn, entry)}
    stays = {entry.conversation_id for field, entry in index.items() if field not in going}
    for field, entry in going.items():
        turn.emit(RowGone(RowKey(bucket, field)))
        if entry.to is None and entry.conversation_id not in stays:
            stays.add(entry.conversation_id)
            turn.put(RowKey(bucket, mark_field(entry.conversation_id)), Entry(entry.conversation_id))


def _old(index: Mapping[str, Entry], *, until_ms: int) -> dict[str, Entry]:
    """Return the entries that are neither newer than `until_ms` nor among the newest of their party."""
    named = [(party_part(field), field, entry) for field, entry in index.items() if not is_mark(field)]
    old: dict[str, Entry] = {}
    for _, of_party in groupby(sorted(named, key=itemgetter(0)), key=itemgetter(0)):
        newest_first = sorted(of_party, key=lambda each: (each[2].at_ms, each[1]), reverse=True)
        beyond = newest_first[KEPT_INTERACTIONS:]
        old |= {field: entry for _, field, entry in beyond if entry.at_ms <= until_ms}
    return old


def _may_go(turn: Turn, entry: Entry) -> bool:
    """Return whether nothing can come of it any more: of an open or erased conversation, or a call, something can."""
    if entry.to is not None:
        return True
    row = turn.row(conversation_key(entry.conversation_id))
    if not isinstance(row, Conversation) or row.status != "closed":
        return False
    call = entry.interaction is not None and entry.interaction.in_progress
    return not call or entry.at_ms + CALL_LIMIT_MS <= turn.log_time_ms
