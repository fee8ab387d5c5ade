"""The files that ship the program are right by the rules of what reads them, and agree with each other."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def _pins(file: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / file).read_text()))


def test_the_dockerfile_has_no_fault_that_hadolint_knows() -> None:
    linted = _run(str(BIN / "hadolint"), "deploy/Dockerfile")
    assert linted.returncode == 0, linted.stdout


def test_the_compose_file_is_valid_by_the_specification() -> None:
    checked = _run(str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_image_has_every_file_that_its_recipe_copies() -> None:
    sent = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    recipe = (ROOT / "deploy/Dockerfile").read_text()
    copied = {source for line in re.findall(r"^COPY (?!--)(.*)$", recipe, re.MULTILINE) for source in line.split()[:-1]}
    assert copied == sent
    assert all((ROOT / source).exists() for source in copied)


def test_every_port_of_the_compose_file_is_on_loopback() -> None:
    ports = re.findall(r"ports: \[(.*)\]", (ROOT / "docker-compose.yml").read_text())
    assert ports
    assert all(port.strip().startswith('"127.0.0.1:') for line in ports for port in line.split(","))


def test_what_runs_is_what_was_tested() -> None:
    tested, runs = _pins("constraints.txt"), _pins("constraints-runtime.txt")
    assert runs.items() <= tested.items()


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-runtime.txt"])
def test_every_pin_has_its_hash_and_names_no_host(file: str) -> None:
    text = (ROOT / file).read_text()
    pins = re.split(r"\n(?=\S)", text.strip())
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", pin) for pin in pins)
    assert "://" not in text
    assert not re.search(r"^--", text, re.MULTILINE)


def test_the_pins_are_those_that_the_project_asks_for() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = asked["project"]
    pins = _pins("constraints.txt")
    for wanted in (
        *project["dependencies"],
        *project["optional-dependencies"]["dev"],
        *asked["build-system"]["requires"],
    ):
        name, version = re.sub(r"\[.*?\]", "", wanted).split("==")
        assert pins[name] == version, f"{wanted} is not in constraints.txt: run `make lock`"
