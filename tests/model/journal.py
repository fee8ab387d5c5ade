"""The updates that a step of the naive model says, numbered and stamped."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.model.updates import ConversationRow, InteractionView, Update

if TYPE_CHECKING:
    from tests.model.state import Conversation


class Journal:
    """Collects the updates of the step under way; knows the log time."""

    def __init__(self) -> None:
        """Start at the beginning of time."""
        self.now_ms = 0
        self._updates: list[Update] = []

    def begin(self, *, at_ms: int) -> None:
        """Begin a step: log time never goes back."""
        self.now_ms = max(self.now_ms, at_ms)
        self._updates = []

    def said(self) -> tuple[Update, ...]:
        """Show the updates of this step, in order."""
        return tuple(self._updates)

    def close(self, conversation: Conversation, reason: str, *, into: Conversation | None = None) -> None:
        """Close the conversation, for good, and say so."""
        assert conversation.is_open
        conversation.is_open = False
        conversation.closed_at_ms = self.now_ms
        conversation.close_reason = reason
        self.say(conversation, "conversation.closed", rule=reason, reason=reason, into=into)

    def say(
        self,
        conversation: Conversation,
        kind: str,
        *,
        rule: str,
        linked: bool | None = None,
        previous: Conversation | None = None,
        interaction: InteractionView | None = None,
        by: str | None = None,
        reason: str | None = None,
        into: Conversation | None = None,
    ) -> None:
        """Say what happened to the conversation, which is already as it is after that."""
        conversation.seq += 1
        contact = conversation.contact
        self._updates.append(
            Update(
                type=kind,
                tenant=conversation.tenant,
                at_ms=self.now_ms,
                rule=rule,
                conversation=conversation.number,
                seq=conversation.seq,
                contact_id=None if contact is None else contact.contact_id,
                endpoint=conversation.endpoint,
                status="open" if conversation.is_open else "closed",
                linked=linked,
                previous=None if previous is None else previous.number,
                interaction=interaction,
                by=by,
                reason=reason,
                into=None if into is None else into.number,
            )
        )

    def conflict(self, *, tenant: str, contact_id: str, owner_contact_id: str, endpoint: str) -> None:
        """Say that a save claimed another contact's endpoint."""
        self._updates.append(
            Update(
                type="contact.conflict",
                tenant=tenant,
                at_ms=self.now_ms,
                rule="saved",
                contact_id=contact_id,
                owner_contact_id=owner_contact_id,
                endpoint=endpoint,
            )
        )

    def merged(self, *, tenant: str, contact_id: str, into_contact_id: str) -> None:
        """Say that a contact has become an alias."""
        self._updates.append(
            Update(
                type="contact.merged",
                tenant=tenant,
                at_ms=self.now_ms,
                rule="merged",
                contact_id=contact_id,
                into_contact_id=into_contact_id,
            )
        )


def row_of(conversation: Conversation) -> ConversationRow:
    """Show the conversation as it stands (contract 8)."""
    contact, previous = conversation.contact, conversation.previous
    return ConversationRow(
        tenant=conversation.tenant,
        conversation=conversation.number,
        seq=conversation.seq,
        status="open" if conversation.is_open else "closed",
        contact_id=None if contact is None else contact.contact_id,
        endpoint=conversation.endpoint,
        opened_at_ms=conversation.opened_at_ms,
        closed_at_ms=conversation.closed_at_ms,
        close_reason=conversation.close_reason,
        previous=None if previous is None else previous.number,
        interaction_count=len(conversation.interactions),
        channels=dict(Counter(each.channel for each in conversation.interactions)),
        last_interaction_at_ms=max(each.occurred_at_ms for each in conversation.interactions),
    )
