"""What the naive model remembers: plain mutable objects, nothing indexed twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from tests.model.steps import Direction, Fields

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings that decide; a channel missing in `idle_close_ms` never idles."""

    late_grace_ms: int = 10 * MINUTE_MS
    idle_close_ms: Mapping[str, int] = field(default_factory=dict)
    unqualified: Literal["reject", "flag"] = "reject"


@dataclass(slots=True, kw_only=True, eq=False)
class Contact:
    """One life of a contact id: from its first save to its deletion or erasure.

    `merged_into` is kept when the alias ends: an erasure still finds by it whose history this is.
    """

    contact_id: str
    state: Literal["live", "alias", "gone"] = "live"
    merged_into: Contact | None = None

    def survivor(self) -> Contact:
        """Follow the aliases to the contact that lives."""
        contact = self
        while contact.state == "alias":
            assert contact.merged_into is not None
            contact = contact.merged_into
        return contact

    def is_alias_of(self, other: Contact) -> bool:
        """Tell whether this alias leads through the other, directly or round more."""
        contact = self
        while contact.state == "alias":
            assert contact.merged_into is not None
            contact = contact.merged_into
            if contact is other:
                return True
        return False

    def lineage(self) -> Iterator[Contact]:
        """Yield this contact and all that it was ever merged into."""
        contact: Contact | None = self
        while contact is not None:
            yield contact
            contact = contact.merged_into


@dataclass(slots=True, kw_only=True, eq=False)
class Interaction:
    """An interaction with what its events have made of it."""

    interaction_id: str
    channel: str
    direction: Direction
    party: str | None
    status: str
    occurred_at_ms: int
    agent_id: str | None
    agent_named_at_ms: int
    auto_response: bool
    fields: Fields
    flags: frozenset[str]
    seen: set[tuple[str, str | None]]
    conversation: Conversation
    first_event_at_ms: int
    last_activity_at_ms: int
    opened_conversation: bool


@dataclass(slots=True, kw_only=True, eq=False)
class Conversation:
    """A conversation; `contact` None is unlinked, or erased."""

    number: int
    tenant: str
    endpoint: str | None
    contact: Contact | None
    opened_at_ms: int
    previous: Conversation | None
    seq: int = 0
    is_open: bool = True
    closed_at_ms: int | None = None
    close_reason: str | None = None
    was_contacts_open_one: bool = False
    linked_order: int = 0
    linked_by_hand: bool = False
    erased: bool = False
    interactions: list[Interaction] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False)
class Tenant:
    """All of one tenant."""

    contacts: dict[str, Contact] = field(default_factory=dict)
    every_contact: list[Contact] = field(default_factory=list)
    owners: dict[str, Contact] = field(default_factory=dict)
    interactions: dict[tuple[str, str, str | None], Interaction] = field(default_factory=dict)
    agents: dict[str, frozenset[str]] = field(default_factory=dict)
    commands_seen: set[str] = field(default_factory=set)

    def release(self, contact: Contact, *, keeping: Collection[str]) -> None:
        """Let go of the contact's endpoints but for those that it keeps."""
        for endpoint, owner in list(self.owners.items()):
            if owner is contact and endpoint not in keeping:
                del self.owners[endpoint]
