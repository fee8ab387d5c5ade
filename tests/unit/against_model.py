"""The domain driven by the naive model's steps, and its events told in the model's words."""

from random import Random

from interaction_router.domain import events
from interaction_router.domain.ids import Entity
from interaction_router.domain.interactions import Interaction
from interaction_router.domain.messages import (
    CloseAsked,
    ContactDeleted,
    ContactMerged,
    ContactSaved,
    EraseAsked,
    InteractionEvent,
    LinkAsked,
    UnlinkAsked,
)
from interaction_router.domain.rows import Policy
from tests.model import state, steps
from tests.model.updates import InteractionView, Refusal, StepResult, Update
from tests.unit.world import Seen, World

CONTACTS = "contacts.v1"
COMMANDS = "commands.v1"
_FIELDS = ("text", "subject", "duration_s", "recording_url")


class Driver:
    """Gives the world what the model is given; intake's part, agents and hints, is played here."""

    def __init__(self, policy: state.Policy, *, seed: int | None = None, partitions: int = 4) -> None:
        """`seed` makes the order between homes, and intake's hints, anything at all."""
        rules = Policy(late_grace_ms=policy.late_grace_ms, idle_close_ms=policy.idle_close_ms)
        self.world = World(policy=rules, seed=seed, partitions=partitions)
        self._unqualified = policy.unqualified
        self._agents: dict[str, dict[str, frozenset[str]]] = {}
        self._hints = Random(seed)
        self._opened: list[str] = []

    def step(self, timed: steps.Timed) -> StepResult:
        """Do one step to its end."""
        before, refused = len(self.world.seen), len(self.world.refusals)
        code = self.give(timed)
        self.world.settle()
        seen = self.world.seen[before:]
        opened = [each.event for each in seen if isinstance(each.event, events.Opened)]
        self._opened += [each.now.conversation_id for each in opened]
        refusals = self.world.refusals[refused:]
        assert len(refusals) <= 1, "one record is refused once"
        code = Refusal(refusals[0].code) if refusals else code
        return StepResult(updates=tuple(map(told, seen)), refusal=code)

    def give(self, timed: steps.Timed) -> Refusal | None:
        """Append what intake would; return why it refuses."""
        step = timed.step
        self.world.now_ms = timed.at_ms
        match step:
            case steps.InteractionEvent():
                return self._interaction(step)
            case steps.SaveAgent():
                agents = self._agents.setdefault(step.tenant, {})
                agents.pop(step.agent_id, None)
                if step.channels is not None:
                    agents[step.agent_id] = step.channels
            case steps.Tick():
                self.world.tick()
            case steps.SaveContact():
                saved = ContactSaved(step.contact_id, None, step.endpoints)
                self.world.give(Entity(step.tenant, "contact", step.contact_id), saved, stream=CONTACTS)
            case steps.DeleteContact():
                deleted = ContactDeleted(step.contact_id)
                self.world.give(Entity(step.tenant, "contact", step.contact_id), deleted, stream=CONTACTS)
            case steps.MergeContact():
                merged = ContactMerged(step.contact_id, step.into)
                self.world.give(Entity(step.tenant, "aliases", ""), merged, stream=CONTACTS)
            case _:
                self._command(step)
        return None

    def _command(self, step: steps.Command) -> None:
        if isinstance(step, steps.EraseContact):
            erase = EraseAsked(step.contact_id, step.command_id)
            self.world.give(Entity(step.tenant, "contact", step.contact_id), erase, stream=COMMANDS)
            return
        known = 0 <= step.conversation < len(self._opened)
        key = self._opened[step.conversation] if known else "00000000-0000-8000-8000-000000000000"
        conversation = Entity(step.tenant, "conversation", key)
        match step:
            case steps.CloseConversation():
                self.world.give(conversation, CloseAsked(key, step.command_id), stream=COMMANDS)
            case steps.UnlinkConversation():
                self.world.give(conversation, UnlinkAsked(key, step.command_id), stream=COMMANDS)
            case steps.LinkConversation():
                contact = Entity(step.tenant, "contact", step.contact_id)
                self.world.give(contact, LinkAsked(key, step.contact_id, step.command_id), stream=COMMANDS)

    def _interaction(self, step: steps.InteractionEvent) -> Refusal | None:
        flags = tuple(sorted(step.flags))
        agents = self._agents.get(step.tenant)
        if agents and step.agent_id is not None and step.channel not in agents.get(step.agent_id, ()):
            code = Refusal.AGENT_NOT_QUALIFIED if step.agent_id in agents else Refusal.AGENT_UNKNOWN
            if step.direction == "outbound" and self._unqualified == "reject":
                return code
            flags = (*flags, code.value)
        party = step.endpoint or f"anonymous/{step.channel}/{step.interaction_id}"
        details = {name: value for name in _FIELDS if (value := getattr(step.fields, name)) is not None}
        if step.auto_response:
            details["auto_response"] = True
        interaction = Interaction(
            interaction_id=step.interaction_id,
            channel=step.channel,
            direction=step.direction,
            status=step.status,  # type: ignore[arg-type]  # the strategies draw the contract's words
            occurred_at_ms=step.occurred_at_ms,
            sender=step.endpoint,
            recipients=(),
            agent_id=step.agent_id,
            flags=flags,  # type: ignore[arg-type]  # likewise
            details=details,
        )
        endpoint = Entity(step.tenant, "endpoint", party)
        hint = endpoint
        if step.endpoint is not None and self._hints.random() < 0.7:
            hint = Entity(step.tenant, "contact", f"c{self._hints.randrange(5)}")
        self.world.give(hint, InteractionEvent(party, step.event_id, interaction))
        return None


