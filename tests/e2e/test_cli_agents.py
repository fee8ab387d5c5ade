"""`agents` on embedded storage."""

from tests.e2e.embedded import TENANT, Program, sms

T = ("--tenant", TENANT)


def outbound(interaction_id: str, agent: str) -> tuple[str, dict[str, object]]:
    stream, fields = sms(interaction_id, "+27110000000", direction="outbound", to="+27821234567", agent_id=agent)
    return stream, dict(fields)


def test_set_counts_from_then_on_and_remove_ends_it(program: Program) -> None:
    program.feed(outbound("1", "thandi"))
    assert program("agents", "list", "--json").json == []
    ran = program("agents", "set", "thandi", *T, "--name", "Thandi", "--channel", "voice", "--channel", "email")
    assert ran == (0, "", "agent thandi of acme is qualified for voice, email\n")
    assert program("agents", "list", "--json").json == [
        {"tenant": TENANT, "agent_id": "thandi", "name": "Thandi", "channels": ["email", "voice"]}
    ]
    assert program("agents", "show", "thandi", *T, "--json").json["channels"] == ["email", "voice"]
    assert program("agents", "show", "piet", *T).err.split()[1] == "agent_unknown:"
    program.feed(outbound("2", "thandi"), outbound("3", "piet"))
    codes = [letter["dlq_code"] for letter in program("tail", "dlq", "--json").lines]
    assert sorted(codes) == ["agent_not_qualified", "agent_unknown"]
    assert program("agents", "remove", "thandi", *T).code == 0
    assert program("agents", "list") == (0, "", "no agents: nobody is checked\n")
    program.feed(outbound("4", "thandi"))
    assert len(program("tail", "dlq", "--json").lines) == 2


def test_list_narrows_by_tenant(program: Program) -> None:
    program.feed()
    for tenant in ("acme", "other"):
        assert program("agents", "set", "x", "--tenant", tenant, "--channel", "sms").code == 0
    assert [row["tenant"] for row in program("agents", "list", "--json").json] == ["acme", "other"]
    assert [row["tenant"] for row in program("agents", "list", "--tenant", "other", "--json").json] == ["other"]


def test_what_cannot_be_is_refused(program: Program) -> None:
    program.feed()
    assert program("agents", "set", "x", *T, "--channel", "pigeon").code == 2
    assert program("agents", "set", "", *T, "--channel", "sms").err.startswith("error: schema_invalid: agent_id: ")
    assert program("agents", "remove", "x", *T).err.startswith("error: agent_unknown: ")


def test_a_record_that_another_client_placed_elsewhere_is_replaced_there(program: Program) -> None:
    """Which partition a key goes to is the writer's client's affair; two living records would contradict each other."""
    program.feed()
    for partition in range(3):
        program.place("agents.v1", partition, b"acme|x", {"tenant": TENANT, "agent_id": "x", "channels": ["voice"]})
    assert program("agents", "set", "x", *T, "--channel", "sms").code == 0
    program.feed(outbound("1", "x"))
    assert program("tail", "dlq").out == ""
    assert program("agents", "remove", "x", *T).code == 0
    assert program("agents", "list", "--json").json == []
