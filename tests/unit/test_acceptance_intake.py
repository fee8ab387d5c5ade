"""The cases of addresses, agents and bad input: raw records through intake and assignment on embedded storage."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from interaction_router.adapters.kafka.topics import RECORD_BYTES
from interaction_router.application.intake import IntakeSettings
from interaction_router.application.views import DEAD_LETTERS, UPDATES
from interaction_router.domain.ids import hash_of_text
from interaction_router.ports import Outgoing, Received
from tests.checker import check
from tests.faults.bench import Bench

SMS, EMAIL, VOICE, CONTACTS = "interactions.sms.v1", "interactions.email.v1", "interactions.voice.v1", "contacts.v1"
Fields = dict[str, Any]  # Any: JSON
Raw = tuple[str, bytes | Fields]


def sms(**fields: Any) -> Raw:
    return SMS, {
        "tenant": "acme",
        "channel": "sms",
        "direction": "inbound",
        "interaction_id": "i1",
        "occurred_at": "2026-09-21T10:00:00Z",
        "from": "+27821234567",
        "to": "+27110000000",
        **fields,
    }


def email(**fields: Any) -> Raw:
    return EMAIL, {**_fields(sms()), "channel": "email", "from": "ann@example.com", "to": "us@example.org", **fields}


def voice(**fields: Any) -> Raw:
    return VOICE, {**_fields(sms()), "channel": "voice", **fields}


def saved(*addresses: str, contact_id: str = "c1") -> Raw:
    return CONTACTS, {"tenant": "acme", "type": "contact.saved", "contact_id": contact_id, "addresses": [*addresses]}


def agent(*channels: str, agent_id: str = "thandi") -> Raw:
    return "agents.v1", {"tenant": "acme", "agent_id": agent_id, "name": "Thandi", "channels": [*channels]}


def _fields(raw: Raw) -> Fields:
    assert isinstance(raw[1], dict)
    return raw[1]


class Heard:
    """What a router says of raw records, each followed to its end before the next."""

    def __init__(self, updates: list[Fields], letters: list[Received], traces: set[bytes | None]) -> None:
        self.updates = updates
        self.letters = letters
        self.traces = traces

    @property
    def contacts(self) -> list[str | None]:
        """The contact of every interaction that joined."""
        return [each["contact_id"] for each in self.updates if each["type"] == "conversation.interaction_added"]

    @property
    def endpoints(self) -> list[str]:
        return [each["endpoint"] for each in self.updates if each["type"] == "conversation.opened"]

    @property
    def interactions(self) -> list[Fields]:
        return [each["interaction"] for each in self.updates if "interaction" in each]

    @property
    def codes(self) -> list[str]:
        return [dict(each.headers)["dlq_code"].decode() for each in self.letters]


Headers = Sequence[tuple[str, Any]]  # Any: bytes, or null, as Kafka allows


def hear(*raw: Raw, unqualified: str = "reject", headers: Headers = (("h", b"1"),)) -> Heard:
    return asyncio.run(_hear(*raw, unqualified=unqualified, headers=headers))


async def _hear(*raw: Raw, unqualified: str, headers: Headers) -> Heard:
    settings = IntakeSettings("router", ("sms", "voice", "email", "whatsapp"), "ZA", {}, unqualified)  # type: ignore[arg-type]
    async with Bench.opened(settings) as bench:
        for stream, value in raw:
            data = value if isinstance(value, bytes) else orjson.dumps(value)
            at = hash_of_text(stream) % await bench.log.partitions(stream)
            await bench.log.append(stream, at, [Outgoing(b"key", data, headers)])
            await bench.settle()
        assert await check(bench.log, bench.tables, settings) == []
        updates = [each for p in range(bench.partitions) for each in await bench.log.read(UPDATES, p, 0)]
        letters = [each for p in range(bench.partitions) for each in await bench.log.read(DEAD_LETTERS, p, 0)]
        told = [orjson.loads(each.value or b"{}") for each in updates]
        traces = {dict(each.headers).get("traceparent") for each in updates}
        return Heard(sorted(told, key=lambda each: (each["at"], each.get("seq") or 0)), letters, traces)


def test_26_a_national_number_is_the_international_one() -> None:
    assert hear(saved("082 123 4567"), sms(**{"from": "0821234567"})).contacts == ["c1"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("+5215512345678", "+525512345678"), ("+5491123456789", "+541123456789"), ("+551187654321", "+5511987654321")],
)
def test_27_spellings_of_one_mobile(one: str, other: str) -> None:
    assert hear(saved(one), sms(**{"from": other})).contacts == ["c1"]
    assert hear(saved(other), sms(**{"from": one})).contacts == ["c1"]


def test_28_opaque_ones_stay_apart_and_an_impossible_number_cannot_be_saved() -> None:
    heard = hear(*(sms(**{"from": each, "interaction_id": each}) for each in ("12345", "ACMEBANK", "+2712")))
    assert heard.endpoints[:2] == ["tel:opaque/12345", "tel:opaque/ACMEBANK"]
    assert len(set(heard.endpoints)) == 3
    assert heard.interactions[2]["flags"] == ["address_opaque"]
    assert hear(saved("+2712")).codes == ["address_invalid"]


def test_29_the_case_of_a_mailbox_says_nothing_its_tag_does() -> None:
    heard = hear(saved("Ann@EXAMPLE.com"), email(), email(**{"from": "ann+x@example.com", "interaction_id": "i2"}))
    assert heard.contacts == ["c1", None]


def test_30_a_whatsapp_number_is_the_phones_contact() -> None:
    whatsapp = ("interactions.whatsapp.v1", {**_fields(sms()), "channel": "whatsapp"})
    assert hear(saved("+27821234567"), whatsapp).contacts == ["c1"]


def test_46_an_agent_that_is_not_qualified() -> None:
    outbound = sms(direction="outbound", agent_id="thandi", **{"from": "+27110000000", "to": "+27821234567"})
    assert hear(agent("voice"), outbound).codes == ["agent_not_qualified"]
    assert hear(agent("voice"), outbound).updates == []
    assert hear(agent("voice"), outbound, unqualified="flag").interactions[0]["flags"] == ["agent_not_qualified"]
    inbound = hear(agent("voice"), sms(agent_id="thandi"))
    assert (inbound.codes, inbound.interactions[0]["flags"]) == ([], ["agent_not_qualified"])


def test_47_a_tenant_without_agents_is_not_checked() -> None:
    outbound = sms(direction="outbound", agent_id="thandi", to="+27821234567", **{"from": "+27110000000"})
    assert hear(outbound).codes == []


def test_48_a_later_qualification_counts_an_unknown_agent_does_not() -> None:
    first, second = (
        sms(direction="outbound", agent_id="thandi", to="+27821234567", interaction_id=name, **{"from": "+27110000000"})
        for name in ("i1", "i2")
    )
    heard = hear(agent("voice"), first, agent("sms"), second)
    assert (heard.codes, len(heard.contacts)) == (["agent_not_qualified"], 1)
    assert hear(agent("sms", agent_id="pieter"), first).codes == ["agent_unknown"]
    named_none = sms(direction="outbound", to="+27821234567", **{"from": "+27110000000"})
    assert hear(agent("voice"), named_none).codes == []


_GOOD = orjson.dumps(_fields(sms()))


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"{", "malformed_json"),
        (b"[]", "malformed_json"),
        (_GOOD.replace(b'"i1"', b"NaN"), "malformed_json"),
        (_GOOD.replace(b"{", b'{"tenant":"acme",', 1), "malformed_json"),
        (_GOOD.replace(b"i1", b"\\ud800"), "malformed_json"),
        (_GOOD.replace(b"}", b',"x":' + b"[" * 32 + b"]" * 32 + b"}"), "malformed_json"),
        (_GOOD.replace(b"}", b',"text":"' + b"x" * (1 << 20) + b'"}'), "too_large"),
        (_GOOD.replace(b'"sms"', b'"voice"'), "channel_mismatch"),
        (_GOOD.replace(b"2026-", b"0001-"), "schema_invalid"),
        (_GOOD.replace(b'"i1"', b'""'), "schema_invalid"),
        (_GOOD.replace(b'"+27110000000"', b"[" + b",".join([b'"+27110000000"'] * 10_000) + b"]"), "schema_invalid"),
        (_GOOD.replace(b"27110000000", b"27821234567"), "own_address"),
    ],
)
def test_49_50_what_is_bad_goes_to_the_dead_letters_intact_and_the_rest_goes_on(value: bytes, code: str) -> None:
    heard = hear((SMS, value), sms())
    assert heard.codes == [code]
    assert heard.letters[0].value == value
    assert heard.letters[0].headers[0] == ("h", b"1")
    assert heard.contacts == [None]


def test_49_a_header_without_a_value_stops_nobody() -> None:
    """Kafka allows it; an AttributeError here ends the worker, and every one that takes the partition over."""
    heard = hear(sms(), headers=[("traceparent", None), ("other", None)])
    assert len(heard.interactions) == 1


@pytest.mark.parametrize(
    ("trace", "handed_on"),
    [(b"00-1-2-01", b"00-1-2-01"), (b"\xff" * 55, None), (b"0" * 513, None), (b"0" * 1_000_000, None)],
)
def test_49_a_trace_that_is_none_is_not_handed_on(trace: bytes, handed_on: bytes | None) -> None:
    """A large one beside a large interaction, or one whose bytes are spelt as three, would outgrow the update."""
    assert hear(sms(), headers=[("traceparent", trace)]).traces == {handed_on}


def test_50_a_record_that_outgrows_the_topics_behind_it_is_too_large() -> None:
    """A number such as 1e15 is three times as long when it is written out: the worker would end, and so the next."""
    text = orjson.dumps(_fields(sms(numbers=0))).replace(b"0}", b"[" + b",".join([b"1e15"] * 190_000) + b"]}")
    heard = hear((SMS, text), sms(interaction_id="i2"))
    assert heard.codes == ["too_large"]
    assert [each["interaction_id"] for each in heard.interactions] == ["i2"]


def test_50_an_interaction_does_not_outgrow_the_topics_with_its_events() -> None:
    large = ("text", "html", "subject")
    heard = hear(*(voice(event_id=name, **{name: "x" * 900_000}) for name in large))
    assert len(heard.interactions) == len(large)
    assert all(len(orjson.dumps(each)) < RECORD_BYTES for each in heard.updates)
    assert [name for name in large if name in heard.interactions[-1]] == ["text"]


def test_50_a_contact_with_more_addresses_than_can_be_claimed_is_refused() -> None:
    heard = hear(saved(*(f"a{number}@example.com" for number in range(1_001))))
    assert heard.codes == ["schema_invalid"]
    assert b"addresses" in dict(heard.letters[0].headers)["dlq_message"]


def test_51_unknown_fields_are_kept() -> None:
    assert hear(sms(mood={"is": "good"})).interactions[0]["extra"] == {"mood": {"is": "good"}}
