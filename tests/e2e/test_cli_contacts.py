"""`contacts` on embedded storage."""

import io

import pytest

from tests.e2e.embedded import TENANT, Program, saved, sms

ANN, BEN = "+27821234567", "+27820000000"
T = ("--tenant", TENANT)


@pytest.fixture
def fed(program: Program) -> Program:
    program.feed(saved("c1", ANN, "ann@example.com"), sms("1", ANN), sms("2", BEN))
    return program


def shown(program: Program, contact: str) -> dict[str, object]:
    ran = program("contacts", "show", contact, *T, "--json")
    assert ran.code == 0, ran.err
    fields: dict[str, object] = ran.json
    return fields


def test_show_and_find(fed: Program) -> None:
    contact = shown(fed, "c1")
    assert contact["name"] == "Ann"
    assert contact["state"] == "live"
    assert contact["addresses"] == [f"tel:{ANN}", "mailto:ann@example.com"]
    assert contact["open_conversation_id"]
    assert fed("contacts", "find", "Ann@EXAMPLE.com", *T, "--json").json == contact
    for args in (("show", "c9"), ("find", BEN)):
        ran = fed("contacts", *args, *T)
        assert (ran.code, ran.err.split()[1]) == (1, "contact_unknown:")


def test_save_links_what_was_unlinked(fed: Program) -> None:
    ran = fed("contacts", "save", "c2", *T, "--name", "Ben", "--address", BEN, "--json")
    assert ran.code == 0
    assert [(update["type"], update["by"]) for update in ran.json["updates"]] == [("conversation.linked", "save")]
    assert shown(fed, "c2")["addresses"] == [f"tel:{BEN}"]


def test_national_numbers_are_those_of_the_region(fed: Program) -> None:
    env = {"INTERACTION_ROUTER_DEFAULT_REGION": "ZA"}
    assert fed("contacts", "save", "c2", *T, "--address", "082 000 0000", env=env).code == 0
    assert shown(fed, "c2")["addresses"] == [f"tel:{BEN}"]


def test_save_that_changes_nothing_for_subscribers_is_done(fed: Program) -> None:
    assert fed("contacts", "save", "c3", *T, "--no-addresses", "--name", "Cy") == (0, "", "done\n")
    assert shown(fed, "c3")["name"] == "Cy"


def test_save_tells_a_conflict_and_keeps_the_rest(fed: Program) -> None:
    ran = fed("contacts", "save", "c2", *T, "--address", ANN, "--address", BEN, "--json")
    assert ran.code == 0
    assert {update["type"] for update in ran.json["updates"]} == {"contact.conflict", "conversation.linked"}
    contact = shown(fed, "c2")
    assert (contact["addresses"], contact["addresses_of_others"]) == ([f"tel:{BEN}"], [f"tel:{ANN}"])


def test_save_needs_addresses_or_their_absence(fed: Program) -> None:
    for args in ((), ("--no-addresses", "--address", ANN)):
        ran = fed("contacts", "save", "c1", *T, *args)
        assert ran.code == 2
        assert "--no-addresses" in ran.err


def test_what_cannot_be_right_is_refused_before_it_is_written(fed: Program) -> None:
    ran = fed("contacts", "save", "c2", *T, "--address", "12")
    assert (ran.code, ran.err.split(maxsplit=3)[1:3]) == (1, ["address_invalid:", "addresses.0:"])
    assert fed("contacts", "delete", "x" * 513, *T).err.startswith("error: schema_invalid: contact_id: ")
    assert fed("tail", "dlq").out == ""


def test_delete_and_its_repeat(fed: Program) -> None:
    ran = fed("contacts", "delete", "c1", *T)
    assert ran.code == 0
    assert "closed contact_deleted" in ran.out
    assert shown(fed, "c1")["state"] == "deleted"
    again = fed("contacts", "delete", "c1", *T)
    assert (again.code, again.err) == (1, "error: contact_unknown: contact_id: no contact of this id is saved.\n")


def test_merge_makes_an_alias(fed: Program) -> None:
    assert fed("contacts", "save", "c2", *T, "--address", BEN).code == 0
    ran = fed("contacts", "merge", "c1", "c2", *T, "--json")
    assert ran.code == 0
    assert "contact.merged" in {update["type"] for update in ran.json["updates"]}
    assert (shown(fed, "c1")["state"], shown(fed, "c1")["alias_of"]) == ("alias", "c2")
    assert shown(fed, "c2")["aliases"] == ["c1"]
    assert fed("contacts", "merge", "c2", "c1", *T).err.startswith("error: contact_merge_cycle: ")


def test_erase_leaves_no_name_and_no_address(fed: Program) -> None:
    ran = fed("contacts", "erase", "c1", *T, "--yes", "--json")
    assert [update["type"] for update in ran.json["updates"]] == ["conversation.closed", "conversation.erased"]
    contact = shown(fed, "c1")
    assert (contact["state"], contact["name"], contact["addresses"]) == ("erased", None, [])
    assert fed("contacts", "erase", "c9", *T, "--yes").err.startswith("error: contact_unknown: ")


def test_erase_asks(fed: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")
    assert fed("contacts", "erase", "c1", *T).code == 130
    assert shown(fed, "c1")["state"] == "live"


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 130), ("", 2)])
def test_erase_takes_an_answer_from_a_pipe(
    fed: Program, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    """One that ends without an answer names the flag."""
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    ran = fed("contacts", "erase", "c1", *T)
    assert ran.code == code
    assert ("give --yes" in ran.err) is (code == 2)
    assert shown(fed, "c1")["state"] == ("live" if code else "erased")


def test_list_by_pages_by_tenant(program: Program) -> None:
    """By id, also where many begin alike; those that are gone only with --all."""
    ids = [f"customer-{number:03}" for number in range(25)]
    stream, other = saved("z1")
    program.feed(*(saved(each) for each in reversed(ids)), saved("b"), (stream, {**other, "tenant": "other"}))
    program.feed((stream, {"tenant": TENANT, "type": "contact.deleted", "contact_id": "customer-003"}))
    found: list[str] = []
    while page := program("contacts", "list", *T, "--limit", "7", "--after", found[-1] if found else "", "--json").json:
        found += [row["contact_id"] for row in page]
    assert found == ["b", *(each for each in ids if each != "customer-003")]
    rows = program("contacts", "list", *T, "--all", "--json").json
    assert [row["state"] for row in rows if row["contact_id"] == "customer-003"] == ["deleted"]
    ran = program("contacts", "list", *T, "--limit", "1")
    assert (ran.code, ran.out.split()[:2], ran.err) == (0, ["CONTACT", "STATE"], "there may be more: --after b\n")
    assert program("contacts", "list", "--tenant", "nobody") == (0, "", "no contacts\n")
