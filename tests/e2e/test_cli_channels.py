"""`channels` shows what a payload becomes; the outbound gate answers from the same rows."""

import asyncio
import io
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from interaction_router.application.intake import Agents
from interaction_router.application.prospects import Outlook, Prospect, outlook
from interaction_router.application.queries import Queries
from interaction_router.bootstrap.storage import opened
from interaction_router.bootstrap.terms import intake_settings
from interaction_router.channels.kit import Request
from interaction_router.cli.app import run
from interaction_router.cli.invocation import Invocation
from interaction_router.domain.errors import RetryableError
from interaction_router.receivers.answers import Answer
from interaction_router.receivers.outbound import Gate
from tests.e2e.embedded import Program, saved, sms

AGENT = "agents.v1", {"tenant": "acme", "agent_id": "ann", "name": "Ann", "channels": ["sms"]}
FORM = b"CallSid=CA1&CallStatus=ringing&From=%2B27821234567&To=%2B27110000000&Direction=inbound\n"
TOKENS = {"acme": {"json": {"token": "t1"}}, "zeta": {"json": {"token": "t2"}}, "none": {"twilio": {"auth_token": "x"}}}


def test_every_vendor_is_listed_with_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["channels", "list", "--json"], Invocation(env={})) == 0
    rows = {row["vendor"]: row for row in orjson.loads(capsys.readouterr().out)}
    assert len(rows) == 10
    assert rows["twilio"]["settings"] == ["tenants.<tenant>.gateways.twilio.auth_token"]


def test_a_payload_is_shown_with_the_conversation_that_it_would_join(program: Program, tmp_path: Path) -> None:
    program.feed(saved("c1", "+27821234567"), sms("SM1", "+27821234567"))
    payload = tmp_path / "payload"
    payload.write_bytes(FORM)
    args = ("channels", "check", str(payload), "--vendor", "twilio", "--tenant", "acme")
    ran = program(*args, "--json")
    assert ran.code == 0
    (item,) = ran.json["items"]
    assert item["interaction"]["direction"] == "inbound"
    assert (item["would_join"]["rule"], item["would_join"]["contact_id"]) == ("joined_open_conversation", "c1")
    assert "joined_open_conversation" in program(*args).out
    assert "would_join" not in program(*args, "--json", "--offline").json["items"][0]


def test_known_withheld_refused_and_unreadable_ones_are_told_apart(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.feed(sms("SM1", "+27821234567"), sms("SM9", None), AGENT)
    env = {"INTERACTION_ROUTER_TENANTS__ACME__ADDRESSES": '["+27110000000", "+27110000001"]'}
    _, fields = sms("SM1", "+27821234567")
    items = [
        fields,
        {**fields, "interaction_id": "SM2", "from": None},
        {**fields, "from": "+27110000001"},
        {**fields, "interaction_id": "SM9", "from": "unknown", "status": "read"},
        {**fields, "interaction_id": "SM2", "from": None, "status": "read"},
        {**fields, "interaction_id": "SM3", "direction": "outbound", "agent_id": "bob"},
        {**fields, "direction": "up"},
    ]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(orjson.dumps(items))))
    ran = program("channels", "check", "-", "--vendor", "json", "--tenant", "acme", "--json", env=env)
    known, withheld, own, known_withheld, receipt, outbound, bad = ran.json["items"]
    assert ran.code == 1
    assert known["would_join"]["rule"] == "event_of_known"
    assert withheld["would_join"] == {"rule": "opened_unlinked"}
    assert own["would_join"] == {"refused": "own_address"}
    assert known_withheld["would_join"]["rule"] == "event_of_known"
    assert known_withheld["would_join"]["conversation_id"] != known["would_join"]["conversation_id"]
    assert receipt["would_join"] == {"refused": "interaction_unknown"}
    assert outbound["would_join"] == {"refused": "agent_unknown"}
    assert bad["refused"]["field"] == "direction"


