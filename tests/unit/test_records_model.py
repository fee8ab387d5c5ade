"""Records as gateways and people spell them, through the whole router, against the naive model of the contract's rules."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

import orjson
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from interaction_router.application.intake import AGENTS, COMMANDS, CONTACTS, IntakeSettings
from interaction_router.application.views import DEAD_LETTERS, UPDATES
from interaction_router.domain.rows import Policy
from interaction_router.ports import Outgoing, Received
from interaction_router.wire.times import read_time, spell_time
from tests.faults.bench import Bench
from tests.model import steps
from tests.model.compare import Comparison
from tests.model.naive import NaiveRouter
from tests.model.strategies import CHATTER, MAILBOX, PARTIES, PHONES, POLICY, histories
from tests.model.updates import InteractionView, Refusal, StepResult, Update

EXAMPLES: Final = 300 if os.environ.get("CI") else 20
FIELDS: Final = ("text", "subject", "duration_s", "recording_url")
UNKNOWN: Final = "00000000-0000-8000-8000-000000000000"
RULES: Final = Policy(late_grace_ms=POLICY.late_grace_ms, idle_close_ms=POLICY.idle_close_ms)
INTAKE: Final = IntakeSettings("router", tuple(PARTIES), default_region="ZA", unqualified=POLICY.unqualified)
WITHHELD: Final = (None, "", "Anonymous", " UNKNOWN ", "restricted", "withheld")

Json = dict[str, Any]  # Any: JSON


def _number(endpoint: str) -> tuple[str, ...]:
    digits = endpoint.removeprefix("tel:+27")
    return (f"+27{digits}", f"0{digits}", f"0027{digits}", endpoint, f"+27 (0){digits[:2]} {digits[2:5]}-{digits[5:]}")


SPELLINGS: Final[Mapping[str, Sequence[str]]] = {
    **{each: _number(each) for each in PHONES},
    MAILBOX: ("ann@example.com", "Ann@EXAMPLE.com", "Ann <ann@example.com>", "mailto:ann@example.com"),
    CHATTER: (CHATTER, " visitor-1 ", "visitor-1"),
}
"""How each endpoint is written."""

SAVED_AS: Final = {CHATTER: (CHATTER,)}
"""The endpoints that a contact is saved with as they are alone: no other way names their channel."""

ENDPOINTS: Final = {spelling: endpoint for endpoint, spellings in SPELLINGS.items() for spelling in spellings} | {
    f"whatsapp:{each.removeprefix('tel:')}": each for each in PHONES
}


class Scribe:
    """Writes steps as records, each as one of those that mean the same."""

    def __init__(self, seed: int) -> None:
        self._draw = Random(seed)
        self.opened: list[str] = []

    def record(self, step: steps.Step) -> tuple[str, Json | None, bytes | None]:
        """Return the stream, the value and the key of a step that is a record."""
        match step:
            case steps.InteractionEvent():
                return f"interactions.{step.channel}.v1", self._interaction(step), None
            case steps.SaveAgent():
                named: Json = {"tenant": step.tenant, "agent_id": step.agent_id}
                value = None if step.channels is None else {**named, "channels": sorted(step.channels)}
                return AGENTS, value, f"{step.tenant}|{step.agent_id}".encode()
            case steps.SaveContact():
                addresses = [self._draw.choice(SAVED_AS.get(each, SPELLINGS[each])) for each in step.endpoints]
                return CONTACTS, self._contact("saved", step.tenant, step.contact_id, addresses=addresses), None
            case steps.DeleteContact():
                return CONTACTS, self._contact("deleted", step.tenant, step.contact_id), None
            case steps.MergeContact():
                return CONTACTS, self._contact("merged", step.tenant, step.contact_id, into=step.into), None
            case steps.EraseContact():
                erase = {"tenant": step.tenant, "type": "contact.erase", "contact_id": step.contact_id}
                return COMMANDS, {**erase, "command_id": step.command_id}, None
            case steps.CloseConversation() | steps.LinkConversation() | steps.UnlinkConversation():
                return COMMANDS, self._command(step), None
            case steps.Tick():
                raise AssertionError("no record makes time pass")

    def _contact(self, kind: str, tenant: str, contact_id: str, **more: Any) -> Json:  # Any: JSON
        return {"tenant": tenant, "type": f"contact.{kind}", "contact_id": contact_id, **more}

    def _command(self, step: steps.ToConversation) -> Json:
        known = 0 <= step.conversation < len(self.opened)
        fields = {
            "tenant": step.tenant,
            "command_id": step.command_id,
            "conversation_id": self.opened[step.conversation] if known else UNKNOWN,
        }
        match step:
            case steps.CloseConversation():
                return {**fields, "type": "conversation.close"}
            case steps.UnlinkConversation():
                return {**fields, "type": "conversation.unlink"}
            case steps.LinkConversation():
                return {**fields, "type": "conversation.link", "contact_id": step.contact_id}

    def _interaction(self, step: steps.InteractionEvent) -> Json:
        inbound, party = step.direction == "inbound", self._party(step)
        default = "ended" if step.channel == "voice" else "received" if inbound else "sent"
        fields: Json = {
            "tenant": step.tenant,
            "channel": step.channel,
            "direction": step.direction,
            "interaction_id": step.interaction_id,
            "occurred_at": spell_time(step.occurred_at_ms),
            "from": party if inbound else "us",
            "to": "us" if inbound else self._draw.choice([party, [party], [party, "somebody else"]]),
        }
        self._put(fields, "status", None if step.status == default and self._draw.random() < 0.5 else step.status)
        self._put(fields, "event_id", step.event_id, "")
        self._put(fields, "agent_id", step.agent_id, "")
        self._put(fields, "region", None, "", "za")
        self._put(fields, "auto_response", step.auto_response or None, False)
        for name in FIELDS:
            self._put(fields, name, getattr(step.fields, name))
        return fields

    def _party(self, step: steps.InteractionEvent) -> str | Json | None:
        spellings: Sequence[str | None] = WITHHELD
        if step.endpoint is not None:
            spellings = SPELLINGS[step.endpoint]
            if step.channel == "whatsapp":
                spellings = (*spellings, f"whatsapp:{step.endpoint.removeprefix('tel:')}")
        address = self._draw.choice(spellings)
        return self._draw.choice([address, {"address": address}, {"address": address, "name": "Ann"}])

    def _put(self, fields: Json, name: str, value: object, *nothing: object) -> None:
        """Write a field; one without a value as null, as one of `nothing`, or not at all."""
        if value is not None:
            fields[name] = value
        elif self._draw.random() < 0.7:
            fields[name] = self._draw.choice((None, *nothing))


class Driver:
    """Gives the router what the model is given, as records, and hears what it says."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self._bench = bench
        self._scribe = Scribe(seed)
        self._partition = Random(seed)
        self._heard: dict[tuple[str, int], int] = {}

    async def step(self, timed: steps.Timed) -> StepResult:
        """Do one step to its end."""
        bench = self._bench
        bench.clock.ms = timed.at_ms - 1  # it settles a millisecond later
        if isinstance(timed.step, steps.Tick):
            bench.clock.ms = timed.at_ms
            await bench.tick()
        else:
            stream, value, key = self._scribe.record(timed.step)
            partition = self._partition.randrange(bench.partitions) if stream.startswith("interactions.") else 0
            await bench.log.append(stream, partition, [Outgoing(key, None if value is None else orjson.dumps(value))])
            await bench.settle()
        updates: list[Json] = [orjson.loads(each.value or b"") for each in await self._new(UPDATES)]
        self._scribe.opened += [each["conversation_id"] for each in updates if each["type"] == "conversation.opened"]
        codes = [dict(each.headers)["dlq_code"] for each in await self._new(DEAD_LETTERS)]
        assert len(codes) <= 1, "one record is refused once"
        refusal = Refusal((codes[0] or b"").decode()) if codes else None
        return StepResult(updates=tuple(map(told, updates)), refusal=refusal)

    async def _new(self, stream: str) -> list[Received]:
        found: list[Received] = []
        for partition in range(self._bench.partitions):
            records = await self._bench.log.read(stream, partition, self._heard.get((stream, partition), 0))
            self._heard[stream, partition] = self._heard.get((stream, partition), 0) + len(records)
            found += records
        return found


