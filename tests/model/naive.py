"""A naive router: contract 3 to 10 on one global list of inputs, one after the other.

No partitions, no homes, nothing in flight: what the program must look like from outside. Every
question is answered by looking through all there is. Where the contract leaves room a comment
starting with `Reading:` says how it is read here.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Literal, assert_never

from tests.model.idle import is_due
from tests.model.interactions import (
    RECEIPTS,
    clamped,
    flags_for_agent,
    interaction_of,
    take_later_event,
    view_of,
)
from tests.model.journal import Journal, row_of
from tests.model.lookup import latest_closed_of, open_one_of, unlinked_of
from tests.model.state import Contact, Conversation, Interaction, Policy, Tenant
from tests.model.steps import (
    CloseConversation,
    Command,
    DeleteContact,
    EraseContact,
    InteractionEvent,
    LinkConversation,
    MergeContact,
    SaveAgent,
    SaveContact,
    Step,
    Tick,
    ToConversation,
    UnlinkConversation,
)
from tests.model.updates import ConversationRow, Refusal, Refused, StepResult


class NaiveRouter:
    """The model; feed it steps in log order."""

    def __init__(self, *, policy: Policy) -> None:
        """Start with nothing known."""
        self._policy = policy
        self._conversations: list[Conversation] = []
        self._tenants: defaultdict[str, Tenant] = defaultdict(Tenant)
        self._journal = Journal()
        self._aimed: dict[str, int] = {}
        self._links = 0

    def step(self, step: Step, *, at_ms: int) -> StepResult:
        """Do one step; log time never goes back. Idle conversations close on `Tick` alone."""
        self._journal.begin(at_ms=at_ms)
        try:
            self._apply(self.aim(step))
        except Refused as refusal:
            assert not self._journal.said(), "a refused step must not have changed anything"
            return StepResult(refusal=refusal.code)
        return StepResult(updates=self._journal.said())

    def aim(self, step: Step) -> Step:
        """Give a command that counts from the latest conversation the number that it means.

        A repeat of it means the same one, whatever has been opened since.
        """
        if isinstance(step, ToConversation) and step.conversation < 0:
            number = len(self._conversations) + step.conversation
            return replace(step, conversation=self._aimed.setdefault(step.command_id, number))
        return step

    def rows(self) -> dict[int, ConversationRow | None]:
        """Show every conversation as it stands; None, a tombstone, of an erased one."""
        return {each.number: None if each.erased else row_of(each) for each in self._conversations}

    def endpoints_of(self, tenant: str, contact_id: str) -> frozenset[str]:
        """Show the endpoints of a contact, or of the survivor of an alias."""
        contact = self._living(tenant, contact_id)
        owners = self._tenants[tenant].owners
        return frozenset(endpoint for endpoint, owner in owners.items() if owner is contact)

    def open_conversation_of(self, tenant: str, contact_id: str) -> int | None:
        """Show the number of the open conversation of a contact, an alias resolved."""
        contact = self._living(tenant, contact_id)
        conversation = None if contact is None else open_one_of(self._conversations, contact)
        return None if conversation is None else conversation.number

    def _apply(self, step: Step) -> None:
        match step:
            case InteractionEvent():
                self._take_event(step)
            case SaveContact():
                self._save(step)
            case DeleteContact():
                self._delete(step)
            case MergeContact():
                self._merge(step)
            case CloseConversation() | LinkConversation() | UnlinkConversation() | EraseContact():
                self._command(step)
            case SaveAgent():
                self._save_agent(step)
            case Tick():
                for conversation in self._conversations:
                    if is_due(conversation, policy=self._policy, now_ms=self._journal.now_ms):
                        self._journal.close(conversation, "idle")
            case _:
                assert_never(step)

    def _take_event(self, event: InteractionEvent) -> None:
        # Reading: agents are checked before anything else, of later events and repeats too.
        agents = self._tenants[event.tenant].agents
        flags = event.flags | flags_for_agent(event, agents=agents, policy=self._policy)
        event = clamped(replace(event, flags=flags), now_ms=self._journal.now_ms)
        key = (event.channel, event.interaction_id, event.endpoint)
        known = self._tenants[event.tenant].interactions.get(key)
        if known is not None:
            self._take_later_event(known, event)
        elif event.endpoint is None and event.status in RECEIPTS:
            raise Refused(Refusal.INTERACTION_UNKNOWN)
        else:
            self._assign(event)

    def _assign(self, event: InteractionEvent) -> None:
        contact = None
        if event.endpoint is not None:
            contact = self._tenants[event.tenant].owners.get(event.endpoint)
        if contact is None:
            self._open(event, contact=None, previous=None)
            return
        open_one = open_one_of(self._conversations, contact)
        # Reading: a contact's open conversation wins over rules 7 and 8, which speak of closed.
        if open_one is not None:
            self._add(event, open_one, rule="joined_open_conversation")
            return
        latest = latest_closed_of(self._conversations, contact)
        if latest is not None and event.auto_response:
            self._add(event, latest, rule="joined_closed_auto")
        elif latest is not None and self._happened_before_close(event, latest):
            self._add(event, latest, rule="joined_closed_late")
        else:
            self._open(event, contact=contact, previous=latest)

    def _happened_before_close(self, event: InteractionEvent, latest: Conversation) -> bool:
        assert latest.closed_at_ms is not None
        second_of_close_ms = latest.closed_at_ms // 1000 * 1000
        arrived_after_ms = self._journal.now_ms - latest.closed_at_ms
        return event.occurred_at_ms < second_of_close_ms and arrived_after_ms <= self._policy.late_grace_ms

    def _open(self, event: InteractionEvent, *, contact: Contact | None, previous: Conversation | None) -> None:
        conversation = Conversation(
            number=len(self._conversations),
            tenant=event.tenant,
            endpoint=event.endpoint,
            contact=contact,
            opened_at_ms=self._journal.now_ms,
            previous=previous,
            was_contacts_open_one=contact is not None,
            linked_order=self._linked(),
        )
        self._conversations.append(conversation)
        rule = "opened_unlinked" if contact is None else "opened_for_contact"
        self._journal.say(
            conversation,
            "conversation.opened",
            rule=rule,
            linked=contact is not None,
            previous=previous,
        )
        self._add(event, conversation, rule=rule)

    def _add(self, event: InteractionEvent, conversation: Conversation, *, rule: str) -> None:
        interaction = interaction_of(event, conversation, now_ms=self._journal.now_ms)
        conversation.interactions.append(interaction)
        key = (event.channel, event.interaction_id, event.endpoint)
        self._tenants[event.tenant].interactions[key] = interaction
        view = view_of(interaction)
        self._journal.say(conversation, "conversation.interaction_added", rule=rule, interaction=view)

    def _take_later_event(self, known: Interaction, event: InteractionEvent) -> None:
        conversation = known.conversation
        if conversation.erased or (event.status, event.event_id) in known.seen:
            return
        take_later_event(known, event, now_ms=self._journal.now_ms)
        view = view_of(known)
        self._journal.say(
            conversation,
            "conversation.interaction_updated",
            rule="event_of_known",
            interaction=view,
        )

    def _save(self, step: SaveContact) -> None:
        tenant = self._tenants[step.tenant]
        contact = tenant.contacts.get(step.contact_id)
        if contact is None or contact.state == "gone":
            contact = Contact(contact_id=step.contact_id)
            tenant.contacts[step.contact_id] = contact
            tenant.every_contact.append(contact)
        survivor = contact.survivor()
        if survivor is contact:
            tenant.release(contact, keeping=step.endpoints)
        granted = []
        for endpoint in dict.fromkeys(step.endpoints):
            holder = tenant.owners.get(endpoint)
            if holder is None:
                tenant.owners[endpoint] = survivor
                granted.append(endpoint)
            elif holder is not survivor:
                # Reading: a conflict of a save under an alias names the survivor, who claims.
                self._journal.conflict(
                    tenant=step.tenant,
                    contact_id=survivor.contact_id,
                    owner_contact_id=holder.contact_id,
                    endpoint=endpoint,
                )
        # Reading: all endpoints granted by one save are linked together, as one set.
        self._link(unlinked_of(self._conversations, step.tenant, granted), survivor, by="save")

    def _link(self, conversations: list[Conversation], contact: Contact, *, by: Literal["save", "hand"]) -> None:
        """Link these unlinked conversations, given in order of opening (rule 4)."""
        survivor = open_one_of(self._conversations, contact)
        if survivor is None:
            survivor = next((each for each in reversed(conversations) if each.is_open), None)
        for conversation in conversations:
            if conversation is not survivor:
                if conversation.is_open:
                    self._journal.close(conversation, "superseded", into=survivor)
                self._attach(conversation, contact, by=by)
        if survivor in conversations:
            self._attach(survivor, contact, by=by)

    def _linked(self) -> int:
        self._links += 1
        return self._links

    def _attach(self, conversation: Conversation, contact: Contact, *, by: Literal["save", "hand", "merge"]) -> None:
        conversation.contact = contact
        conversation.linked_order = self._linked()
        conversation.was_contacts_open_one = conversation.is_open
        # Reading: a conversation linked by hand stays so when a merge links it once more.
        conversation.linked_by_hand = by == "hand" or (by == "merge" and conversation.linked_by_hand)
        rule = {"save": "saved", "hand": "by_hand", "merge": "merged"}[by]
        self._journal.say(conversation, "conversation.linked", rule=rule, by=by)

    def _delete(self, step: DeleteContact) -> None:
        contact = self._tenants[step.tenant].contacts.get(step.contact_id)
        if contact is None or contact.state == "gone":
            raise Refused(Refusal.CONTACT_UNKNOWN)
        # Reading: deleting an alias changes nothing and is not refused.
        if contact.state == "live":
            self._end(step.tenant, contact)

    def _end(self, tenant_name: str, contact: Contact) -> None:
        """Delete a living contact and end its aliases."""
        open_one = open_one_of(self._conversations, contact)
        if open_one is not None:
            self._journal.close(open_one, "contact_deleted")
        tenant = self._tenants[tenant_name]
        tenant.release(contact, keeping=())
        ended = [each for each in tenant.every_contact if each.survivor() is contact]
        for each in ended:
            each.state = "gone"

    def _merge(self, step: MergeContact) -> None:
        tenant = self._tenants[step.tenant]
        merged, into = tenant.contacts.get(step.contact_id), tenant.contacts.get(step.into)
        # Reading: a cycle is told before an unknown contact.
        if step.contact_id == step.into:
            raise Refused(Refusal.CONTACT_MERGE_CYCLE)
        if merged is not None and into is not None and into.is_alias_of(merged):
            raise Refused(Refusal.CONTACT_MERGE_CYCLE)
        if into is None or into.state == "gone" or merged is None or merged.state == "gone":
            raise Refused(Refusal.CONTACT_UNKNOWN)
        # Reading: an alias that is merged again takes its survivor with it.
        loser, winner = merged.survivor(), into.survivor()
        if loser is winner:
            return
        loser.state, loser.merged_into = "alias", winner
        for endpoint, owner in tenant.owners.items():
            if owner is loser:
                tenant.owners[endpoint] = winner
        self._journal.merged(
            tenant=step.tenant,
            contact_id=loser.contact_id,
            into_contact_id=winner.contact_id,
        )
        self._merge_open_ones(loser, winner)

    def _merge_open_ones(self, loser: Contact, winner: Contact) -> None:
        moving, staying = (
            open_one_of(self._conversations, loser),
            open_one_of(self._conversations, winner),
        )
        if moving is None:
            return
        if staying is not None and staying.number < moving.number:
            # Reading: the closed one stays with the alias that it was of, and is not linked.
            self._journal.close(moving, "merged", into=staying)
            return
        if staying is not None:
            self._journal.close(staying, "merged", into=moving)
        self._attach(moving, winner, by="merge")

    def _command(self, step: Command) -> None:
        # Reading: a repeat changes nothing also where the conversation has been erased since.
        seen = self._tenants[step.tenant].commands_seen
        if step.command_id in seen:
            return
        match step:
            case CloseConversation():
                conversation = self._conversation(step.tenant, step.conversation)
                if not conversation.is_open:
                    raise Refused(Refusal.CONVERSATION_CLOSED)
                self._journal.close(conversation, "requested")
            case LinkConversation():
                self._link_by_hand(step)
            case UnlinkConversation():
                self._unlink(step)
            case EraseContact():
                self._erase(step)
            case _:
                assert_never(step)
        seen.add(step.command_id)

    def _link_by_hand(self, step: LinkConversation) -> None:
        # Reading: the contact is looked up before the conversation.
        contact = self._living(step.tenant, step.contact_id)
        if contact is None:
            raise Refused(Refusal.CONTACT_UNKNOWN)
        conversation = self._conversation(step.tenant, step.conversation)
        if conversation.contact is not None:
            raise Refused(Refusal.CONVERSATION_LINKED)
        self._link([conversation], contact, by="hand")

    def _unlink(self, step: UnlinkConversation) -> None:
        conversation = self._conversation(step.tenant, step.conversation)
        if not conversation.linked_by_hand or len(conversation.interactions) != 1:
            raise Refused(Refusal.NOT_LINKED_BY_HAND)
        conversation.contact = None
        conversation.linked_by_hand = False
        conversation.was_contacts_open_one = False
        self._journal.say(conversation, "conversation.unlinked", rule="by_hand", by="hand")
        # Reading: where the endpoint has been saved meanwhile, its owner gets it at once.
        if conversation.endpoint is not None:
            owner = self._tenants[step.tenant].owners.get(conversation.endpoint)
            if owner is not None:
                self._link([conversation], owner, by="save")

    def _erase(self, step: EraseContact) -> None:
        tenant = self._tenants[step.tenant]
        contact = tenant.contacts.get(step.contact_id)
        if contact is None:
            raise Refused(Refusal.CONTACT_UNKNOWN)
        # Reading: of an alias, the survivor is erased.
        person = contact.survivor()
        if person.state == "live":
            self._end(step.tenant, person)
        erased_ids = self._erased_with(tenant, person.contact_id)
        for conversation in self._conversations:
            history_of = conversation.contact
            if conversation.tenant == step.tenant and history_of is not None and history_of.contact_id in erased_ids:
                self._erase_conversation(conversation)

    @staticmethod
    def _erased_with(tenant: Tenant, contact_id: str) -> set[str]:
        # Reading: all lives of the contact id, and of each id that was ever merged into one of them, unless that id
        # is by now a contact of its own again, or the alias of another.
        erased_ids: set[str] = set()
        found = {contact_id}
        while found - erased_ids:
            erased_ids |= found
            found = {
                each.contact_id
                for each in tenant.every_contact
                if tenant.contacts[each.contact_id].state == "gone"
                and not erased_ids.isdisjoint(one.contact_id for one in each.lineage())
            }
        return erased_ids

    def _erase_conversation(self, conversation: Conversation) -> None:
        assert not conversation.is_open
        conversation.erased = True
        conversation.contact = None
        conversation.endpoint = None
        self._journal.say(conversation, "conversation.erased", rule="erased")

    def _save_agent(self, step: SaveAgent) -> None:
        agents = self._tenants[step.tenant].agents
        if step.channels is None:
            agents.pop(step.agent_id, None)
        else:
            agents[step.agent_id] = step.channels

    def _living(self, tenant: str, contact_id: str) -> Contact | None:
        contact = self._tenants[tenant].contacts.get(contact_id)
        return None if contact is None or contact.state == "gone" else contact.survivor()

    def _conversation(self, tenant: str, number: int) -> Conversation:
        for conversation in self._conversations:
            if conversation.number == number and conversation.tenant == tenant:
                if conversation.erased:
                    break
                return conversation
        raise Refused(Refusal.CONVERSATION_UNKNOWN)
