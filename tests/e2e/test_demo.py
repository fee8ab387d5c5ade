"""`demo`, as somebody runs it who has just installed the program: no server, no settings."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "interaction_router"]
SHORT = ["demo", "--seconds", "3", "--rate", "20", "--seed", "1"]


def run(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *args], env=env or {}, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def told() -> subprocess.CompletedProcess[str]:
    return run(*SHORT)


def test_the_story_is_told_in_lines(told: subprocess.CompletedProcess[str]) -> None:
    done = told
    assert (done.returncode, done.stderr) == (0, "")
    out = done.stdout
    assert "\x1b" not in out
    assert "linked: the contact was saved" in out
    assert "linked: by hand" in out
    assert "closed: requested" in out
    assert "closed: superseded, goes on in #" in out
    assert "closed: idle" in out
    assert "seen before, nothing changes" in out
    assert "dead letter from interactions.sms.v1: malformed_json: " in out
    assert "dead letter from interactions.email.v1: schema_invalid: interaction_id: is required" in out
    assert "dead letter from interactions.whatsapp.v1: agent_not_qualified: " in out
    assert "opens a conversation, after #" in out
    assert "unforeseen               none" in out
    assert "p50 " in out


def test_what_it_says_to_try_next_is_there(told: subprocess.CompletedProcess[str]) -> None:
    tail = told.stdout.partition("Try next:\n")[2].splitlines()
    assert len(tail) >= 4
    for line in tail:
        command = line.partition(" # ")[0].split()
        assert command[0] == "interaction-router"
        options = [word for word in command if word.startswith("--")]
        helped = run(command[1], *(word for word in command[2:3] if not word.startswith("--")), "--help")
        assert helped.returncode == 0, line
        for option in options:
            assert option in helped.stdout, line


def test_json_gives_the_updates_and_what_else_happens() -> None:
    done = run(*SHORT, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    types = [line["type"] for line in lines]
    assert types[0] == "demo.started"
    assert types[-1] == "demo.summary"
    summary = lines[-1]
    assert types.count("conversation.opened") == summary["conversations_opened"] > 10
    assert types.count("demo.dead_letter") == sum(summary["dead_letters"].values())
    assert types.count("demo.duplicate") == summary["duplicates"] >= 2
    assert summary["unforeseen"] == {}
    assert {"requested", "superseded", "idle"} == set(summary["conversations_closed"])
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"]
    seqs: dict[str, int] = {}
    for line in lines:
        if "seq" in line:
            assert line["seq"] == seqs.get(line["conversation_id"], 0) + 1
            seqs[line["conversation_id"]] = line["seq"]


def test_a_terminal_gets_colours_unless_it_wants_none() -> None:
    assert "\x1b[" in _on_a_terminal({"TERM": "xterm-256color"})
    assert "\x1b" not in _on_a_terminal({"TERM": "xterm-256color", "NO_COLOR": "1"})


def _on_a_terminal(env: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen([*PROGRAM, *SHORT], env=env, stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            shown = b""
            while True:
                try:
                    part = os.read(ours, 65_536)
                except OSError:  # Linux says so that the other side is closed
                    break
                if not part:
                    break
                shown += part
        assert process.returncode == 0
        return shown.decode()
    finally:
        os.close(ours)


def test_data_are_kept_and_the_same_story_again_changes_nothing(tmp_path: Path) -> None:
    first = run(*SHORT, "--data", str(tmp_path / "new"), "--json")
    assert first.returncode == 0
    again = run(*SHORT, "--data", str(tmp_path / "new"), "--json")
    assert again.returncode == 0
    summary = json.loads(again.stdout.splitlines()[-1])
    assert summary["conversations_opened"] == 0
    assert summary["updates_seen"] == 0
    assert summary["dead_letters"] == json.loads(first.stdout.splitlines()[-1])["dead_letters"]
    other = run("demo", "--seconds", "2", "--seed", "2", "--data", str(tmp_path / "new"))
    assert ", opens a conversation" in other.stdout
    hints = [line.partition(" # ")[0] for line in other.stdout.partition("Try next:\n")[2].splitlines()]
    listing = next(hint for hint in hints if "conversations list" in hint).split()[1:]
    assert len(run(*listing).stdout.splitlines()) > 10


def test_keep_running_ends_with_a_summary_on_ctrl_c() -> None:
    args = [*PROGRAM, "demo", "--seconds", "2", "--rate", "50", "--keep-running", "--json"]
    with subprocess.Popen(args, env={}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = 0
        for line in process.stdout:
            if json.loads(line)["type"] == "conversation.interaction_added":
                seen += 1
            if seen == 150:  # more than two seconds have
                process.send_signal(2)
                break
        rest = process.stdout.read().splitlines()
    assert process.returncode == 0
    assert json.loads(rest[-1])["type"] == "demo.summary"


def test_a_data_folder_in_use_is_said_so(tmp_path: Path) -> None:
    args = [*PROGRAM, "demo", "--keep-running", "--json", "--data", str(tmp_path)]
    with subprocess.Popen(args, env={}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while json.loads(process.stdout.readline())["type"] == "demo.started":
            pass
        second = run(*SHORT, "--data", str(tmp_path))
        process.terminate()
        process.stdout.read()
    assert second.returncode == 1
    assert second.stderr.startswith("error: embedded_locked: ")
    assert process.returncode == 0
