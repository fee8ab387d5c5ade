"""`tail` on embedded storage, which it reads to the end."""

from tests.e2e.embedded import TENANT, Program, saved, sms

ANN, BEN = "+27821234567", "+27820000000"


def test_updates_are_printed_once_each_in_order(program: Program) -> None:
    program.feed(saved("c1", ANN), sms("1", ANN), sms("2", BEN))
    updates = program("tail", "--json").lines
    assert len(updates) == 4
    by_conversation: dict[str, list[int]] = {}
    for update in updates:
        by_conversation.setdefault(update["conversation_id"], []).append(update["seq"])
    assert list(by_conversation.values()) == [[1, 2], [1, 2]]
    lines = program("tail").out.splitlines()
    assert len(lines) == 4
    assert any("interaction_added sms inbound received [open, c1] opened_for_contact" in line for line in lines)


def test_updates_are_narrowed(program: Program) -> None:
    program.feed(saved("c1", ANN), sms("1", ANN), sms("2", BEN))
    of_ann = program("tail", "--contact", "c1", "--json").lines
    assert {update["contact_id"] for update in of_ann} == {"c1"}
    conversation = of_ann[0]["conversation_id"]
    assert program("tail", "--conversation", conversation, "--json").lines == of_ann
    assert len(program("tail", "--tenant", TENANT, "--json").lines) == 4
    assert program("tail", "--tenant", "other").out == ""


def test_a_repeat_after_a_crash_is_dropped(program: Program) -> None:
    program.feed(sms("1", ANN))
    for partition, record in program.records("conversations.v1"):
        program.place_bytes("conversations.v1", partition, record.key, record.value or b"")
    assert len(list(program.records("conversations.v1"))) == 4
    assert [update["seq"] for update in program("tail", "--json").lines] == [1, 2]


def test_updates_of_contacts_have_no_seq(program: Program) -> None:
    program.feed(saved("c1", ANN), saved("c2", ANN))
    (conflict,) = program("tail", "--json", "--contact", "c2").lines
    assert conflict["type"] == "contact.conflict"
    assert f"contact c2 conflict tel:{ANN} belongs to c1" in program("tail").out


def test_dead_letters_are_told_without_what_they_hold(program: Program) -> None:
    program.feed(sms("1", ANN, status="vanished"))
    (letter,) = program("tail", "dlq", "--json").lines
    assert (letter["dlq_code"], letter["dlq_stage"]) == ("schema_invalid", "intake")
    assert letter["dlq_topic"] == "router.interactions.sms.v1"
    line = program("tail", "dlq").out
    assert "schema_invalid intake router.interactions.sms.v1/0@0" in line
    assert "82123" not in line


def test_filters_are_for_updates(program: Program) -> None:
    program.feed()
    ran = program("tail", "dlq", "--tenant", TENANT)
    assert ran.code == 2


def test_text_of_customers_cannot_drive_the_terminal(program: Program) -> None:
    program.feed(sms("1", ANN, text="\u202ehello\x1b[2J"))
    out = program("tail").out
    assert "hello" in out
    assert "\x1b" not in out
    assert "\u202e" not in out
