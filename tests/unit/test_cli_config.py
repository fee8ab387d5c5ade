"""`config check`, `config show`, `config docs`, and how tables and JSON are printed."""

import json
from pathlib import Path

import pytest

from interaction_router.cli.app import run
from interaction_router.cli.invocation import Invocation
from interaction_router.cli.output import Output, cell
from interaction_router.settings.page import reference_page

SECRET = "hunter2-hunter2"


def test_check_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "check"], Invocation(env={"INTERACTION_ROUTER_NAMESPACE": "a"})) == 0
    assert capsys.readouterr().out == "valid: 1 set, all others at their defaults\n"
    assert run(["config", "check", "--json"], Invocation(env={})) == 0
    assert json.loads(capsys.readouterr().out) == {"valid": True, "places": []}


def test_check_lists_every_fault_on_a_line_of_its_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "router.toml"
    path.write_text("late_grace = 'soon'\n", encoding="utf-8")
    env = {"INTERACTION_ROUTER_NAMESPCE": "x"}
    assert run(["config", "check", "--config", str(path), "--set", "log.level=loud"], Invocation(env=env)) == 78
    out, err = capsys.readouterr()
    assert out == ""
    first, *faults, advice = err.splitlines()
    assert first == "error: settings_invalid: 3 faults in the settings:"
    assert len(faults) == 3
    assert any("late_grace" in fault and "line 1" in fault for fault in faults)
    assert any("did you mean INTERACTION_ROUTER_NAMESPACE?" in fault for fault in faults)
    assert any("'debug', 'info', 'warning' or 'error'" in fault for fault in faults)
    assert "config docs" in advice


def test_show_prints_every_setting_with_its_source_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    env = {"INTERACTION_ROUTER_REDIS__URL": f"redis://:{SECRET}@redis:6379/0"}
    assert run(["config", "show"], Invocation(env=env)) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert rows["SETTING"] == ["VALUE", "SOURCE", "AT"]
    assert rows["redis.url"] == ["redis://***@redis:6379/0", "environment", "INTERACTION_ROUTER_REDIS__URL"]
    assert rows["dedup_window"] == ["P7D", "default", "-"]
    assert SECRET not in out


def test_show_is_json_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show", "--json"], Invocation(env={})) == 0
    rows = {row["setting"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["channels"]["value"] == ["voice", "email", "sms", "whatsapp", "chat"]
    assert rows["kafka.ssl_check_hostname"]["value"] is True
    assert rows["default_region"] == {"setting": "default_region", "value": None, "source": "default", "at": None}


def test_show_of_what_is_changed_says_so_where_nothing_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show", "--changed"], Invocation(env={})) == 0
    assert capsys.readouterr() == ("", "every setting is at its default\n")


def test_docs_print_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "docs"], Invocation(env={})) == 0
    assert capsys.readouterr().out == reference_page()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ([], "-"),
        (True, "yes"),
        (0, "0"),
        (["a", None], "a, -"),
        ({"voice": 2, "sms": 1}, "voice 2, sms 1"),
        ("a\x1b[31mb\u202ec\nd", "a\ufffd[31mb\ufffdc\ufffdd"),
        ("[bold]👩\u200d👧[/]", "[bold]👩\u200d👧[/]"),
    ],
)
def test_a_cell_shows_a_value_and_obeys_none(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_a_table_in_a_pipe_has_each_row_whole_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table([{"a": "x" * 300, "b": "[red]y[/red]", "hidden": 1}], {"a": "first", "b": "second"})
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["FIRST", "SECOND"]
    assert row.split() == ["x" * 300, "[red]y[/red]"]


def test_records_and_lines_are_text_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    Output().record({"name": "Ann", "n": 1})
    Output().line("seq 1\x07", {"seq": 1})
    assert capsys.readouterr().out.splitlines() == ["name  Ann", "n     1", "seq 1\ufffd"]
    Output(as_json=True).record({"name": "Ann"})
    assert json.loads(capsys.readouterr().out) == {"name": "Ann"}
    Output(as_json=True).line("seq 1", {"seq": 1})
    assert capsys.readouterr().out == '{"seq":1}\n'
    Output(as_json=True).table([], {"a": "a"})
    assert json.loads(capsys.readouterr().out) == []