def told(update: Json) -> Update:
    """Tell an update as the model does."""
    return Update(
        type=update["type"],
        tenant=update["tenant"],
        at_ms=_ms(update["at"]),
        rule=update["cause"]["rule"],
        conversation=update.get("conversation_id"),
        seq=update.get("seq"),
        contact_id=update["contact_id"],
        endpoint=update.get("endpoint"),
        status=update.get("status"),
        linked=update.get("linked"),
        previous=update.get("previous_conversation_id"),
        interaction=_view(update["interaction"]) if "interaction" in update else None,
        by=update.get("by"),
        reason=update.get("reason"),
        into=update.get("into") if update["type"] != "contact.merged" else None,
        into_contact_id=update.get("into") if update["type"] == "contact.merged" else None,
        owner_contact_id=update.get("owner_contact_id"),
    )


def _view(interaction: Json) -> InteractionView:
    party = interaction["from"] if interaction["direction"] == "inbound" else next(iter(interaction["to"]), None)
    address = party["address"] if isinstance(party, dict) else party
    return InteractionView(
        interaction_id=interaction["interaction_id"],
        channel=interaction["channel"],
        direction=interaction["direction"],
        party=None if address in WITHHELD else ENDPOINTS[address],
        status=interaction["status"],
        occurred_at_ms=_ms(interaction["occurred_at"]),
        agent_id=interaction["agent_id"],
        auto_response=interaction.get("auto_response", False),
        fields=steps.Fields(**{name: interaction.get(name) for name in FIELDS}),
        flags=frozenset(interaction["flags"]),
    )


def _ms(text: str) -> int:
    at_ms = read_time(text)
    assert at_ms is not None
    return at_ms


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories(), st.integers(0, 2**32))
def test_the_router_says_of_records_what_the_model_says(history: list[steps.Timed], seed: int) -> None:
    asyncio.run(_says_what_the_model_says(history, seed))


async def _says_what_the_model_says(history: list[steps.Timed], seed: int) -> None:
    model, comparison = NaiveRouter(policy=POLICY), Comparison()
    async with Bench.opened(INTAKE, RULES) as bench:
        driver = Driver(bench, seed)
        for drawn in history:
            timed = steps.Timed(step=model.aim(drawn.step), at_ms=drawn.at_ms)
            wanted, got = model.step(timed.step, at_ms=timed.at_ms), await driver.step(timed)
            note(f"{timed}\n    model {wanted}\n    got   {got}")
            assert got.refusal == wanted.refusal
            assert comparison.differences(wanted.updates, got.updates) == []