def told(seen: Seen) -> Update:
    """Tell an event as the model does."""
    event = seen.event
    if isinstance(event, events.Conflicted):
        return Update(
            type="contact.conflict",
            tenant=seen.tenant,
            at_ms=seen.at_ms,
            rule="saved",
            contact_id=event.contact_id,
            owner_contact_id=event.owner_contact_id,
            endpoint=event.endpoint,
        )
    if isinstance(event, events.AliasMade):
        return Update(
            type="contact.merged",
            tenant=seen.tenant,
            at_ms=seen.at_ms,
            rule="merged",
            contact_id=event.contact_id,
            into_contact_id=event.into,
        )
    assert not isinstance(event, events.RowPut | events.RowGone)
    now = event.now
    return Update(
        type=_TYPES[type(event)],
        tenant=seen.tenant,
        at_ms=seen.at_ms,
        rule=now.rule,
        conversation=now.conversation_id,
        seq=now.seq,
        contact_id=now.contact_id,
        endpoint=now.endpoint,
        status=now.status,  # type: ignore[arg-type]  # an erased one is compared by type
        linked=now.contact_id is not None if isinstance(event, events.Opened) else None,
        previous=event.previous if isinstance(event, events.Opened) else None,
        interaction=_view(event.interaction, now.endpoint)
        if isinstance(event, events.InteractionAdded | events.InteractionUpdated)
        else None,
        by=event.by if isinstance(event, events.Linked) else "hand" if isinstance(event, events.Unlinked) else None,
        reason=event.reason if isinstance(event, events.Closed) else None,
        into=event.into if isinstance(event, events.Closed) else None,
    )


_TYPES: dict[type, str] = {
    events.Opened: "conversation.opened",
    events.InteractionAdded: "conversation.interaction_added",
    events.InteractionUpdated: "conversation.interaction_updated",
    events.Linked: "conversation.linked",
    events.Unlinked: "conversation.unlinked",
    events.Closed: "conversation.closed",
    events.Erased: "conversation.erased",
}


def _view(interaction: Interaction, _endpoint: str | None) -> InteractionView:
    party = interaction.sender
    assert party is None or isinstance(party, str)
    details = interaction.details
    return InteractionView(
        interaction_id=interaction.interaction_id,
        channel=interaction.channel,
        direction=interaction.direction,
        party=party,
        status=interaction.status,
        occurred_at_ms=interaction.occurred_at_ms,
        agent_id=interaction.agent_id,
        auto_response=interaction.auto_response,
        fields=steps.Fields(**{name: details.get(name) for name in _FIELDS}),  # type: ignore[arg-type]  # JSON values
        flags=frozenset(interaction.flags),
    )
