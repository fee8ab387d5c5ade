"""Raw interactions: what is taken, what is refused and with which field named (acceptance 49 to 51), whose they are."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interaction_router.domain.errors import RejectedError
from interaction_router.domain.ids import Entity
from interaction_router.domain.interactions import Interaction
from interaction_router.domain.messages import InteractionEvent
from interaction_router.wire.interactions import RawInteraction, interaction_message, parse_interaction
from tests.unit.wire_values import JSON

_CALL: Mapping[str, Any] = {
    "tenant": "acme",
    "channel": "voice",
    "direction": "inbound",
    "interaction_id": "CA9e7",
    "status": "answered",
    "occurred_at": "2026-11-22T10:15:30.120+02:00",
    "from": "082 123 4567",
    "to": "+27 11 000 0000",
    "region": "ZA",
    "agent_id": "thandi",
    "text": None,
    "duration_s": None,
    "provider": "twilio",
    "metadata": {"queue": "sales"},
}
_GONE = object()


def _parse(**changes: object) -> RawInteraction:
    fields = {name: value for name, value in {**_CALL, **changes}.items() if value is not _GONE}
    return parse_interaction(orjson.dumps(fields), channel_of_topic=str(fields.get("channel", "voice")))


def test_the_interaction_of_the_contract() -> None:
    assert _parse() == RawInteraction(
        tenant="acme",
        event_id=None,
        region="ZA",
        interaction=Interaction(
            interaction_id="CA9e7",
            channel="voice",
            direction="inbound",
            status="answered",
            occurred_at_ms=1795335330120,
            sender="082 123 4567",
            recipients=("+27 11 000 0000",),
            agent_id="thandi",
            flags=(),
            details={"provider": "twilio", "metadata": {"queue": "sales"}},
        ),
    )


_REFUSED: list[tuple[Mapping[str, object], str, str]] = [
    *(
        ({name: _GONE}, name, "is required")
        for name in ("tenant", "channel", "direction", "interaction_id", "occurred_at", "from", "to")
    ),
    *(
        ({name: None}, name, "has to be")
        for name in ("tenant", "channel", "direction", "interaction_id", "occurred_at")
    ),
    *(
        ({"tenant": tenant}, "tenant", "1 to 64")
        for tenant in ("", "Acme", "-a", "a b", "a|b", "a" * 65, "acme\n", "ä")
    ),
    ({"tenant": 7}, "tenant", "string"),
    ({"direction": "sideways"}, "direction", "inbound"),
    ({"direction": ["inbound"]}, "direction", "inbound"),
    ({"interaction_id": ""}, "interaction_id", "empty"),
    ({"interaction_id": "x" * 513}, "interaction_id", "512"),
    ({"interaction_id": 12}, "interaction_id", "string"),
    ({"interaction_id": "a\tb"}, "interaction_id", "control"),
    ({"interaction_id": "a\x85b"}, "interaction_id", "control"),
    ({"event_id": "a\x00"}, "event_id", "control"),
    ({"agent_id": "a\x7f"}, "agent_id", "control"),
    ({"agent_id": 7}, "agent_id", "string"),
    *(
        ({"occurred_at": text}, "occurred_at", "RFC 3339")
        for text in (
            "",
            "now",
            "2026-11-22",
            "2026-11-22T10:15:30",
            "2026-11-22T10:15:30 02:00",
            "20261122T101530Z",
            "2026-W47-7T10:15:30Z",
            "2026-02-30T10:15:30Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T10:15:61Z",
            "2026-11-22T10:15:30+24:00",
            "2026-11-22T10:15:30+02:60",
            "0001-01-01T00:00:00Z",
            "0001-01-01T00:00:00+23:59",
            "0000-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999Z",
            "9999-12-31T23:59:59-01:00",
            "99999-12-31T23:59:59Z",
            "\u0662026-11-22T10:15:30Z",
            "2026-11-22T10:15:30Z\n",
        )
    ),
    ({"occurred_at": 1795335330}, "occurred_at", "string"),
    ({"from": 7}, "from", "an address"),
    ({"from": True}, "from", "an address"),
    ({"from": ["+27821234567"]}, "from", "an address"),
    ({"from": {}}, "from.address", "required"),
    ({"from": {"name": "Ann"}}, "from.address", "required"),
    ({"from": {"address": 7}}, "from.address", "an address"),
    ({"from": {"address": "x", "name": 7}}, "from.name", "string"),
    ({"from": "x" * 513}, "from", "512"),
    ({"from": {"address": "x" * 513}}, "from.address", "512"),
    ({"from": "082\x001234567"}, "from", "control"),
    ({"to": 7}, "to", "an address"),
    ({"to": ["a", 7]}, "to.1", "an address"),
    ({"to": ["a", ["b"]]}, "to.1", "an address"),
    ({"to": ["a", {"address": "b\n"}]}, "to.1.address", "control"),
    ({"to": ["a", "b", "x" * 513]}, "to.2", "512"),
    ({"to": ["a"] * 101}, "to", "100"),
    ({"to": ["a"] * 10_000}, "to", "100"),
    ({"status": "delivered"}, "status", "ringing"),
    ({"status": ""}, "status", "ringing"),
    ({"status": "lost"}, "status", "ringing"),
    ({"channel": "sms", "status": "ringing"}, "status", "received"),
    ({"region": "ZAF"}, "region", "ISO 3166"),
    ({"region": "27"}, "region", "ISO 3166"),
    ({"region": 27}, "region", "string"),
    *(({name: 7}, name, "string") for name in ("subject", "text", "html", "recording_url", "provider")),
    ({"duration_s": "7"}, "duration_s", "number"),
    ({"duration_s": True}, "duration_s", "number"),
    ({"duration_s": -1}, "duration_s", "at least 0"),
    ({"auto_response": "yes"}, "auto_response", "true or false"),
    ({"auto_response": 1}, "auto_response", "true or false"),
    ({"attachments": {}}, "attachments", "list"),
    ({"attachments": [{}] * 101}, "attachments", "100"),
    ({"attachments": [{}, "a.pdf"]}, "attachments.1", "object"),
    ({"attachments": [{"size": "7"}]}, "attachments.0.size", "whole number"),
    ({"attachments": [{"size": -1}]}, "attachments.0.size", "at least 0"),
    ({"attachments": [{"name": 7}]}, "attachments.0.name", "string"),
    ({"references": "a@b"}, "references", "list"),
    ({"references": ["a@b", 7]}, "references.1", "string"),
    ({"references": ["a@b"] * 101}, "references", "100"),
    ({"metadata": []}, "metadata", "object"),
    ({"metadata": {"queue": 7}}, "metadata", "string"),
    ({"metadata": {"ann@example.com": None}}, "metadata", "string"),
]


@pytest.mark.parametrize(("changes", "field", "rule"), _REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_refused_names_the_field_and_the_rule(changes: Mapping[str, object], field: str, rule: str) -> None:
    with pytest.raises(RejectedError) as caught:
        _parse(**changes)
    assert (caught.value.code, caught.value.field) == ("schema_invalid", field)
    assert rule in caught.value.cause
    assert "{" not in caught.value.cause
    assert "ann@" not in str(caught.value) + str(caught.value.field)


def test_a_record_of_another_channel_is_refused_after_its_own_faults() -> None:
    with pytest.raises(RejectedError) as caught:
        parse_interaction(orjson.dumps(_CALL), channel_of_topic="sms")
    assert (caught.value.code, caught.value.field) == ("channel_mismatch", "channel")
    with pytest.raises(RejectedError) as caught:
        parse_interaction(orjson.dumps({**_CALL, "tenant": ""}), channel_of_topic="sms")
    assert caught.value.code == "schema_invalid"


@pytest.mark.parametrize(
    ("value", "code"), [(None, "malformed_json"), (b"[]", "malformed_json"), (b" " * (2**20 + 1), "too_large")]
)
def test_what_is_no_object_is_refused(value: bytes | None, code: str) -> None:
    with pytest.raises(RejectedError) as caught:
        parse_interaction(value, channel_of_topic="sms")
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2026-11-22T08:15:30.120Z", 1795335330120),
        ("2026-11-22T08:15:30.1209Z", 1795335330120),
        ("2026-11-22T08:15:30.120999999Z", 1795335330120),
        ("2026-11-22T08:15:30.1Z", 1795335330100),
        ("2026-11-22T08:15:30Z", 1795335330000),
        ("2026-11-22t08:15:30z", 1795335330000),
        ("2026-11-22 08:15:30Z", 1795335330000),
        ("2026-11-22T08:15:30-00:00", 1795335330000),
        ("2026-11-21T22:15:30-10:00", 1795335330000),
        ("2016-12-31T23:59:60Z", 1483228800000),
        ("2016-12-31T23:59:60.5Z", 1483228800000),
        ("1970-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59.999Z", 253402300799999),
    ],
)
def test_a_time_is_read(text: str, at_ms: int) -> None:
    assert _parse(occurred_at=text).interaction.occurred_at_ms == at_ms


@pytest.mark.parametrize(
    ("channel", "direction", "status"),
    [
        ("voice", "inbound", "ended"),
        ("voice", "outbound", "ended"),
        ("sms", "inbound", "received"),
        ("sms", "outbound", "sent"),
        ("telegram", "inbound", "received"),
    ],
)
def test_a_status_that_is_not_given(channel: str, direction: str, status: str) -> None:
    for given_status in (_GONE, None):
        raw = _parse(channel=channel, direction=direction, status=given_status)
        assert raw.interaction.status == status


@pytest.mark.parametrize(
    ("to", "recipients"),
    [
        (None, ()),
        ([], ()),
        ("a", ("a",)),
        ({"address": "a", "name": "A", "x": 1}, ({"address": "a", "name": "A", "x": 1},)),
        (["a", {"address": None}, None], ("a", {"address": None}, None)),
        (["a"] * 100, ("a",) * 100),
    ],
)
def test_recipients_are_a_list_as_they_came(to: object, recipients: tuple[object, ...]) -> None:
    assert _parse(to=to).interaction.recipients == recipients


def test_what_is_only_carried_is_carried_and_the_rest_kept() -> None:
    carried = {
        "subject": "s",
        "text": "t",
        "html": "<p>",
        "attachments": [{"name": "a", "content_type": "b", "size": 1, "url": "u", "cid": 7}, {}],
        "references": ["r"],
        "duration_s": 1.5,
        "recording_url": "u",
        "auto_response": False,
        "provider": "p",
        "metadata": {"k": "v"},
    }
    rest = {"extra": {"a": None}, "duration": 7, "from_": "x", "Tenant": [1, {"b": "c"}]}
    raw = _parse(**carried, **rest)
    assert raw.interaction.details == {**carried, "extra": rest}


@given(rest=st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_unknown_fields_are_kept_whatever_they_are(rest: dict[str, object]) -> None:
    unknown = {f"x-{name}": value for name, value in rest.items()}
    raw = _parse(**unknown)
    assert raw.interaction.details.get("extra", {}) == unknown


def test_empty_is_not_given() -> None:
    raw = _parse(agent_id="", event_id="", region="")
    assert (raw.interaction.agent_id, raw.event_id, raw.region) == (None, None, None)
    assert _parse(region="za").region == "ZA"


def _message(**changes: object) -> tuple[Entity, InteractionEvent]:
    return interaction_message(_parse(**changes), region="ZA", own_addresses=frozenset({"tel:+27110000000"}))


@pytest.mark.parametrize(
    ("changes", "party"),
    [
        ({}, "tel:+27821234567"),
        ({"region": None}, "tel:+27821234567"),
        ({"region": "US", "from": "212 555 0100"}, "tel:+12125550100"),
        ({"direction": "outbound", "from": "0110000000", "to": "0821234567"}, "tel:+27821234567"),
        ({"direction": "outbound", "from": "0110000000", "to": ["0821234567", "0821234568"]}, "tel:+27821234567"),
        ({"from": {"address": "0821234567", "name": "Ann"}}, "tel:+27821234567"),
        ({"channel": "email", "status": None, "from": "Ann <Ann@EXAMPLE.com>"}, "mailto:ann@example.com"),
        ({"channel": "whatsapp", "status": None, "from": "27821234567"}, "tel:+27821234567"),
        ({"channel": "chat", "status": None, "from": "v7"}, "chat:v7"),
        *(
            ({"from": withheld}, "anonymous/voice/CA9e7")
            for withheld in (
                None,
                "",
                "  ",
                "anonymous",
                "Anonymous",
                "UNKNOWN",
                "Restricted",
                "withheld",
                {"address": None},
                {"address": "anonymous", "name": "x"},
            )
        ),
        ({"direction": "outbound", "from": "0110000000", "to": []}, "anonymous/voice/CA9e7"),
        ({"direction": "outbound", "from": "0110000000", "to": [None, "0821234567"]}, "anonymous/voice/CA9e7"),
    ],
    ids=str,
)
def test_whose_it_is(changes: Mapping[str, object], party: str) -> None:
    entity, event = _message(**changes)
    assert entity == Entity("acme", "endpoint", party)
    assert event.party == party
    assert event.interaction.flags == ()
    assert event.withheld == party.startswith("anonymous/")


def test_a_withheld_party_that_comes_to_be_known_is_another_interaction() -> None:
    assert _message(**{"from": None})[0] != _message()[0]


def test_the_same_ids_of_two_tenants_never_meet() -> None:
    assert _message(tenant="other")[0] != _message()[0]


def test_an_address_in_doubt_is_flagged_after_what_intake_found() -> None:
    raw = _parse(**{"from": "ACMEBANK"})
    _, event = interaction_message(raw, region=None, own_addresses=frozenset(), flags=("agent_unknown",))
    assert event.party == "tel:opaque/ACMEBANK"
    assert event.interaction.flags == ("agent_unknown", "address_opaque")
    assert event.interaction.sender == "ACMEBANK"


def test_the_event_id_goes_on() -> None:
    assert _message(event_id="e1")[1].event_id == "e1"


@pytest.mark.parametrize(
    ("sender", "to", "own"),
    [
        ("0821234567", "+27821234567", True),
        ("0821234567", ["+27821234567", {"address": "082 123 4567"}], True),
        ("0110000000", "0110000001", True),
        ("0110000000", ["0110000001", "0110000000"], True),
        ("0821234567", ["+27821234567", "0821234568"], False),
        ("0110000000", ["0110000001", "0821234567"], False),
        ("0821234567", "0110000000", False),
        ("0110000000", None, False),
        ("0110000000", [], False),
        ("0110000000", ["0110000001", None], False),
        (None, None, False),
        (None, "0110000000", False),
        ("", "", False),
        ("ACMEBANK", "ACMEBANK", True),
    ],
)
@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_own_addresses(sender: object, to: object, direction: str, *, own: bool) -> None:
    raw = _parse(**{"from": sender, "to": to, "direction": direction})
    ours = frozenset({"tel:+27110000000", "tel:+27110000001"})
    if own:
        with pytest.raises(RejectedError) as caught:
            interaction_message(raw, region="ZA", own_addresses=ours)
        assert caught.value.code == "own_address"
    else:
        interaction_message(raw, region="ZA", own_addresses=ours)
