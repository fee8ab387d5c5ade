"""The story that the demo tells: a few scenes that show each rule once, whatever else is going on."""

import random
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

from interaction_router.application.simulation import (
    Fields,
    Load,
    Person,
    Simulated,
    contact_saved,
    interaction_fields,
    interaction_record,
    load_records,
    person,
)
from interaction_router.domain.ids import digest

IDLE_CHANNEL: Final = "chat"
_LINES: Final = 1_000


class Asked(NamedTuple):
    """A command about the conversation that an interaction is in, which only the updates tell."""

    type: str
    interaction_id: str
    fields: Mapping[str, str]
    due_ms: int


class Scene(NamedTuple):
    """A step of the story: what is sent or asked, and, where it is not self-evident, who does it and why."""

    step: Simulated | Asked
    said: str | None = None

    @property
    def due_ms(self) -> int:
        """When it is sent."""
        return self.step.due_ms


class _Cast(NamedTuple):
    """Who is in the story; numbers and ids depend on the seed."""

    ann: Person
    ben: Person
    visitor: Person
    tag: str


def _cast(seed: int) -> _Cast:
    tag = digest("story", str(seed)).hex()[:6]
    lines = random.Random(seed).sample(range(_LINES), 3)  # noqa: S311 - a simulation keeps no secrets
    named = zip((("ann", "Ann Botha"), ("ben", "Ben Okafor"), ("vic", "A visitor")), lines, strict=True)
    ann, ben, visitor = (
        Person(
            f"{short}-{tag}",
            name,
            f"+44 7700 900{line:03d}",
            f"07700 900{line:03d}",
            "GB",
            f"{short}.{tag}@example.com",
        )
        for (short, name), line in named
    )
    return _Cast(ann, ben, visitor, tag)


def story_scenes(load: Load, *, span_ms: int) -> Iterator[Scene]:
    """Return the scenes within `span_ms`, in the order in which they are due."""
    scenes = [*_parcel(load, span_ms), *_stranger(load, span_ms), *_others(load, span_ms)]
    yield from sorted(scenes, key=lambda scene: scene.due_ms)


def _parcel(load: Load, span_ms: int) -> Iterator[Scene]:
    """Ann, a contact, asks over every channel about one thing; it is closed, and her thanks begin another."""
    ann, _, _, tag = _cast(load.seed)
    first, call, mail, answer, thanks = (f"{kind}{tag}-ann" for kind in ("SM1", "CA1", "mail1.", "wamid.1", "SM2"))

    def at(share: float) -> int:
        return int(share * span_ms)

    def of(channel: str, interaction_id: str, share: float, **more: Any) -> Fields:  # Any: fields of the contract
        agent_id = more.pop("by", None)
        fields = interaction_fields(
            load, ann, channel=channel, interaction_id=interaction_id, due_ms=at(share), agent_id=agent_id
        )
        return fields | more

    def scene(fields: Fields, share: float, **more: Any) -> Scene:  # Any: as above
        return Scene(interaction_record(fields, due_ms=at(share), **more))

    yield Scene(
        contact_saved(load, ann, due_ms=at(0)), f"CRM saves the contact {ann.name}: {ann.number}, {ann.mailbox}"
    )
    sms = of("sms", first, 0.04, text="Where is my parcel?")
    yield scene(sms, 0.04)
    ringing = of("voice", call, 0.08, status="ringing")
    yield scene(ringing, 0.08)
    yield scene(ringing | of("voice", call, 0.12, status="answered") | {"agent_id": "thandi"}, 0.12, nature="event")
    yield scene(of("email", mail, 0.18, subject="Photo of the label", text="See the attachment."), 0.18)
    yield scene(of("voice", call, 0.24, status="ended", duration_s=74) | {"agent_id": "thandi"}, 0.24, nature="event")
    yield scene(of("whatsapp", answer, 0.28, by="joao", text="It arrives at four.", status="sent"), 0.28)
    read = of("whatsapp", answer, 0.36, by="joao", status="read")
    yield scene(read, 0.36, nature="event")
    yield Scene(
        interaction_record(sms, due_ms=at(0.42), nature="duplicate"), "the SMS gateway sends Ann's first message again"
    )
    close = Asked("conversation.close", first, {"reason": "solved", "actor": "thandi"}, at(0.5))
    yield Scene(close, "Thandi closes Ann's conversation: solved")
    yield scene(of("sms", thanks, 0.56, text="It is here, thank you!"), 0.56)
    yield scene(read, 0.6, nature="duplicate")