def test_a_channel_without_a_topic_goes_to_the_dead_letters(program: Program, tmp_path: Path) -> None:
    payload = tmp_path / "payload"
    payload.write_bytes(FORM)
    args = ("channels", "check", str(payload), "--vendor", "twilio", "--tenant", "acme", "--offline", "--json")
    ran = program(*args, env={"INTERACTION_ROUTER_CHANNELS": '["sms"]'})
    assert (ran.code, ran.json) == (1, {"items": [], "unread": "its channel is not among the setting `channels`"})


def test_what_goes_to_the_dead_letters_is_a_fault(program: Program, tmp_path: Path) -> None:
    payload = tmp_path / "payload"
    payload.write_bytes(b"{}")
    ran = program("channels", "check", str(payload), "--vendor", "whatsapp", "--tenant", "acme", "--offline")
    assert (ran.code, ran.err) == (1, "to the dead letters, payload_unknown: there is no list `entry`\n")
    ran = program("channels", "check", str(payload), "--vendor", "whatsap", "--tenant", "acme")
    assert ran.code == 2


def ask(question: Any, *, token: str | None = "t1", kind: str = "application/json", away: bool = False) -> Answer:  # noqa: S107 - of a test
    async def look(tenant: str, agent_id: str | None, channel: str, party: str) -> Outlook:
        raise RetryableError("redis_unreachable", f"{tenant}{agent_id}{channel}{party}")

    async def never(*_: object) -> Outlook:
        raise AssertionError("nobody may ask")

    gate = Gate(TOKENS, ("sms", "voice"), look if away else never)
    headers = {"content-type": kind, **({} if token is None else {"authorization": f"Bearer {token}"})}
    body = question if isinstance(question, bytes) else orjson.dumps(question)
    return asyncio.run(gate.answer(Request("POST", "https://x/", headers, body, 0)))


QUESTION = {"tenant": "acme", "channel": "sms", "party": "+27821234567", "agent_id": "ann"}


def test_the_gate_answers_only_to_who_has_the_tenants_token() -> None:
    assert ask(QUESTION, token=None).status == 401
    assert ask(QUESTION, token="t3").status == 403
    assert ask(QUESTION, token="t2").status == 403
    assert ask({**QUESTION, "tenant": "none"}).status == 403
    assert ask(QUESTION, kind="text/plain").status == 415
    for body, field in ((b"{", None), ({"tenant": "acme"}, "channel"), ({**QUESTION, "channel": "smoke"}, "channel")):
        answer = ask(body)
        assert (answer.status, orjson.loads(answer.body)["field"]) == (422, field)
    assert ask(QUESTION, away=True).status == 503


def outlook_of(program: Program, agent: str, channel: str, party: str) -> Outlook:
    async def looked() -> Outlook:
        async with opened(program.settings()) as (log, tables):
            agents = Agents(log)
            await agents.follow()
            return await outlook(
                Queries(log, tables),
                agents,
                intake_settings(program.settings()),
                tenant="acme",
                agent_id=agent,
                channel=channel,
                party=party,
            )

    return asyncio.run(looked())


@pytest.mark.parametrize(
    ("agent", "channel", "code"),
    [("ann", "sms", None), ("ann", "voice", "agent_not_qualified"), ("bob", "sms", "agent_unknown")],
)
def test_the_gate_tells_what_the_router_would_do(program: Program, agent: str, channel: str, code: str | None) -> None:
    program.feed(saved("c1", "+27821234567"), sms("SM1", "+27821234567"), AGENT)
    found = outlook_of(program, agent, channel, "+27 82 123 4567")
    assert (found.allowed, found.code) == (code is None, code)
    assert (found.prospect.rule, found.prospect.contact_id) == ("joined_open_conversation", "c1")
    assert found.prospect.conversation_id is not None


@pytest.mark.parametrize("party", ["", " ", "Anonymous", "withheld"])
def test_a_party_that_is_withheld_has_no_endpoint(program: Program, party: str) -> None:
    program.feed()
    assert outlook_of(program, "ann", "voice", party) == Outlook(True, None, Prospect("opened_unlinked", None))
