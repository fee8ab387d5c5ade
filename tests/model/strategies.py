"""Hypothesis strategies: lists of timed steps, drawn without looking at what they lead to.

Few tenants, contacts, endpoints and ids, so that steps meet; every span of time that a rule
turns on (the second of a close, 5 and 10 minutes, idle times, 12 hours) can be hit exactly and
missed by a millisecond. Examples shrink step by step: no step is built on another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.model.state import HOUR_MS, MINUTE_MS, Policy
from tests.model.steps import (
    CloseConversation,
    DeleteContact,
    Direction,
    EraseContact,
    Fields,
    InteractionEvent,
    LinkConversation,
    MergeContact,
    SaveAgent,
    SaveContact,
    Step,
    Tick,
    Timed,
    ToConversation,
    UnlinkConversation,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


MOST_STEPS = 60
PART_STEPS = 10
Drawn = TypeVar("Drawn")
Story = list[tuple["SearchStrategy[Step] | Step", int]]
"""Steps of a story, each with the time since the one before."""

START_MS = 1_795_334_400_000
SECOND_MS = 1000

POLICY = Policy(
    late_grace_ms=10 * MINUTE_MS,
    idle_close_ms={
        "voice": 30 * MINUTE_MS,
        "sms": 20 * MINUTE_MS,
        "email": 13 * HOUR_MS,
        "whatsapp": 20 * MINUTE_MS,
    },
)
"""Idle times on both sides of the 12 hours of a call; chat never idles."""

PHONES = ("tel:+27821234567", "tel:+27821234568")
MAILBOX = "mailto:ann@example.com"
CHATTER = "chat:visitor-1"
ENDPOINTS = (*PHONES, MAILBOX, CHATTER)
OUTBOUND_NUMBERS = frozenset({2, 5})
AUTOMATIC_NUMBERS = frozenset({4, 5})
CONTACTS = ("c1", "c2", "c3")
AGENTS = ("thandi", "pieter")
VOICE_STATUSES = ("ringing", "answered", "ended", "missed", "failed", "cancelled")
MESSAGE_STATUSES = ("received", "queued", "sent", "delivered", "read", "failed")
DETAILS: tuple[tuple[str | None, str | None, Fields], ...] = (
    (None, None, Fields()),
    (None, "thandi", Fields()),
    (None, "pieter", Fields(text="hello")),
    ("e1", None, Fields(text="good-bye", duration_s=0)),
    ("e1", "pieter", Fields(recording_url="https://example.com/r1")),
    ("e2", "thandi", Fields(duration_s=42)),
    ("e2", None, Fields(recording_url="https://example.com/r2", duration_s=7)),
)
"""Event id, agent and fields of an event: in one drawing, as few drawings shrink soonest."""

PARTIES: dict[str, tuple[str, ...]] = {
    "sms": PHONES,
    "voice": PHONES,
    "whatsapp": PHONES,
    "email": (MAILBOX,),
    "chat": (CHATTER,),
}

ADVANCES_MS = (
    1,
    400,
    SECOND_MS,
    MINUTE_MS,
    5 * MINUTE_MS,
    10 * MINUTE_MS,
    10 * MINUTE_MS + 1,
    20 * MINUTE_MS - 1,
    20 * MINUTE_MS,
    30 * MINUTE_MS,
    6 * HOUR_MS,
    12 * HOUR_MS,
    13 * HOUR_MS,
)
"""At least 1 ms, so that what opened first or closed last is never a matter of equal stamps."""

AGES_MS = (
    0,
    1,
    SECOND_MS,
    2 * SECOND_MS,
    MINUTE_MS + SECOND_MS,
    11 * MINUTE_MS,
    HOUR_MS,
    -5 * MINUTE_MS,
    -5 * MINUTE_MS - 1,
    -HOUR_MS,
)
"""How long before its arrival an event occurred; a negative one comes of a clock ahead."""


@dataclass(frozen=True, slots=True)
class Again:
    """The step that stands `back` places before comes once more, word for word."""

    back: int


@dataclass(frozen=True, slots=True)
class Untimed:
    """A step with spans in place of times: since the step before it, and of its occurring."""

    step: Step | Again
    advance_ms: int
    age_ms: int = 0


def histories(*, most_steps: int = MOST_STEPS) -> SearchStrategy[list[Timed]]:
    """Draw steps of all kinds in log order, for a router with `POLICY`."""
    # Lists side by side: one alone would hold 5 drawings on average, whatever its greatest size.
    drawings = weighted((12, untimed_steps().map(lambda each: [each])), (2, stories()))
    parts = [st.lists(drawings, max_size=PART_STEPS)] * (most_steps // PART_STEPS)
    return st.tuples(*parts).map(lambda drawn: timed(list(_flat(drawn))[:most_steps]))


def _flat(drawn: Iterable[list[list[Untimed]]]) -> Iterator[Untimed]:
    for part in drawn:
        for drawing in part:
            yield from drawing


def timed(untimed: Sequence[Untimed]) -> list[Timed]:
    """Put each step at its time, and what it tells of before that; tell commands apart."""
    times_ms = accumulate((each.advance_ms for each in untimed), initial=START_MS)
    steps: list[Timed] = []
    for place, (each, at_ms) in enumerate(zip(untimed, list(times_ms)[1:], strict=True)):
        step = each.step
        if isinstance(step, Again):
            step = steps[-step.back].step if step.back <= place else Tick()
        elif isinstance(step, InteractionEvent):
            step = replace(step, occurred_at_ms=at_ms - each.age_ms)
        elif isinstance(step, ToConversation) and step.conversation < 0:
            # The same words mean another conversation each time: never a repeat.
            step = replace(step, command_id=f"{step.command_id}-at-{place}")
        steps.append(Timed(step=step, at_ms=at_ms))
    return steps


def weighted(*choices: tuple[int, SearchStrategy[Drawn]]) -> SearchStrategy[Drawn]:
    """Draw from one of the strategies, by weight; `one_of` takes equal ones for one."""
    drawn_from = [each for weight, each in choices for _ in range(weight)]
    return st.integers(0, len(drawn_from) - 1).flatmap(drawn_from.__getitem__)


def untimed_steps() -> SearchStrategy[Untimed]:
    """Draw one step: mostly interactions and saves, as these are what the others act on."""
    return weighted(
        (10, st.builds(Untimed, interactions(), advances(), st.sampled_from(AGES_MS))),
        (6, st.builds(Untimed, contact_events(), advances())),
        (4, st.builds(Untimed, commands(), advances())),
        (2, st.builds(Untimed, st.just(Tick()), advances())),
        (2, st.builds(Untimed, st.builds(Again, st.integers(1, 5)), advances())),
        (1, st.builds(Untimed, agents(), advances())),
    )


def advances() -> SearchStrategy[int]:
    """Draw the time since the step before; short ones mostly, or all would be idle."""
    return st.sampled_from((*ADVANCES_MS[:4] * 6, *ADVANCES_MS[:7] * 2, *ADVANCES_MS))


def tenants() -> SearchStrategy[str]:
    """Draw a tenant: one has most of the traffic, the other shows that ids do not meet."""
    return st.sampled_from(("acme",) * 7 + ("globex",))


@st.composite
def interactions(draw: st.DrawFn, *, channel: str | None = None, party: str | None = None) -> InteractionEvent:
    """Draw an event; its id tells direction and kind, as all events of one exchange agree."""
    channel = channel or draw(st.sampled_from(tuple(PARTIES)))
    number = draw(st.integers(min_value=0, max_value=7))
    direction: Direction = "outbound" if number in OUTBOUND_NUMBERS else "inbound"
    is_voice = channel == "voice"
    event_id, agent_id, fields = draw(st.sampled_from(DETAILS))
    return InteractionEvent(
        tenant="acme" if party else draw(tenants()),
        channel=channel,
        direction=direction,
        interaction_id=f"i{number}",
        endpoint=party or draw(st.sampled_from((*PARTIES[channel] * 6, None))),
        status=draw(st.sampled_from(VOICE_STATUSES if is_voice else MESSAGE_STATUSES)),
        occurred_at_ms=START_MS,
        event_id=event_id,
        agent_id=agent_id,
        auto_response=number in AUTOMATIC_NUMBERS and not is_voice,
        fields=fields,
    )


@st.composite
def stories(draw: st.DrawFn) -> list[Untimed]:
    """Draw steps about the same few, which single drawings seldom bring together.

    Any of them may be missing, so that a story shrinks to what matters of it.
    """
    first, second, *_ = draw(st.permutations(CONTACTS))
    phone, other = draw(st.permutations(PHONES))
    save = SaveContact(tenant="acme", contact_id=first, endpoints=(phone,))
    save_both = replace(save, endpoints=(phone, MAILBOX))
    save_other = SaveContact(tenant="acme", contact_id=second, endpoints=(other,))
    message = interactions(channel="sms", party=phone)
    close = CloseConversation(tenant="acme", conversation=-1, command_id="close")
    link = LinkConversation(tenant="acme", conversation=-1, contact_id=second, command_id="link")
    unlink = UnlinkConversation(tenant="acme", conversation=-1, command_id="unlink")
    erase = EraseContact(tenant="acme", contact_id=first, command_id=f"erase-{first}-story")
    merge = MergeContact(tenant="acme", contact_id=first, into=second)
    call = interactions(channel="voice", party=other)
    idle: Story = [(save, 1), (message, 1), (Tick(), 20 * MINUTE_MS), (message, MINUTE_MS)]
    late: Story = [(save, 1), (message, 1), (close, 2 * SECOND_MS), (message, 10 * MINUTE_MS)]
    merging: Story = [(save_both, 1), (save_other, 1), (message, 1), (call, 1), (merge, 1)]
    by_hand: Story = [(save_other, 1), (message, 1), (link, 1), (save, 1), (unlink, 1)]
    erasing: Story = [(save, 1), (message, 1), (erase, 1), (message, 1)]
    told = draw(st.sampled_from((idle, late, merging, [*merging, (message, 1)], by_hand, erasing)))
    untimed = []
    for step, advance_ms in told:
        if draw(st.integers(0, 7)):
            drawn = draw(step) if isinstance(step, SearchStrategy) else step
            untimed.append(Untimed(drawn, advance_ms, draw(st.sampled_from(AGES_MS))))
    return untimed


def contact_events() -> SearchStrategy[Step]:
    """Draw a save, and more seldom a deletion or a merge."""
    ids = st.sampled_from(CONTACTS)
    some = st.lists(st.sampled_from(ENDPOINTS), max_size=4, unique=True).map(tuple)
    return weighted(
        (6, st.builds(SaveContact, tenant=tenants(), contact_id=ids, endpoints=some)),
        (3, st.builds(MergeContact, tenant=tenants(), contact_id=ids, into=ids)),
        (1, st.builds(DeleteContact, tenant=tenants(), contact_id=ids)),
    )


@st.composite
def commands(draw: st.DrawFn) -> Step:
    """Draw a command; one id is of one command, so that an id drawn twice is a repeat of it."""
    tenant = draw(tenants())
    attempt = draw(st.integers(min_value=0, max_value=2))
    number = draw(st.one_of(st.integers(0, 7), st.integers(-3, -1)))
    contact_id = draw(st.sampled_from((*CONTACTS, "nobody")))
    kind = draw(st.sampled_from(("close",) * 4 + ("link",) * 3 + ("unlink",) * 3 + ("erase",)))
    match kind:
        case "close":
            command_id = f"close-{number}-{attempt}"
            return CloseConversation(tenant=tenant, conversation=number, command_id=command_id)
        case "link":
            return LinkConversation(
                tenant=tenant,
                conversation=number,
                contact_id=contact_id,
                command_id=f"link-{number}-{contact_id}-{attempt}",
            )
        case "unlink":
            command_id = f"unlink-{number}-{attempt}"
            return UnlinkConversation(tenant=tenant, conversation=number, command_id=command_id)
        case _:
            command_id = f"erase-{contact_id}-{attempt}"
            return EraseContact(tenant=tenant, contact_id=contact_id, command_id=command_id)


def agents() -> SearchStrategy[SaveAgent]:
    """Draw an agent record: qualified for much, for little, or gone."""
    return st.builds(
        SaveAgent,
        tenant=tenants(),
        agent_id=st.sampled_from(AGENTS),
        channels=st.sampled_from((None, frozenset(PARTIES), frozenset({"voice", "sms"}), frozenset({"email"}))),
    )
