"""What one home tells another, and what intake tells a home: the records of the internal log."""

from collections.abc import Mapping
from dataclasses import field
from typing import NamedTuple, TypeAlias

from interaction_router.domain.ids import Entity, Place
from interaction_router.domain.interactions import Interaction, is_receipt
from interaction_router.domain.rows import Conversation, Entry, Policy, RowKey
from interaction_router.domain.values import dataclass

ANONYMOUS = "anonymous/"


@dataclass(frozen=True, slots=True)
class InteractionEvent:
    """Something told about an interaction. To an endpoint, or to the contact that is thought to own it.

    `party` is the endpoint, or `anonymous/<channel>/<interaction id>` for a withheld one. `asked` are the keys of
    the homes that have sent it on: an endpoint that is among them has sent every `Adopted` before it.
    """

    party: str
    event_id: str | None
    interaction: Interaction
    asked: tuple[str, ...] = ()

    @property
    def withheld(self) -> bool:
        """Whether nobody knows whose it is."""
        return self.party.startswith(ANONYMOUS)


@dataclass(frozen=True, slots=True)
class ContactSaved:
    """The whole contact as saved now. To the contact."""

    contact_id: str
    name: str | None
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EndpointsAdded:
    """A save under an alias: adds to the survivor and takes nothing away. To the survivor."""

    alias: str
    name: str | None
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContactDeleted:
    """To the contact."""

    contact_id: str


@dataclass(frozen=True, slots=True)
class ContactMerged:
    """A merge that is asked for. To the tenant's aliases, which decide all merges in one order."""

    contact_id: str
    into: str


@dataclass(frozen=True, slots=True)
class MergeAllowed:
    """The aliases allow the merge: is the survivor known? To the survivor."""

    contact_id: str
    into: str


@dataclass(frozen=True, slots=True)
class BecomeAlias:
    """The survivor is known. To the merged-away contact."""

    contact_id: str
    into: str


@dataclass(frozen=True, slots=True)
class MergeWaits:
    """A merge goes the way of the answer to another, the one of `behind`, and so comes back behind it.

    To that one's survivor, which may be an alias, then to `behind` itself, then to the aliases.
    """

    contact_id: str
    into: str
    behind: str


@dataclass(frozen=True, slots=True)
class EdgeStands:
    """The contact is an alias now. To the aliases."""

    contact_id: str
    into: str


@dataclass(frozen=True, slots=True)
class EdgeStruck:
    """The merge was refused, or the survivor is gone: strike the edge. To the merged-away contact, which tells the aliases."""

    contact_id: str
    into: str


@dataclass(frozen=True, slots=True)
class AliasEnded:
    """The survivor is gone; the alias is a contact of its own again. To the alias, which tells the aliases.

    Where the survivor was erased by a command, so is the alias, in the same moment: a save may come right behind it.
    """

    contact_id: str
    into: str
    erased_by: str | None = None


@dataclass(frozen=True, slots=True)
class AliasMoved:
    """What the alias went into, `via`, has gone into another itself. To the alias, which tells the aliases."""

    contact_id: str
    via: str
    into: str


@dataclass(frozen=True, slots=True)
class Carried:
    """A conversation on its way to another home, with its interactions by the fields of the index."""

    conversation: Conversation
    entries: Mapping[str, Entry]


Index: TypeAlias = Mapping[str, str]
"""Which conversation each interaction is in, by the fields of the index."""


@dataclass(frozen=True, slots=True)
class ContactMoved:
    """What a merged-away contact has. To the survivor; what is large goes in parts, the last is `final`.

    `aliases` are itself and those that it had, each with the number of its last save.
    """

    contact_id: str
    endpoints: tuple[str, ...]
    aliases: Mapping[str, int]
    open: str | None
    arrived: tuple[str, ...]
    carried: tuple[Carried, ...] = ()
    index: Index = field(default_factory=dict)
    final: bool = True


@dataclass(frozen=True, slots=True)
class ConversationReturned:
    """A conversation that a merge has closed: it stays history of the merged-away contact. To that contact."""

    contact_id: str
    carried: tuple[Carried, ...]


@dataclass(frozen=True, slots=True)
class EndpointClaimed:
    """A contact claims an endpoint, with the number of the save. To the endpoint.

    Perhaps as the survivor of `via`, who may own it by a save up to the number: one behind that is of a contact that is
    its own again.
    """

    party: str
    contact_id: str
    number: int
    via: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EndpointReleased:
    """A contact lets go of its claim `number` or an older one, and gives the index back. To the endpoint.

    What is large goes in parts; the `final` one lets go.
    """

    party: str
    contact_id: str
    number: int
    index: Index = field(default_factory=dict)
    final: bool = True


