"""What every command has in common: help, global options, exit codes, errors."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from interaction_router import __version__
from interaction_router.cli.app import router, run
from interaction_router.cli.faults import exit_code
from interaction_router.cli.invocation import Invocation
from interaction_router.cli.nouns import NOUNS
from interaction_router.domain.errors import FatalError, RejectedError, RetryableError, RouterError
from interaction_router.settings import Problem, SettingsError
from interaction_router.settings.problems import DEFAULT


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str]) -> "Program":
    return Program(capsys)


class Program:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *args: str, env: Mapping[str, str] | None = None) -> Ran:
        code = run(args, Invocation(env=env or {}))
        return Ran(code, *self.capsys.readouterr())


def test_help_names_every_noun_and_every_exit_code(program: Program) -> None:
    ran = program("--help")
    assert ran.code == 0
    for name, noun in NOUNS.items():
        assert name in ran.out
        assert noun.summary in " ".join(ran.out.split())
    for code in ("0 done", "1 it found", "2 usage", "69 a server", "78 bad"):
        assert code in ran.out


@pytest.mark.parametrize("name", list(NOUNS))
def test_a_noun_is_its_file_and_its_line(name: str) -> None:
    command = router.get_command(click.Context(router), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(limit=200) == NOUNS[name].summary


def test_version(program: Program) -> None:
    assert program("--version") == (0, f"interaction-router {__version__}\n", "")


def test_no_command_prints_the_help_as_wrong_usage(program: Program) -> None:
    for args in ((), ("config",)):
        ran = program(*args)
        assert (ran.code, ran.out) == (2, "")
        assert "Usage: interaction-router" in ran.err
        assert "--help" in ran.err


def test_a_mistyped_command_is_answered_with_the_near_one(program: Program) -> None:
    ran = program("confg")
    assert ran.code == 2
    assert ran.err == "error: usage: there is no command 'confg'; did you mean config? Try interaction-router --help.\n"
    assert "did you mean check?" in program("config", "chek").err


def test_a_mistyped_option_is_answered_with_the_near_one(program: Program) -> None:
    ran = program("config", "show", "--chnged")
    assert ran.code == 2
    assert "did you mean --changed?" in ran.err


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_a_number_is_a_finite_one(program: Program, number: str) -> None:
    for command in (
        ("demo", "--seconds", number),
        ("demo", "--rate", number),
        ("simulate", "--seconds", number),
        ("simulate", "--poison", number),
        ("replay", "updates", "--to", "a.b", "--rate", number),
        ("conversations", "close", "x", "--wait", number),
    ):
        ran = program(*command)
        assert (ran.code, ran.out, ran.err.split()[1]) == (2, "", "usage:"), command


def test_choices_are_listed_on_the_line_of_the_error(program: Program) -> None:
    ran = program("completion")
    assert ran.code == 2
    assert "Choose from: bash, zsh, fish." in ran.err


@pytest.mark.usefixtures("log_of_its_own")
@pytest.mark.parametrize("protocol", ["smtp", "imap", "ami", "esl"])
def test_a_receiver_without_a_tenant_is_bad_configuration(program: Program, protocol: str) -> None:
    ran = program("receive", protocol)
    assert (ran.code, ran.err.split()[1]) == (78, "nothing_to_receive:")


def test_a_mailbox_without_a_place_to_keep_how_far_it_is_read_is_bad_configuration(program: Program) -> None:
    tenant = "INTERACTION_ROUTER_TENANTS__ACME__IMAP"
    env = {f"{tenant}__HOST": "imap.example", f"{tenant}__USERNAME": "ann", f"{tenant}__PASSWORD": "secret"}
    ran = program("receive", "imap", env=env)
    assert (ran.code, ran.err.split()[1]) == (78, "state_unset:")


def test_wrong_usage_is_json_where_json_was_asked(program: Program) -> None:
    ran = program("config", "shw", "--json")
    assert ran.code == 2
    assert json.loads(ran.err)["error"] == "usage"


@pytest.mark.parametrize(
    "args", [("--set", "namespace=a", "config", "show"), ("config", "show", "--set", "namespace=a")]
)
def test_global_options_stand_before_or_after_the_noun(program: Program, args: tuple[str, ...]) -> None:
    (row,) = json.loads(program(*args, "--changed", "--json").out)
    assert row == {"setting": "namespace", "value": "a", "source": "flag", "at": "namespace"}


def test_config_stands_before_or_after_the_noun(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "router.toml"
    path.write_text('namespace = "b"\n', encoding="utf-8")
    for args in (("--config", str(path), "config", "show"), ("config", "show", "--config", str(path))):
        assert "router.toml line 1" in program(*args, "--changed").out


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Go through all commands that are no groups."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield *path, name


@pytest.mark.parametrize("command", list(commands(router)), ids=" ".join)
def test_every_command_takes_the_global_options(program: Program, command: tuple[str, ...]) -> None:
    told = program(*command, "--help").out
    assert "--config FILE" in told
    assert "--set NAME=VALUE" in told


@pytest.mark.parametrize("name", list(NOUNS))
def test_no_line_of_a_help_is_cut_off(program: Program, name: str) -> None:
    """What click has no room for it would end with three dots."""
    assert "..." not in program(name, "--help").out.partition("Commands:")[2]


def test_settings_that_are_piped_in_are_the_same_however_often_a_command_asks() -> None:
    """As of `--config <(sops --decrypt router.toml)`: whoever read them again would find none, and take the defaults."""
    reading, writing = os.pipe()
    os.write(writing, b'namespace = "b"\n')
    os.close(writing)
    try:
        invocation = Invocation(env={}, config_file=Path(f"/dev/fd/{reading}"))
        assert [invocation.settings().namespace, invocation.settings().namespace] == ["b", "b"]
    finally:
        os.close(reading)


def test_set_without_a_value_is_wrong_usage(program: Program) -> None:
    ran = program("config", "show", "--set", "namespace")
    assert (ran.code, "NAME=VALUE" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError([Problem("a", DEFAULT, "b")]), 78),
        (RetryableError("kafka_unavailable", "no broker answers."), 69),
        (FatalError("lineage_differs", "the topic was made anew."), 1),
        (RejectedError("conversation_closed", "it is closed"), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: RouterError, code: int) -> None:
    assert exit_code(error) == code


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `completion` fail as a command does that finds no broker."""

    def fail() -> None:
        raise RetryableError(
            "kafka_unavailable", "no broker answers at 127.0.0.1:9092\x1b[2J", "Start it, or set another."
        )

    monkeypatch.setattr("interaction_router.cli.completion.noun", click.Command("completion", callback=fail))


