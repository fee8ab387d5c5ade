"""The files that ship the program are right by the rules of what reads them, and agree with each other."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from interaction_router.cli.invocation import Invocation
from interaction_router.telemetry import METRICS, PREFIX, RECEIVER_METRICS, full_name

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


def test_the_services_run_commands_that_there_are_with_settings_that_there_are() -> None:
    services = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]
    ours = [service for service in services.values() if service.get("image") == "interaction-router"]
    assert len(ours) == 4
    for service in ours:
        values = {
            name: str(value).replace("${GATEWAY_TOKEN:-", "").rstrip("}")
            for name, value in service["environment"].items()
        }
        settings = Invocation(env=values).settings()
        assert settings.kafka.bootstrap_servers == "kafka:19092"
        command = import_module(f"interaction_router.cli.{service['command'][0]}").noun
        for word in service["command"][1:]:
            command = command.get_command(click.Context(command), word)
        assert command is not None
        _asks_its_own_port(service, {6066: settings.worker.web_port, 8080: settings.receivers.http.port})


def _asks_its_own_port(service: dict[str, Any], ports: dict[int, int]) -> None:
    for published in service.get("ports", ()):
        inside = int(published.rpartition(":")[2])
        assert ports[inside] == inside
        assert f":{inside}/" in service["healthcheck"]["test"][-1]


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
        *(each for extra in project["optional-dependencies"].values() for each in extra),
        *asked["build-system"]["requires"],
    ):
        name, version = re.sub(r"\[.*?\]", "", wanted).split("==")
        assert pins[name] == version, f"{wanted} is not in constraints.txt: run `make lock`"


def test_every_alert_asks_for_metrics_that_there_are_and_names_its_runbook() -> None:
    rules = YAML(typ="safe").load(ROOT / "deploy/prometheus/alerts.yml")["groups"][0]["rules"]
    names = [rule["alert"] for rule in rules]
    assert len(set(names)) == len(names) > 5
    for rule in rules:
        _asks_for_what_is_there(rule["expr"])
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert (ROOT / rule["annotations"]["runbook"]).exists()


def test_every_panel_of_the_dashboard_asks_for_metrics_that_there_are() -> None:
    panels = json.loads((ROOT / "deploy/grafana/interaction-router.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (column, row)
        for panel in panels
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(places)) == len(places), "panels lie over each other"
    asked = {
        name for panel in panels for target in panel["targets"] for name in _asks_for_what_is_there(target["expr"])
    }
    told = {f"{PREFIX}{metric.name}" for metric in METRICS}
    assert told - asked == set(), "metrics that no panel shows"


def _asks_for_what_is_there(expression: str) -> set[str]:
    """Check the metrics and labels of an expression; return the metrics, without what Prometheus adds to a name."""
    told = {full_name(metric): metric for metric in (*METRICS, *RECEIVER_METRICS)}
    suffixed = {name + suffix: metric for name, metric in told.items() for suffix in ("_bucket", "_sum", "_count")}
    assert expression.count("(") == expression.count(")")
    found = set()
    for name, labels in re.findall(r"(interaction_router_\w+)(?:\{(.*?)\})?", expression):
        metric = told.get(name) or suffixed[name]
        assert set(re.findall(r'(\w+)=~?"', labels)) <= {*metric.labels, "instance"}, name
        found.add(f"{PREFIX}{metric.name}")
    return found
