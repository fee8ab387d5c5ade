"""`conversations` on embedded storage: what is listed, why it is so, and what becomes of a command."""

import pytest

from tests.e2e.embedded import TENANT, Program, Ran, saved, sms

ANN, BEN = "+27821234567", "+27820000000"
T = ("--tenant", TENANT)


@pytest.fixture
def fed(program: Program) -> Program:
    """Ann writes twice, saved in between; Ben, unsaved, once."""
    program.feed(sms("1", ANN, text="Hello there"), saved("c1", ANN), sms("2", ANN), sms("3", BEN))
    return program


def listed(program: Program, *options: str) -> list[dict[str, object]]:
    ran = program("conversations", "list", "--tenant", TENANT, "--json", *options)
    assert ran.code == 0, ran.err
    rows: list[dict[str, object]] = ran.json
    return rows


def id_of(program: Program, address: str) -> str:
    (row,) = listed(program, "--address", address)
    return str(row["conversation_id"])


def test_list_shows_the_newest_activity_first(fed: Program) -> None:
    rows = listed(fed)
    assert [(row["endpoint"], row["status"], row["contact_id"]) for row in rows] == [
        (f"tel:{BEN}", "open", None),
        (f"tel:{ANN}", "open", "c1"),
    ]
    assert rows[1]["interaction_count"] == 2
    table = fed("conversations", "list", "--tenant", TENANT).out.splitlines()
    assert table[0].split()[:3] == ["CONVERSATION", "STATUS", "CONTACT"]
    assert table[1].split()[:4] == [rows[0]["conversation_id"], "open", "-", f"tel:{BEN}"]


def test_list_narrows_by_status_contact_and_address(fed: Program) -> None:
    ann, ben = id_of(fed, ANN), id_of(fed, "27 82 000 0000".replace("27 ", "+27 "))
    assert fed("conversations", "close", ben).code == 0
    assert [row["conversation_id"] for row in listed(fed, "--status", "open")] == [ann]
    assert [row["conversation_id"] for row in listed(fed, "--status", "closed")] == [ben]
    assert [row["conversation_id"] for row in listed(fed, "--contact", "c1")] == [ann]
    assert listed(fed, "--contact", "c1", "--status", "closed") == []
    assert listed(fed, "--contact", "c2") == []
    assert [row["conversation_id"] for row in listed(fed, "--limit", "1")] == [ben]


def test_list_keeps_tenants_apart_and_needs_one(fed: Program) -> None:
    assert fed("conversations", "list", "--tenant", "other") == (0, "", "no conversations\n")
    ran = fed("conversations", "list")
    assert (ran.code, ran.out) == (2, "")
    assert "--tenant" in ran.err


def test_list_pages_through_more_than_is_asked_for(program: Program) -> None:
    program.feed(*(sms(str(nth), f"+2782000{nth:04}") for nth in range(30)))
    every = [row["conversation_id"] for row in listed(program)]
    assert len(set(every)) == 30
    for conversation_id in every[::2]:
        assert program("conversations", "close", str(conversation_id), "--wait", "0", "--tenant", TENANT).code == 0
    program.feed()
    assert len(listed(program, "--status", "closed")) == 15
    assert [row["conversation_id"] for row in listed(program, "--status", "open")] == every[1::2]
    assert [row["conversation_id"] for row in listed(program, "--status", "open", "--limit", "4")] == every[1:8:2]


def test_an_address_that_cannot_be_is_refused(fed: Program) -> None:
    ran = fed("conversations", "list", "--tenant", TENANT, "--address", "12")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: address_invalid: ")


def test_show_tells_why_with_the_record_before_and_after(fed: Program) -> None:
    shown = fed("conversations", "show", id_of(fed, ANN), "--json").json
    assert (shown["seq"], shown["contact_id"], shown["channels"]) == (4, "c1", {"sms": 2})
    by_seq = {step["update"]["seq"]: step for step in shown["timeline"]}
    assert [by_seq[seq]["update"]["cause"]["rule"] for seq in (1, 2, 3, 4)] == [
        "opened_unlinked",
        "opened_unlinked",
        "saved",
        "joined_open_conversation",
    ]
    assert by_seq[3]["update"]["cause"]["topic"] == "router.contacts.v1"
    assert by_seq[3]["before"] == {"status": "open", "contact_id": None}
    assert by_seq[3]["after"] == {"status": "open", "contact_id": "c1"}
    assert by_seq[1]["before"] == {"status": None, "contact_id": None}
    assert by_seq[4]["update"]["cause"]["offset"] == 1


def test_show_orders_interactions_as_they_happened(program: Program) -> None:
    program.feed(
        saved("c1", ANN),
        sms("late", ANN, occurred_at="2026-11-22T10:00:02Z"),
        sms("early", ANN, occurred_at="2026-11-22T10:00:01Z"),
        sms("equal", ANN, occurred_at="2026-11-22T10:00:02Z"),
    )
    steps = program("conversations", "show", id_of(program, ANN), "--json").json["timeline"]
    shown = [step["update"].get("interaction", {}).get("interaction_id") for step in steps]
    assert shown == [None, "early", "late", "equal"]


def test_show_prints_a_line_an_update(fed: Program) -> None:
    lines = fed("conversations", "show", id_of(fed, ANN)).out.splitlines()
    start = next(nth for nth, line in enumerate(lines) if line.startswith("SEQ"))
    steps = {line.split()[0]: line for line in lines[start + 1 :]}
    assert set(steps) == {"1", "2", "3", "4"}
    assert "saved: a contact was saved" in steps["3"]
    assert "router.contacts.v1/0@0" in steps["3"]
    assert "- → c1" in steps["3"]
    assert "sms inbound received 'Hello there'" in steps["2"]


