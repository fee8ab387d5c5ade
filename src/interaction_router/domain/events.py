"""What a decision brings about: events of conversations and contacts, from which rows and updates are folded."""

from typing import Literal, NamedTuple, TypeAlias

from interaction_router.domain.errors import RefusalCode
from interaction_router.domain.ids import Entity, Place
from interaction_router.domain.interactions import Interaction
from interaction_router.domain.messages import Origin, Raw, Send
from interaction_router.domain.rows import CloseReason, ConversationStatus, LinkedBy, Row, RowKey
from interaction_router.domain.values import dataclass

Rule = Literal[
    "joined_open_conversation",
    "opened_for_contact",
    "opened_unlinked",
    "joined_closed_late",
    "joined_closed_auto",
    "event_of_known",
    "saved",
    "by_hand",
    "requested",
    "idle",
    "superseded",
    "merged",
    "contact_deleted",
    "erased",
]


class Standing(NamedTuple):
    """A conversation just after an event of it; with the rule, what every update says."""

    conversation_id: str
    seq: int
    contact_id: str | None
    endpoint: str | None
    status: ConversationStatus
    rule: Rule


@dataclass(frozen=True, slots=True)
class Opened:
    """`conversation.opened`."""

    now: Standing
    owner: Entity
    previous: str | None


@dataclass(frozen=True, slots=True)
class InteractionAdded:
    """`conversation.interaction_added`; `entry` names the interaction in the owner's index."""

    now: Standing
    entry: str
    event: str
    interaction: Interaction


@dataclass(frozen=True, slots=True)
class InteractionUpdated:
    """`conversation.interaction_updated`, with the interaction as it is after it.

    `names_agent_at_ms` is when the event happened, where it named the agent.
    """

    now: Standing
    entry: str
    event: str
    interaction: Interaction
    names_agent_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Linked:
    """`conversation.linked`."""

    now: Standing
    by: LinkedBy


@dataclass(frozen=True, slots=True)
class Unlinked:
    """`conversation.unlinked`."""

    now: Standing


@dataclass(frozen=True, slots=True)
class Closed:
    """`conversation.closed`."""

    now: Standing
    reason: CloseReason
    into: str | None


@dataclass(frozen=True, slots=True)
class Erased:
    """`conversation.erased`."""

    now: Standing


@dataclass(frozen=True, slots=True)
class Conflicted:
    """`contact.conflict`: an endpoint is claimed that another contact owns."""

    contact_id: str
    owner_contact_id: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class AliasMade:
    """`contact.merged`."""

    contact_id: str
    into: str


@dataclass(frozen=True, slots=True)
class RowPut:
    """A row of no concern to subscribers is now this."""

    key: RowKey
    row: Row


@dataclass(frozen=True, slots=True)
class RowGone:
    """A row is no more."""

    key: RowKey


ConversationEvent: TypeAlias = Opened | InteractionAdded | InteractionUpdated | Linked | Unlinked | Closed | Erased
Event: TypeAlias = ConversationEvent | Conflicted | AliasMade | RowPut | RowGone


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record goes to the dead letters; `message` has no personal data."""

    code: RefusalCode
    message: str
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What `decide` makes of one record."""

    log_time_ms: int
    events: tuple[Event, ...] = ()
    sends: tuple[Send, ...] = ()
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The one outcome of the log record at `offset`, as it stands on the same partition of the outcomes.

    It counts only where it stands at `expected`, with `offset` the last counted one's plus 1. `done` is the log
    offset up to which its writer knew all views done, -1 for none. `raw` is there with a refusal.
    """

    offset: int
    expected: int
    done: int
    tenant: str
    cause: Place | None
    origin: Origin | None
    trace: str | None
    decision: Decision
    raw: Raw | None = None
