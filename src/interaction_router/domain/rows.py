"""The rows that decisions read: what an entity is now. A partition's rows are the fold of its outcomes."""

from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache
from hashlib import blake2b
from typing import Literal, NamedTuple, TypeAlias

from interaction_router.domain.ids import Entity, digest
from interaction_router.domain.interactions import Interaction
from interaction_router.domain.values import dataclass

ContactState = Literal["absent", "live", "deleted", "erased", "alias"]
ClaimState = Literal["claimed", "confirmed", "refused"]
ConversationStatus = Literal["open", "closed", "erased"]
CloseReason = Literal["requested", "idle", "superseded", "merged", "contact_deleted"]
LinkedBy = Literal["save", "hand", "merge"]


class RowKey(NamedTuple):
    """Where a row is kept within its partition: a bucket, and a field of it; a row that is a bucket has no field."""

    bucket: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a contact knows of one of its endpoints: the number of the save that claims it, and the answer."""

    number: int
    state: ClaimState


@dataclass(frozen=True, slots=True)
class Last:
    """A conversation that a contact's next one goes on from."""

    conversation_id: str
    closed_at_ms: int


@dataclass(frozen=True, slots=True)
class Contact:
    """A customer: saved, gone, or the alias of another.

    `saves` counts on through deletion and numbers the claims. `arrived` are unlinked conversations that endpoints
    have handed over and that wait until every claim is answered; `coming` are here of a merged-away contact whose
    last word has not come yet. `aliases` have each the number of its last save before it was merged. `last` was its open conversation last; `history`
    closed last of those that were linked closed. What a link by hand may give way to again, when it is undone, is kept
    in `last_before` and `history_before`, the latest last. `former` were aliases until it was deleted: to erase it is to
    erase what is left of them. `grown` counts the interactions of its conversations as they close, until its index is
    gone through for what can be forgotten.
    """

    tenant: str
    contact_id: str
    state: ContactState
    into: str | None = None
    name: str | None = None
    saves: int = 0
    endpoints: Mapping[str, Claim] = field(default_factory=dict)
    open: str | None = None
    last: Last | None = None
    history: Last | None = None
    last_before: tuple[Last, ...] = ()
    history_before: tuple[Last, ...] = ()
    arrived: tuple[str, ...] = ()
    coming: tuple[str, ...] = ()
    aliases: Mapping[str, int] = field(default_factory=dict)
    former: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    grown: int = 0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address: the contact that owns it, by which of its claims. Where there is no row, there is no index.

    `grown` counts as a contact's does.
    """

    owner: str | None = None
    number: int = 0
    grown: int = 0


@dataclass(frozen=True, slots=True)
class Alias:
    """The edge from a merged-away contact to the one that it went into; `asked` until the two have answered."""

    into: str
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """So many `merges` of one contact are on their way behind the answer to another merge, of `behind` into `into`."""

    behind: str
    into: str
    merges: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation, in the partition of the entity that owns it now.

    `activity` is the log time of the last activity by channel, `calls` the log time at which each call began that
    has not ended; both decide idle closing. `commands` are the ids of the commands that it has seen. A `retired`
    one has been closed for so long that it is in none of the lists that people look through.
    """

    conversation_id: str
    tenant: str
    owner: Entity
    seq: int
    status: ConversationStatus
    contact_id: str | None
    endpoint: str | None
    opened_at_ms: int
    opened_offset: int
    previous: str | None = None
    closed_at_ms: int | None = None
    close_reason: CloseReason | None = None
    linked_by: LinkedBy | None = None
    interaction_count: int = 0
    channels: Mapping[str, int] = field(default_factory=dict)
    last_interaction_at_ms: int | None = None
    activity: Mapping[str, int] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    retired: bool = False

    @property
    def opened_order(self) -> tuple[int, int, str]:
        """The place in the order of opening, across homes too."""
        return (self.opened_at_ms, self.opened_offset, self.conversation_id)


@dataclass(frozen=True, slots=True)
class Moved:
    """The stub of a conversation that has gone to another entity."""

    conversation_id: str
    tenant: str
    to: Entity


