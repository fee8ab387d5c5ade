"""`doctor` on embedded storage."""

from tests.e2e.embedded import Program, saved, sms


def test_a_storage_is_well_missing_or_in_use(program: Program) -> None:
    ran = program("doctor", "--json")
    assert (ran.code, ran.json[0]["verdict"]) == (1, "fail")
    assert "topics apply" in ran.json[0]["advice"]
    program.feed(saved("c1", "+27821234567"), sms("1", "+27821234567"))
    ran = program("doctor", "--json")
    assert ran.code == 0
    assert {row["subject"]: row["verdict"] for row in ran.json} == {
        "storage": "ok",
        "tables": "ok",
        "clock against the log": "ok",
    }


def test_records_that_nobody_has_decided_are_counted(program: Program) -> None:
    program.feed()
    program.place("internal.log", 0, b"k", {})
    ran = program("doctor", "--json")
    (row,) = [row for row in ran.json if row["subject"] == "tables"]
    assert (ran.code, row["verdict"], row["found"]) == (0, "warn", "1 records are not decided yet")
