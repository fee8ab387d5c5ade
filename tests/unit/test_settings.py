"""Where settings come from, which one stands, and what is never shown of them."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

import interaction_router
from interaction_router.settings import (
    Settings,
    SettingsError,
    format_duration,
    load_settings,
    parse_duration,
    resolve_settings,
)
from interaction_router.settings.names import leaves, shape_of, variable
from interaction_router.settings.page import reference_page

SECRET = "hunter2-hunter2"
PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def from_env(**variables: str) -> Settings:
    return load_settings({f"INTERACTION_ROUTER_{name}": value for name, value in variables.items()}, None, {})


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "router.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_set_gives_the_contracts_defaults() -> None:
    settings = load_settings({}, None, {})
    assert settings.namespace == "router"
    assert settings.channels == ("voice", "email", "sms", "whatsapp", "chat")
    assert settings.unqualified == "reject"
    assert settings.dedup_window == timedelta(days=7)
    assert settings.late_grace == timedelta(minutes=10)
    assert settings.idle_close == {}
    assert settings.redis.url.get_secret_value() == "redis://127.0.0.1:6379/0"
    assert settings.kafka.bootstrap_servers == "127.0.0.1:9092"


def test_settings_cannot_be_changed() -> None:
    settings = load_settings({}, None, {})
    with pytest.raises(ValidationError, match="frozen"):
        settings.kafka.client_id = "other"  # type: ignore[misc]


def test_each_source_stands_above_the_one_before(tmp_path: Path) -> None:
    path = toml(
        tmp_path,
        'namespace = "file"\nunqualified = "flag"\n[kafka]\nclient_id = "file"\n[worker]\nweb_port = 1\n',
    )
    env = {
        "INTERACTION_ROUTER_NAMESPACE": "environment",
        "INTERACTION_ROUTER_KAFKA__CLIENT_ID": "environment",
        "SHELL": "/bin/sh",
    }
    resolved = resolve_settings(env, path, {"namespace": "flag", "worker.web_port": None})
    settings = resolved.settings
    assert (settings.namespace, settings.kafka.client_id) == ("flag", "environment")
    assert (settings.unqualified, settings.worker.web_port, settings.log.level) == ("flag", 1, "info")
    places = {item.name: str(item.place) for item in resolved.effective()}
    assert places["namespace"] == "flag namespace"
    assert places["kafka.client_id"] == "environment variable INTERACTION_ROUTER_KAFKA__CLIENT_ID"
    assert places["unqualified"] == f"file {path} line 2"
    assert places["worker.web_port"] == f"file {path} line 6"
    assert places["log.level"] == "default"


def test_the_environment_can_name_the_file_and_the_command_line_another(tmp_path: Path) -> None:
    named, asked = tmp_path / "named.toml", tmp_path / "asked.toml"
    named.write_text('namespace = "named"\n', encoding="utf-8")
    asked.write_text('namespace = "asked"\n', encoding="utf-8")
    env = {"INTERACTION_ROUTER_CONFIG": str(named)}
    assert load_settings(env, None, {}).namespace == "named"
    assert load_settings(env, asked, {}).namespace == "asked"


def test_names_within_a_variable_are_lower_case_in_the_setting() -> None:
    settings = from_env(
        TENANTS__ACME__ADDRESSES='["+27110000000", "desk@acme.example"]',
        TENANTS__ACME__REGION="za",
        TENANTS__ACME__GATEWAYS__TWILIO__AUTH_TOKEN=SECRET,
        IDLE_CLOSE__SMS="PT30M",
    )
    acme = settings.tenants["acme"]
    assert acme.addresses == ("+27110000000", "desk@acme.example")
    assert acme.region == "ZA"
    assert acme.gateways["twilio"]["auth_token"].get_secret_value() == SECRET
    assert settings.idle_close == {"sms": timedelta(minutes=30)}


def test_a_file_and_the_environment_share_a_table(tmp_path: Path) -> None:
    path = toml(tmp_path, '[tenants.acme]\nregion = "KE"\n[tenants.other]\n')
    settings = load_settings({"INTERACTION_ROUTER_TENANTS__ACME__ADDRESSES": '["+254700000000"]'}, path, {})
    assert settings.tenants["acme"].region == "KE"
    assert settings.tenants["acme"].addresses == ("+254700000000",)
    assert settings.tenants["other"].region is None


def test_off_in_a_later_source_takes_an_idle_time_away(tmp_path: Path) -> None:
    path = toml(tmp_path, "[idle_close]\nsms = 600\n")
    assert load_settings({}, path, {}).idle_close["sms"] == timedelta(minutes=10)
    assert load_settings({"INTERACTION_ROUTER_IDLE_CLOSE__SMS": "off"}, path, {}).idle_close["sms"] is None


@pytest.mark.parametrize(
    ("written", "span"),
    [
        (600, timedelta(minutes=10)),
        (0.5, timedelta(milliseconds=500)),
        ("600", timedelta(minutes=10)),
        ("2.5", timedelta(seconds=2.5)),
        ("PT10M", timedelta(minutes=10)),
        ("pt10m", timedelta(minutes=10)),
        ("P7D", timedelta(days=7)),
        ("P1W", timedelta(weeks=1)),
        ("P1DT2H3M4.5S", timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
        ("PT36H", timedelta(hours=36)),
    ],
)
def test_a_duration_is_seconds_or_iso_8601(written: object, span: timedelta) -> None:
    assert parse_duration(written) == span


@pytest.mark.parametrize(
    "written", ["", "P", "PT", "P1DT", "P1M", "P1Y", "10 min", "1:00", True, None, [1], "nan", "1e9", "PT1M5"]
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="must be seconds"):
        parse_duration(written)


@pytest.mark.parametrize("written", [float("nan"), float("inf"), 1e300, "9" * 400, "P99999999D", 10**400])
def test_a_duration_beyond_any_use_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="hundred years"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("span", "written"),
    [
        (timedelta(0), "PT0S"),
        (timedelta(days=7), "P7D"),
        (timedelta(hours=26, seconds=1), "P1DT2H1S"),
        (timedelta(milliseconds=500), "PT0.5S"),
        (timedelta(minutes=90), "PT1H30M"),
    ],
)
def test_a_duration_is_shown_as_it_may_be_written(span: timedelta, written: str) -> None:
    assert format_duration(span) == written
    assert parse_duration(written) == span


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_is_read_from_the_file_that_its_variable_names(tmp_path: Path, end: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(f" {SECRET} {end}".encode())
    settings = from_env(
        REDIS__PASSWORD_FILE=str(path),
        TENANTS__ACME__GATEWAYS__TWILIO__AUTH_TOKEN_FILE=str(path),
    )
    assert settings.redis.password == SecretStr(f" {SECRET} ")
    assert settings.tenants["acme"].gateways["twilio"]["auth_token"] == SecretStr(f" {SECRET} ")


def test_the_redis_url_may_come_from_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("rediss://redis.example:6380/0\n", encoding="utf-8")
    assert from_env(REDIS__URL_FILE=str(path)).redis.url.get_secret_value() == "rediss://redis.example:6380/0"


def test_a_secret_is_in_no_repr_and_in_nothing_that_is_shown() -> None:
    resolved = resolve_settings(
        {
            "INTERACTION_ROUTER_REDIS__URL": f"rediss://router:{SECRET}@redis.example:6380/0?password={SECRET}",
            "INTERACTION_ROUTER_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "INTERACTION_ROUTER_KAFKA__SASL_USERNAME": "router",
            "INTERACTION_ROUTER_KAFKA__SASL_PASSWORD": SECRET,
            "INTERACTION_ROUTER_TENANTS__ACME__GATEWAYS__TWILIO__AUTH_TOKEN": SECRET,
            "INTERACTION_ROUTER_TENANTS__ACME__ESL__HOST": "switch",
            "INTERACTION_ROUTER_TENANTS__ACME__ESL__SECRET": SECRET,
        },
        None,
        {},
    )
    shown = {item.name: item.value for item in resolved.effective()}
    assert shown["redis.url"] == "rediss://***@redis.example:6380/0?***"
    assert set(str(shown["kafka.sasl_password"])) == {"*"}
    assert SECRET not in f"{resolved!r} {resolved.settings} {shown} {resolved.settings.model_dump_json()}"
    assert resolved.settings.kafka.sasl_password == SecretStr(SECRET)


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/redis.sock",
        "unix:///run/redis.sock?db=3",
        "rediss://:pw@redis:6380/3",
        "redis://[::1]:6379",
        "redis://redis/0",
    ],
)
def test_redis_may_be_reached_by_socket_and_by_tls(url: str) -> None:
    assert from_env(REDIS__URL=url).redis.url.get_secret_value() == url


def test_the_variables_of_a_service_of_our_name_are_no_settings() -> None:
    settings = from_env(
        SERVICE_HOST="10.0.0.7",
        SERVICE_PORT="8080",
        SERVICE_PORT_HTTP="8080",
        PORT="tcp://10.0.0.7:8080",
        PORT_8080_TCP="tcp://10.0.0.7:8080",
        PORT_8080_TCP_ADDR="10.0.0.7",
        CONSOLE_SERVICE_HOST="10.0.0.8",
        CONSOLE_PORT="tcp://10.0.0.8:80",
    )
    assert settings == load_settings({}, None, {})


@pytest.mark.parametrize("name", ["PORT", "WORKER__WEBB_PORT", "WORKER_WEB_PORT"])
def test_a_mistyped_port_is_not_taken_for_one_of_them(name: str) -> None:
    with pytest.raises(SettingsError, match="there is no such setting"):
        from_env(**{name: "8080"})


def test_every_setting_is_described_and_can_be_set_by_its_variable() -> None:
    for leaf in leaves():
        assert leaf.field.description, leaf.name
        assert shape_of(tuple(part.strip("<>") for part in leaf.name)) != "table", leaf.name
        assert variable(leaf.name).startswith("INTERACTION_ROUTER_")


def test_the_reference_page_is_that_of_the_model() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference_page(), (
        "run: interaction-router config docs > docs/settings.md"
    )


def test_every_setting_is_read_by_something() -> None:
    program = Path(interaction_router.__file__).parent
    readers = [path for path in program.rglob("*.py") if path != program / "settings/model.py"]
    read = set(re.findall(r"\.([a-z_]+)\b", "\n".join(path.read_text(encoding="utf-8") for path in readers)))
    for leaf in leaves():
        name = [part for part in leaf.name if not part.startswith("<")][-1]
        assert name in read, f"nothing reads {'.'.join(leaf.name)}"