@dataclass(frozen=True, slots=True)
class Entry:
    """What an entity's index knows of one interaction.

    Where its conversation is elsewhere, `to` says with whom and the rest is empty. `seen` are the events that change
    nothing any more, `<status>/<event id>`. `agent_named_at_ms` is when the event happened that named the agent,
    `at_ms` the log time at which the last event came, or at which the entry came here where its conversation is
    elsewhere.
    """

    conversation_id: str
    to: Entity | None = None
    seen: tuple[str, ...] = ()
    agent_named_at_ms: int | None = None
    interaction: Interaction | None = None
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that decide, as the log has them; a partition's owner writes them there where they change.

    Spans are milliseconds; a channel that `idle_close_ms` does not name keeps its conversations open, and without
    `closed_retention_ms` closed ones stay in the lists for ever. While `pending` names the change, the index of what is
    due may still be that of the settings before.
    """

    dedup_window_ms: int = 7 * 86_400_000
    late_grace_ms: int = 600_000
    idle_close_ms: Mapping[str, int] = field(default_factory=dict)
    closed_retention_ms: int | None = 90 * 86_400_000
    pending: str = ""


@dataclass(slots=True)
class Head:
    """How far a partition is: its log time, and how far each stream's repeats are known.

    `watermarks` has, for a stream and its partition, the offset and the index there of the highest record taken.
    """

    log_time_ms: int = 0
    watermarks: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)


Row: TypeAlias = Contact | Endpoint | Alias | Line | Conversation | Moved | Entry | Policy

POLICY = RowKey("policy")

_PARTY_DIGITS = 16
_MARK = "conversation/"
_KEYS = 8_192
"""So many keys are remembered of each kind: a record asks for the same ones several times, and so do those behind it."""


@lru_cache(maxsize=_KEYS)
def contact_key(tenant: str, contact_id: str) -> RowKey:
    """Return the key of a contact's row."""
    return RowKey(f"contact:{tenant}/{contact_id}")


@lru_cache(maxsize=_KEYS)
def endpoint_key(tenant: str, party: str) -> RowKey:
    """Return the key of an endpoint's row; it holds no address, so that erasing a contact leaves none behind."""
    return RowKey(f"endpoint:{digest(tenant, 'endpoint', party).hex()}")


def aliases_key(tenant: str, contact_id: str) -> RowKey:
    """Return the key of the edge from a merged-away contact."""
    return RowKey(f"aliases:{tenant}", contact_id)


def merges_key(tenant: str, contact_id: str) -> RowKey:
    """Return the key of the line of merges of a contact."""
    return RowKey(f"merges:{tenant}", contact_id)


@lru_cache(maxsize=_KEYS)
def conversation_key(conversation_id: str) -> RowKey:
    """Return the key of a conversation's row or stub."""
    return RowKey(f"conversation:{conversation_id}")


def index_bucket(owner: Entity) -> str:
    """Return the bucket of an entity's interaction index."""
    tenant, kind, key = owner
    if kind == "contact":
        return f"interactions:contact:{tenant}/{key}"
    return f"interactions:{endpoint_key(tenant, key).bucket}"


def entry_field(tenant: str, party: str, channel: str, interaction_id: str) -> str:
    """Return what names an interaction in every index: first its endpoint, then the exchange."""
    exchange = blake2b(f"{tenant}\x00{party}\x00{channel}\x00{interaction_id}".encode(), digest_size=12)
    return endpoint_prefix(tenant, party) + exchange.hexdigest()


def party_part(field: str) -> str:
    """Return the part of an interaction's field that is the same for all of its party."""
    return field[:_PARTY_DIGITS]


def mark_field(conversation_id: str) -> str:
    """Return the field of an index that stands for a conversation of which no interaction is known any more."""
    return _MARK + conversation_id


def is_mark(field: str) -> bool:
    """Return whether the field stands for a conversation."""
    return field.startswith(_MARK)


@lru_cache(maxsize=_KEYS)
def endpoint_prefix(tenant: str, party: str) -> str:
    """Return how the fields of an endpoint's interactions begin, in whatever index they stand."""
    return digest(tenant, "endpoint", party).hex()[:_PARTY_DIGITS]
