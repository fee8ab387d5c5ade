"""What is made of outcomes: updates, dead letters, sends, table rows. All of it may be made again, byte for byte."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from interaction_router.domain.events import Outcome
from interaction_router.domain.ids import conversation_hash, hash_of_text, home
from interaction_router.domain.messages import LogRecord, Origin, Send, can_be_refused
from interaction_router.domain.names import topic_name
from interaction_router.domain.rows import (
    POLICY,
    Contact,
    Conversation,
    Head,
    Moved,
    Policy,
    Row,
    RowKey,
    contact_key,
    endpoint_key,
)
from interaction_router.domain.timers import due_at_ms
from interaction_router.ports import Outgoing, Writes
from interaction_router.wire.codec import encode_log_record, encode_row
from interaction_router.wire.updates import UpdateWriter, dead_letter, state_record

LOG: Final = "internal.log"
UPDATES: Final = "conversations.v1"
STATE: Final = "conversations.state.v1"
DEAD_LETTERS: Final = "dlq.v1"
HEAD: Final = "head"
DUE: Final = "due"
TENANTS: Final = "tenants"
CONTACTS: Final = "contacts"
_SCORE_BYTES: Final = 6
"""As many as a score, which is a double, holds exactly."""

Batches = dict[int, list[Outgoing]]


class Views:
    """Makes the views of a router with so many partitions, and the name that its topics begin with."""

    def __init__(self, *, namespace: str, partitions: int, lineage: str, inputs: str | None = None) -> None:
        """`inputs` is the namespace of the raw records where it is another; `lineage` names the internal log: a topic of the same name made anew has another."""
        self._namespace = namespace
        self._inputs = inputs
        self.partitions = partitions
        self.lineage = lineage
        self._stream = f"{LOG}/{lineage}"

    def updates(self, partition: int, outcomes: Iterable[Outcome]) -> tuple[Batches, Batches]:
        """Return the updates and the dead letters, by partition: a conversation's is told by its id alone."""
        updates: Batches = defaultdict(list)
        letters: Batches = defaultdict(list)
        records, partitions = UpdateWriter(self._namespace, partition, self._inputs).records, self.partitions
        for outcome in outcomes:
            decision = outcome.decision
            log_time_ms = decision.log_time_ms
            for conversation_id, key, value, headers in records(outcome):
                hashed = hash_of_text(key.decode()) if conversation_id is None else conversation_hash(conversation_id)
                updates[hashed % partitions].append(Outgoing(key, value, headers, log_time_ms))
            if decision.refusal is not None and outcome.raw is not None and outcome.cause is not None:
                topic = topic_name(self._namespace, outcome.cause.stream, self._inputs)
                letter = dead_letter(
                    outcome.raw, decision.refusal, stage="assignment", place=outcome.cause, topic=topic
                )
                stamped = letter._replace(timestamp_ms=decision.log_time_ms)
                letters[outcome.cause.partition % self.partitions].append(stamped)
        return updates, letters

    def sends(self, partition: int, outcomes: Iterable[Outcome]) -> Batches:
        """Return the records for other homes, by partition of the internal log."""
        batches: Batches = defaultdict(list)
        for outcome in outcomes:
            if not outcome.decision.sends:
                continue
            for nth, send in enumerate(outcome.decision.sends):
                record = self._sent(partition, outcome, send, nth)
                batches[home(send.to, self.partitions)].append(encode_log_record(record))
        return batches

    def _sent(self, partition: int, outcome: Outcome, send: Send, nth: int) -> LogRecord:
        return LogRecord(
            to=send.to,
            message=send.message,
            cause=outcome.cause,
            stamp_ms=outcome.decision.log_time_ms,
            origin=Origin(self._stream, partition, outcome.offset, nth),
            trace=outcome.trace,
            raw=outcome.raw if can_be_refused(send.message) else None,
        )

    def state(self, rows: Iterable[Row | None], stamp_ms: int) -> Batches:
        """Return the conversations as they stand, by partition."""
        batches: Batches = defaultdict(list)
        for row in rows:
            if isinstance(row, Conversation):
                partition = conversation_hash(row.conversation_id) % self.partitions
                batches[partition].append(state_record(row, stamp_ms))
        return batches