def _stranger(load: Load, span_ms: int) -> Iterator[Scene]:
    """Ben is nobody's contact: each try is a conversation of its own, until he is saved."""
    _, ben, _, tag = _cast(load.seed)

    def record(channel: str, interaction_id: str, share: float, **more: Any) -> Simulated:  # Any: as above
        due_ms, agent_id = int(share * span_ms), more.pop("by", None)
        fields = interaction_fields(
            load, ben, channel=channel, interaction_id=interaction_id, due_ms=due_ms, agent_id=agent_id
        )
        return interaction_record(fields | more, due_ms=due_ms)

    yield Scene(record("voice", f"CA2{tag}-ben", 0.05, status="missed"))
    yield Scene(record("sms", f"SM3{tag}-ben", 0.15, text="I tried to call you."))
    saved = contact_saved(load, ben, due_ms=int(0.33 * span_ms))
    yield Scene(saved, f"CRM saves the contact {ben.name}: {ben.number}, {ben.mailbox}")
    yield Scene(record("voice", f"CA3{tag}-ben", 0.46, by="mei", status="ended", duration_s=31))


def _others(load: Load, span_ms: int) -> Iterator[Scene]:
    """A visitor who goes away, a caller without a number, and what has to be refused."""
    ann, _, visitor, tag = _cast(load.seed)

    def fields(who: Person, channel: str, interaction_id: str, share: float, by: str | None = None) -> Fields:
        return interaction_fields(
            load, who, channel=channel, interaction_id=interaction_id, due_ms=int(share * span_ms), agent_id=by
        )

    def scene(made: Fields, share: float, said: str | None = None, **more: Any) -> Scene:  # Any: as above
        return Scene(interaction_record(made, due_ms=int(share * span_ms), **more), said)

    chat = fields(visitor, IDLE_CHANNEL, f"chat-{tag}", 0.1) | {"from": f"guest-{tag}", "text": "Are you open today?"}
    yield scene(chat, 0.1)
    hidden = fields(visitor, "voice", f"CA4{tag}", 0.38) | {"from": "anonymous", "status": "missed"}
    yield scene(hidden, 0.38)
    link = Asked(
        "conversation.link", f"CA4{tag}", {"contact_id": ann.contact_id, "actor": "thandi"}, int(0.8 * span_ms)
    )
    yield Scene(link, "Thandi knows who the withheld caller was and links the call to Ann by hand")
    nameless = fields(ann, "email", "gone", 0.64)
    del nameless["interaction_id"]
    yield scene(
        nameless, 0.64, "a gateway sends a record without interaction_id", nature="poison", code="schema_invalid"
    )
    broken = interaction_record(fields(ann, "sms", f"SM4{tag}", 0.68), due_ms=int(0.68 * span_ms), nature="poison")
    yield Scene(broken._replace(value=broken.value[:-9], code="malformed_json"), "a gateway sends half a record")
    refused = fields(ann, "whatsapp", f"wamid.2{tag}", 0.73, "thandi") | {"text": "Hello again"}
    said = "Thandi, who is qualified for voice and email, sends a WhatsApp message"
    yield scene(refused, 0.73, said, nature="poison", code="agent_not_qualified")


def load_scenes(load: Load) -> Iterator[Scene]:
    """Return the load as scenes, without end; a contact that is saved while it runs is told of."""
    for record in load_records(load):
        said = None
        if record.nature == "contact":
            said = f"CRM saves the contact {orjson.loads(record.value)['name']}"
        yield Scene(record, said)


def names(load: Load) -> Mapping[str, str]:
    """Return how the contacts of load and story are called."""
    cast = _cast(load.seed)
    everybody = [cast.ann, cast.ben, *(person(nth) for nth in range(load.contacts))]
    return {each.contact_id: each.name for each in everybody}
