"""Finding conversations in the naive model: by looking through all of them, every time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from tests.model.state import Contact, Conversation


def open_one_of(conversations: Sequence[Conversation], contact: Contact) -> Conversation | None:
    """Find the open conversation of a contact, of which there is at most one."""
    own = [each for each in conversations if each.contact is contact and each.is_open]
    assert len(own) <= 1
    return own[0] if own else None


def unlinked_of(
    conversations: Sequence[Conversation], tenant: str, endpoints: Container[str | None]
) -> list[Conversation]:
    """Find the unlinked conversations of endpoints, in order of opening; no withheld ones."""
    return [
        each
        for each in conversations
        if each.tenant == tenant and each.contact is None and each.endpoint is not None and each.endpoint in endpoints
    ]


def latest_closed_of(conversations: Sequence[Conversation], contact: Contact) -> Conversation | None:
    """Find what rule 2 calls previous: the last open one, else the history closed last."""
    # Reading: within one life of the contact, so nothing from before a deletion counts; a link
    # by hand makes history just as a save does; of two closed by one tick the one linked last.
    closed = [
        (each.was_contacts_open_one, each.closed_at_ms, each.linked_order, each)
        for each in conversations
        if each.contact is contact
        and each.closed_at_ms is not None
        and each.close_reason not in {"superseded", "merged"}
    ]
    return max(closed, key=lambda each: each[:3])[3] if closed else None