def writes(changed: Mapping[RowKey, Row | None], before: Mapping[RowKey, Row | None], policy: Policy) -> Writes:
    """Return what the tables have to hold for the rows that changed; `before` are those rows as they stood."""
    into = Writes()
    indexed = not policy.pending and POLICY not in changed
    for key, row in changed.items():
        if row is None:
            into.deletes.add(key)
            continue
        into.puts[key] = encode_row(row)
        if isinstance(row, Conversation):
            was = before.get(key)
            _index(into, row, was if isinstance(was, Conversation) else None, policy, indexed=indexed)
        elif isinstance(row, Moved):
            _take_from_index(into, row, before.get(key))
        elif isinstance(row, Contact) and before.get(key) is None:
            into.scores[f"{CONTACTS}:{row.tenant}", row.contact_id] = contact_score(row.contact_id)
    return into


def contact_score(contact_id: str) -> float:
    """Return a number that orders contacts roughly by id; those that begin alike are ordered by the id itself."""
    return float(int.from_bytes(contact_id.encode()[:_SCORE_BYTES].ljust(_SCORE_BYTES, b"\0"), "big"))


def head_writes(into: Writes, head: Head, *, outcome: int, lineage: str, changed: Iterable[tuple[str, int]]) -> None:
    """Add how far the partition is."""
    puts = into.puts
    puts[RowKey(HEAD, "log_time_ms")] = str(head.log_time_ms).encode()
    puts[RowKey(HEAD, "outcome")] = str(outcome).encode()
    puts[RowKey(HEAD, "lineage")] = lineage.encode()
    for stream, partition in changed:
        offset, nth = head.watermarks[stream, partition]
        puts[RowKey(HEAD, f"watermark:{stream}:{partition}")] = f"{offset}/{nth}".encode()


def read_head(fields: Mapping[str, bytes]) -> tuple[Head, int, str | None]:
    """Return a partition's head, the offset of the last outcome in the tables (-1 for none), and the lineage."""
    head = Head(int(fields.get("log_time_ms", b"0")))
    for name, value in fields.items():
        if name.startswith("watermark:"):
            stream, _, partition = name.removeprefix("watermark:").rpartition(":")
            offset, _, nth = value.decode().partition("/")
            head.watermarks[stream, int(partition)] = (int(offset), int(nth))
    lineage = fields.get("lineage")
    return head, int(fields.get("outcome", b"-1")), None if lineage is None else lineage.decode()


def _index(into: Writes, row: Conversation, was: Conversation | None, policy: Policy, *, indexed: bool) -> None:
    """Keep what people look for: a tenant's open and closed ones by last activity, a contact's and an endpoint's.

    Only where all that was is `indexed` by the policy, what was not due by it needs not be taken out of what is due.
    """
    key = row.conversation_id
    at_ms = last_activity_ms(row)
    if row.retired:
        _take_from_index(into, row, was)
        return
    shelf, other = ("open", "closed") if row.status == "open" else ("closed", "open")
    into.scores[f"{shelf}:{row.tenant}", key] = at_ms
    if was is None:
        into.scores[TENANTS, row.tenant] = 0
    if was is None or was.status != row.status:
        into.unscores.add((f"{other}:{row.tenant}", key))
    if was is None or (was.contact_id, was.endpoint) != (row.contact_id, row.endpoint):
        shelves = set(_shelves(row))
        # By opening, which never changes: most writes of a conversation need not touch these.
        into.scores.update(((name, key), row.opened_at_ms) for name in shelves)
        if was is not None:
            into.unscores.update((name, key) for name in set(_shelves(was)) - shelves)
    due = due_at_ms(row, policy)
    if due is not None:
        into.scores[DUE, f"{row.tenant}/{key}"] = due
    elif was is not None and (was is row or not indexed or due_at_ms(was, policy) is not None):
        into.unscores.add((DUE, f"{row.tenant}/{key}"))


def last_activity_ms(row: Conversation) -> int:
    """Return by what a tenant's conversations are ordered."""
    return max(row.last_interaction_at_ms or 0, row.closed_at_ms or 0, row.opened_at_ms)


def _shelves(row: Conversation) -> list[str]:
    shelves = []
    if row.contact_id is not None:
        shelves.append(f"of:{contact_key(row.tenant, row.contact_id).bucket}")
    if row.endpoint is not None:
        shelves.append(f"of:{endpoint_key(row.tenant, row.endpoint).bucket}")
    return shelves


def _take_from_index(into: Writes, row: Conversation | Moved, was: Row | None) -> None:
    key = row.conversation_id
    into.unscores.add((DUE, f"{row.tenant}/{key}"))
    names = [f"open:{row.tenant}", f"closed:{row.tenant}"]
    names += [name for each in (row, was) if isinstance(each, Conversation) for name in _shelves(each)]
    into.unscores.update((name, key) for name in names)