@dataclass(frozen=True, slots=True)
class Adopted:
    """The endpoint's answer to the claim `number`. To the contact; what is large goes in parts, the last is `final`.

    Granted, with the unlinked conversations and the index; or not, and then `owner` has it. `passed` by an alias.
    """

    party: str
    number: int
    granted: bool
    owner: str | None = None
    carried: tuple[Carried, ...] = ()
    index: Index = field(default_factory=dict)
    final: bool = True
    passed: bool = False


@dataclass(frozen=True, slots=True)
class SettleContinued:
    """There are more conversations to link than one record does. To the contact, from itself."""

    contact_id: str


@dataclass(frozen=True, slots=True)
class CloseAsked:
    """To the conversation."""

    conversation_id: str
    command_id: str
    reason: str | None = None
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class LinkAsked:
    """To the contact, which says whether it is known."""

    conversation_id: str
    contact_id: str
    command_id: str


@dataclass(frozen=True, slots=True)
class LinkAllowed:
    """The contact is known (`known`), or not. To the conversation."""

    conversation_id: str
    contact_id: str
    command_id: str
    known: bool


@dataclass(frozen=True, slots=True)
class HandLinked:
    """A conversation linked by hand. To the contact."""

    contact_id: str
    carried: Carried


@dataclass(frozen=True, slots=True)
class UnlinkAsked:
    """To the conversation."""

    conversation_id: str
    command_id: str


@dataclass(frozen=True, slots=True)
class HandUnlinked:
    """A conversation goes back to where it was unlinked. To the endpoint."""

    party: str
    carried: Carried


@dataclass(frozen=True, slots=True)
class EraseAsked:
    """To the contact; from one that is erased, `along_with`, also to those that were its aliases."""

    contact_id: str
    command_id: str
    along_with: str | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passes: close what of these is idle by now. To the partition, for one tenant."""

    conversations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Retire:
    """These have been closed for long: take them out of the lists. To the partition, for one tenant."""

    conversations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IndexGrown:
    """Much has been closed since the index was last gone through: forget what is old in it. To its owner, from it."""


@dataclass(frozen=True, slots=True)
class PolicySet:
    """The settings that decide from here on. To the partition."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class PolicyIndexed:
    """Every conversation that was open when the policy of this `pending` came has been named by a tick. To the partition."""

    pending: str


Message: TypeAlias = (
    InteractionEvent
    | ContactSaved
    | EndpointsAdded
    | ContactDeleted
    | ContactMerged
    | MergeAllowed
    | BecomeAlias
    | MergeWaits
    | EdgeStands
    | EdgeStruck
    | AliasEnded
    | AliasMoved
    | ContactMoved
    | ConversationReturned
    | EndpointClaimed
    | EndpointReleased
    | Adopted
    | SettleContinued
    | CloseAsked
    | LinkAsked
    | LinkAllowed
    | HandLinked
    | UnlinkAsked
    | HandUnlinked
    | EraseAsked
    | Tick
    | Retire
    | IndexGrown
    | PolicySet
    | PolicyIndexed
)


_CAN_BE_REFUSED = (
    ContactDeleted,
    ContactMerged,
    MergeAllowed,
    BecomeAlias,
    MergeWaits,
    CloseAsked,
    LinkAsked,
    LinkAllowed,
    UnlinkAsked,
    EraseAsked,
)


def can_be_refused(message: Message) -> bool:
    """Return whether a home may send the record to the dead letters, for which it needs the raw one."""
    if isinstance(message, InteractionEvent):
        return message.withheld and is_receipt(message.interaction.channel, message.interaction.status)
    return isinstance(message, _CAN_BE_REFUSED)


class Origin(NamedTuple):
    """What a repeat is known by: the stream (with its topic's id), the partition, the offset, and which send of it."""

    stream: str
    partition: int
    offset: int
    nth: int


@dataclass(frozen=True, slots=True)
class Raw:
    """A record as it came, for the dead letters."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A record of the internal log.

    `stamp_ms` is the log time of the home that sent it, or when it arrived there; a record that is still to be
    appended and comes from outside has none. `raw` is there where the message
    can still be refused (`can_be_refused`). `trace` is the raw record's `traceparent`. `entry` is where the index of
    whom it is for has its interaction, once somebody has asked.
    """

    to: Entity
    message: Message
    cause: Place | None
    stamp_ms: int | None
    origin: Origin | None = None
    trace: str | None = None
    raw: Raw | None = None
    entry: RowKey | None = field(init=False, compare=False, repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Send:
    """A record for another home; it inherits cause and trace, and the raw record where it can still be refused."""

    to: Entity
    message: Message