@pytest.mark.usefixtures("failing")
def test_an_error_is_told_with_code_cause_and_what_to_do(program: Program) -> None:
    ran = program("completion")
    assert ran == (
        69,
        "",
        "error: kafka_unavailable: no broker answers at 127.0.0.1:9092\ufffd[2J. Start it, or set another.\n",
    )


def test_an_error_is_one_json_line_where_json_was_asked(program: Program) -> None:
    ran = program("config", "check", "--json", env={"INTERACTION_ROUTER_NAMESPCE": "x"})
    assert (ran.code, ran.out) == (78, "")
    assert ran.err.count("\n") == 1
    told = json.loads(ran.err)
    assert told["error"] == "settings_invalid"
    assert told["problems"] == [
        {
            "setting": "namespce",
            "place": "environment",
            "at": "INTERACTION_ROUTER_NAMESPCE",
            "cause": "there is no such setting",
            "did_you_mean": "INTERACTION_ROUTER_NAMESPACE",
        }
    ]


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_a_command_returns_whether_it_found_a_fault(
    program: Program, monkeypatch: pytest.MonkeyPatch, returned: int | None, code: int
) -> None:
    command = click.Command("completion", callback=lambda: returned)
    monkeypatch.setattr("interaction_router.cli.completion.noun", command)
    assert program("completion").code == code


def test_an_interrupt_ends_the_run_quietly(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("interaction_router.cli.completion.noun", click.Command("completion", callback=interrupt))
    ran = program("completion")
    assert (ran.code, ran.out) == (130, "")


@pytest.mark.parametrize("shell", ["zsh", "fish", "bash"])
def test_completion_scripts_call_the_program(program: Program, shell: str) -> None:
    ran = program("completion", shell)
    assert ran.code == 0
    assert "_INTERACTION_ROUTER_COMPLETE" in ran.out


def test_the_completion_completes_nouns() -> None:
    env = {
        **os.environ,
        "_INTERACTION_ROUTER_COMPLETE": "bash_complete",
        "COMP_WORDS": "interaction-router conf",
        "COMP_CWORD": "1",
    }
    ran = subprocess.run(
        [sys.executable, "-m", "interaction_router"], env=env, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["plain,config"]


def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "interaction_router", "config", "docs"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_full_disk_behind_standard_output_is_told_in_one_line(form: Sequence[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "interaction_router", "config", "show", *form],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    assert "disk_full" in ran.stderr


def test_a_closed_standard_input_answers_nothing() -> None:
    command = f"{shlex.quote(sys.executable)} -m interaction_router contacts erase c1 --tenant acme <&-"
    ran = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert (ran.returncode, "Traceback" in ran.stderr) == (2, False)
    assert "give --yes" in ran.stderr


def test_a_closed_standard_output_is_no_error() -> None:
    command = f"{shlex.quote(sys.executable)} -m interaction_router config show >&-"
    ran = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_what_is_printed_is_utf_8_whatever_the_locale(form: Sequence[str]) -> None:
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "interaction_router",
            "config",
            "show",
            "--set",
            'tenants.acme.addresses=["jörg@x.y"]',
            *form,
        ],
        env={**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "1"},
        capture_output=True,
        check=True,
    )
    assert "jörg@x.y" in ran.stdout.decode()


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_an_argument_that_is_no_utf_8_is_wrong_usage(program: Program, form: Sequence[str]) -> None:
    name = os.fsdecode(b"J\xf6rg")
    ran = program("contacts", "save", "c1", "--tenant", "acme", "--name", name, "--no-addresses", *form)
    assert ran.code == 2
    assert ran.out == ""
    assert "UTF-8" in ran.err


def test_help_loads_no_noun_and_nothing_slow() -> None:
    code = (
        "import sys; from interaction_router.cli.app import run; from interaction_router.cli.invocation import Invocation; "
        "run(['--help'], Invocation(env={})); "
        "print([m for m in ('pydantic', 'rich', 'faust', 'aiokafka', 'redis', 'phonenumbers', 'asyncio') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
