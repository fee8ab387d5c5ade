"""The promises to a subscriber (contract 7), checked on updates alone; each fault is one line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.model.steps import InteractionEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.model.updates import (
        ConversationRef,
        InteractionKey,
        InteractionView,
        Recorded,
        Status,
        Update,
    )


def check_promises(history: Sequence[Recorded]) -> list[str]:
    """Check a history of steps with their results; an empty list: all promises are kept."""
    subscriber = Subscriber()
    for number, recorded in enumerate(history):
        result, step = recorded.result, recorded.timed.step
        where = f"step {number}"
        if result.refusal is not None and result.updates:
            subscriber.faults.append(f"{where}: refused, yet it has updates")
        for update in result.updates:
            subscriber.take(update)
        _check_order_of_links(result.updates, where=where, faults=subscriber.faults)
        if isinstance(step, InteractionEvent) and result.refusal is None:
            key = (step.tenant, step.channel, step.interaction_id, step.endpoint)
            if key not in subscriber.conversation_of:
                subscriber.faults.append(f"{where}: an accepted interaction is in no conversation")
    return subscriber.faults


def check_updates(updates: Iterable[Update]) -> list[str]:
    """Check updates of which it is not known what caused them, in the order they appeared."""
    subscriber = Subscriber()
    for update in updates:
        subscriber.take(update)
    return subscriber.faults


def _check_order_of_links(updates: Sequence[Update], *, where: str, faults: list[str]) -> None:
    links = [each for each in updates if each.type == "conversation.linked"]
    if any(each.status == "open" for each in links[:-1]):
        faults.append(f"{where}: the survivor is not linked last")


@dataclass(slots=True)
class Seen:
    """What a subscriber knows of a conversation."""

    tenant: str
    endpoint: str | None
    contact_id: str | None
    at_ms: int
    seq: int = 0
    status: Status = "open"
    erased: bool = False
    interactions: Counter[InteractionKey] = field(default_factory=Counter)


class Subscriber:
    """Reads updates one by one and notes every promise that one of them breaks."""

    def __init__(self) -> None:
        """Know nothing."""
        self.faults: list[str] = []
        self.conversation_of: dict[InteractionKey, ConversationRef] = {}
        self._conversations: dict[ConversationRef, Seen] = {}
        self._open_of: dict[tuple[str, str], set[ConversationRef]] = {}
        self._contact_at_ms: dict[tuple[str, str], int] = {}

    def take(self, update: Update) -> None:
        """Take the next update."""
        if update.conversation is None:
            self._expect(update.type in {"contact.conflict", "contact.merged"}, update, "no id")
            self._expect(update.seq is None, update, "seq without a conversation")
            return
        seen = self._conversations.get(update.conversation)
        if seen is None:
            self._expect(update.type == "conversation.opened", update, "not opened first")
            seen = Seen(update.tenant, update.endpoint, update.contact_id, update.at_ms)
            self._conversations[update.conversation] = seen
        self._check_frame(update, seen)
        self._check_kind(update, seen)
        self._check_interaction(update, seen)
        self._remember(update, update.conversation, seen)

    def _expect(self, kept: bool, update: Update, broken: str) -> None:  # noqa: FBT001
        if not kept:
            self.faults.append(f"{update.conversation}#{update.seq} {update.type}: {broken}")

    def _check_frame(self, update: Update, seen: Seen) -> None:
        self._expect(update.seq == seen.seq + 1, update, f"seq follows {seen.seq}")
        self._expect(not seen.erased, update, "an update after the erasure")
        self._expect(update.tenant == seen.tenant, update, "another tenant")
        self._expect(update.at_ms >= seen.at_ms, update, "at goes back")
        reopened = seen.status == "closed" and update.status == "open"
        self._expect(not reopened, update, "closed is final")
        if update.type != "conversation.erased":
            self._expect(update.endpoint == seen.endpoint, update, "another endpoint")
        moves = {"conversation.linked", "conversation.unlinked", "conversation.erased"}
        if update.type not in moves:
            self._expect(update.contact_id == seen.contact_id, update, "another contact")

    def _check_kind(self, update: Update, seen: Seen) -> None:
        match update.type:
            case "conversation.opened":
                self._expect(update.seq == 1, update, "opened twice")
                self._expect(update.linked == (update.contact_id is not None), update, "linked")
                self._check_previous(update)
            case "conversation.interaction_added" | "conversation.interaction_updated":
                self._expect(update.interaction is not None, update, "no interaction")
            case "conversation.linked":
                self._expect(update.contact_id is not None, update, "linked to nobody")
                self._expect(update.by in {"save", "hand", "merge"}, update, "by")
                was_unlinked = seen.contact_id is None
                self._expect(was_unlinked != (update.by == "merge"), update, "was linked before")
            case "conversation.unlinked":
                self._expect(update.contact_id is None, update, "still linked")
                self._expect(seen.contact_id is not None, update, "was not linked")
                self._expect(seen.interactions.total() == 1, update, "more than one interaction")
            case "conversation.closed":
                self._expect(seen.status == "open", update, "closed twice")
                self._expect(update.status == "closed", update, "not closed")
                self._check_into(update)
            case "conversation.erased":
                personal = (update.contact_id, update.endpoint)
                self._expect(personal == (None, None), update, "still tells who")
                self._expect(update.status == "closed", update, "erased while open")
            case _:
                self._expect(kept=False, update=update, broken="unknown type")

    def _check_previous(self, update: Update) -> None:
        if update.previous is None:
            return
        previous = self._conversations.get(update.previous)
        self._expect(
            previous is not None
            and previous.status == "closed"
            and not previous.erased
            and previous.contact_id == update.contact_id,
            update,
            "the previous one is not a closed one of the contact",
        )

    def _check_into(self, update: Update) -> None:
        surviving = update.reason in {"superseded", "merged"}
        self._expect(surviving == (update.into is not None), update, "into")
        if update.into is not None:
            survivor = self._conversations.get(update.into)
            is_open = survivor is not None and survivor.status == "open"
            self._expect(is_open and update.into != update.conversation, update, "into no open one")

    def _check_interaction(self, update: Update, seen: Seen) -> None:
        if update.interaction is None or update.conversation is None:
            return
        key = key_of(update.tenant, update.interaction)
        home = self.conversation_of.get(key)
        if update.type == "conversation.interaction_added":
            self._expect(home is None, update, "the interaction is in two conversations")
            self.conversation_of[key] = update.conversation
            seen.interactions[key] += 1
        else:
            self._expect(home == update.conversation, update, "updated where it is not")
        if seen.contact_id is None:
            alone = seen.interactions.total() == 1
            self._expect(alone, update, "an unlinked one with two interactions")

    def _remember(self, update: Update, ref: ConversationRef, seen: Seen) -> None:
        if seen.contact_id is not None:
            self._open_of.get((seen.tenant, seen.contact_id), set()).discard(ref)
        seen.seq = update.seq or 0
        seen.at_ms = update.at_ms
        seen.contact_id = update.contact_id
        seen.status = update.status or "closed"
        seen.erased = update.type == "conversation.erased"
        if update.contact_id is None:
            return
        contact = (update.tenant, update.contact_id)
        in_order = update.at_ms >= self._contact_at_ms.get(contact, 0)
        self._expect(in_order, update, "at goes back along the contact")
        self._contact_at_ms[contact] = update.at_ms
        if update.status == "open":
            open_ones = self._open_of.setdefault(contact, set())
            open_ones.add(ref)
            self._expect(len(open_ones) == 1, update, "two open conversations of one contact")


def key_of(tenant: str, interaction: InteractionView) -> InteractionKey:
    """Name an interaction as the contract does."""
    return (tenant, interaction.channel, interaction.interaction_id, interaction.party)