@pytest.mark.parametrize("name", ["nope", "00000000-0000-8000-8000-000000000000"])
def test_an_unknown_id_is_said_to_be_unknown(fed: Program, name: str) -> None:
    for args in (("show", name), ("close", name), ("close", name, "--tenant", TENANT), ("unlink", name)):
        ran = fed("conversations", *args)
        assert (ran.code, ran.out) == (1, "")
        assert ran.err.startswith("error: conversation_unknown: "), args


def test_a_conversation_of_another_tenant_is_unknown(fed: Program) -> None:
    ann = id_of(fed, ANN)
    for args in (("show", ann), ("close", ann)):
        ran = fed("conversations", *args, "--tenant", "other")
        assert (ran.code, ran.err.split()[1]) == (1, "conversation_unknown:")
    assert listed(fed, "--contact", "c1")[0]["status"] == "open"


def test_close_tells_the_update_and_closes_once(fed: Program) -> None:
    ann = id_of(fed, ANN)
    ran = fed("conversations", "close", ann, "--reason", "done with it", "--json")
    assert ran.code == 0
    (update,) = ran.json["updates"]
    assert (update["type"], update["reason"], update["seq"]) == ("conversation.closed", "requested", 5)
    assert update["cause"] == {
        "topic": ran.json["topic"],
        "partition": ran.json["partition"],
        "offset": ran.json["offset"],
        "rule": "requested",
    }
    again = fed("conversations", "close", ann)
    assert (again.code, again.out) == (1, "")
    assert again.err == "error: conversation_closed: conversation_id: the conversation is closed already.\n"
    assert fed("conversations", "close", ann, "--json").err.startswith('{"error":"conversation_closed"')


def test_a_command_id_seen_before_changes_nothing(fed: Program) -> None:
    ann = id_of(fed, ANN)
    assert fed("conversations", "close", ann, "--command-id", "k1").code == 0
    again: Ran = fed("conversations", "close", ann, "--command-id", "k1")
    assert again == (0, "", "done before: nothing changed\n")


def test_link_and_unlink_by_hand(fed: Program) -> None:
    ben = id_of(fed, BEN)
    linked = fed("conversations", "link", ben, "c1", "--json")
    assert [(update["type"], update["contact_id"]) for update in linked.json["updates"]] == [
        ("conversation.closed", None),
        ("conversation.linked", "c1"),
    ]
    assert fed("conversations", "link", ben, "c1").err.startswith("error: conversation_linked: ")
    assert fed("conversations", "link", id_of(fed, ANN), "c9").err.startswith("error: contact_unknown: ")
    assert fed("conversations", "unlink", id_of(fed, ANN)).err.startswith("error: not_linked_by_hand: ")
    unlinked = fed("conversations", "unlink", ben, "--json")
    assert [update["type"] for update in unlinked.json["updates"]] == ["conversation.unlinked"]
    assert listed(fed, "--address", BEN)[0]["contact_id"] is None


def test_not_waiting_writes_and_says_where(fed: Program) -> None:
    ann = id_of(fed, ANN)
    ran = fed("conversations", "close", ann, "--wait", "0")
    assert (ran.code, ran.out) == (0, "")
    assert "written at router.commands.v1/" in ran.err
    fed.feed()
    assert listed(fed, "--contact", "c1")[0]["status"] == "closed"


def test_of_an_erased_one_only_the_skeleton_is_shown(fed: Program) -> None:
    ann = id_of(fed, ANN)
    assert fed("contacts", "erase", "c1", "--tenant", TENANT, "--yes").code == 0
    for ran in (fed("conversations", "show", ann), fed("conversations", "show", ann, "--json")):
        assert ran.code == 0
        for personal in ("Hello", "82123", "c1"):
            assert personal not in ran.out
    steps = fed("conversations", "show", ann, "--json").json["timeline"]
    assert [step["update"]["type"] for step in steps][-1] == "conversation.erased"
    assert fed("conversations", "close", ann, "--tenant", TENANT).err.startswith("error: conversation_unknown: ")


def test_a_directory_without_storage_is_named(program: Program) -> None:
    for args in (("list", "--tenant", TENANT), ("show", "x"), ("close", "x")):
        ran = program("conversations", *args)
        assert ran.code == 1
        assert ran.err.startswith("error: embedded_missing: ")
        assert not program.data.exists()


@pytest.mark.parametrize("narrow", [(), ("--status", "open"), ("--address", "+27821234567")])
def test_list_by_pages(program: Program, narrow: tuple[str, ...]) -> None:
    program.feed(*(sms(str(number), "+27821234567") for number in range(11)))
    whole = [row["conversation_id"] for row in program("conversations", "list", *T, *narrow, "--json").json]
    found: list[str] = []
    while page := program(
        "conversations", "list", *T, *narrow, "--limit", "4", *(("--after", found[-1]) if found else ()), "--json"
    ).json:
        found += [row["conversation_id"] for row in page]
    assert len(whole) == 11
    assert found == whole
    ran = program("conversations", "list", *T, "--after", "00000000-0000-8000-8000-000000000000")
    assert (ran.code, ran.err.split()[1]) == (1, "conversation_unknown:")
