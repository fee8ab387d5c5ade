"""Each wrong setting is told at once, with its place, what is allowed, and the name that was meant."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from interaction_router.domain.errors import FatalError
from interaction_router.settings import Problem, SettingsError, load_settings

SECRET = "hunter2-hunter2"


def faults(
    env: Mapping[str, str] | None = None, config_file: Path | None = None, flags: Mapping[str, object] | None = None
) -> list[Problem]:
    variables = {f"INTERACTION_ROUTER_{name}": value for name, value in (env or {}).items()}
    with pytest.raises(SettingsError) as caught:
        load_settings(variables, config_file, flags or {})
    return list(caught.value.problems)


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def in_file(tmp_path: Path, text: str) -> list[Problem]:
    path = tmp_path / "router.toml"
    path.write_text(text, encoding="utf-8")
    return faults(config_file=path)


@pytest.mark.parametrize(
    "text",
    [
        '[tenants.acme.gateways.json]\ntoken = ""',
        '[tenants.acme.gateways]\ntwilio = {auth_token = ""}',
        '[redis]\npassword = ""',
    ],
)
def test_an_empty_secret_is_refused_in_a_file_too(tmp_path: Path, text: str) -> None:
    assert only(in_file(tmp_path, text)).cause == "is empty: give a value, or leave it out"


def test_all_faults_of_all_sources_are_told_together(tmp_path: Path) -> None:
    path = tmp_path / "router.toml"
    path.write_text('unqualified = "maybe"\n', encoding="utf-8")
    problems = faults({"REDIS__TIMEOUT": "soon", "NAMESPASE": "x"}, path, {"topics.partitions": "0"})
    assert {(problem.name, problem.place.kind) for problem in problems} == {
        ("unqualified", "file"),
        ("redis.timeout", "environment"),
        ("namespase", "environment"),
        ("topics.partitions", "flag"),
    }


def test_the_error_is_fatal_and_its_text_has_every_fault() -> None:
    with pytest.raises(FatalError) as caught:
        load_settings({}, None, {"nmespace": "x", "topics.partitions": 0})
    assert caught.value.code == "settings_invalid"
    assert "did you mean namespace?" in str(caught.value)
    assert "topics.partitions: must be greater than or equal to 1, is 0 (flag topics.partitions)" in str(caught.value)


@pytest.mark.parametrize("channel", ["3cx", "24", "tel", "mailto", "sip", "sips", "wa"])
def test_a_channel_whose_endpoints_would_be_no_addresses_is_refused(channel: str) -> None:
    problem = only(faults({"CHANNELS": f'["sms", "{channel}"]'}))
    assert (problem.name, problem.cause.startswith("item 2 must ")) == ("channels", True)


def test_a_duration_out_of_bounds_is_echoed_in_seconds() -> None:
    problem = only(faults({"LATE_GRACE": "-5"}))
    assert problem.cause == "must be greater than or equal to 0 seconds, is -5 seconds"
    problem = only(faults({"IDLE_CLOSE__SMS": "0"}))
    assert problem.cause == "must be more than 0 seconds, is '0'"


@pytest.mark.parametrize("text", ["P99999999999D", f"PT{'9' * 400}S", "9" * 400])
def test_a_duration_that_nothing_holds_is_refused(text: str) -> None:
    assert "must be at most a hundred years" in only(faults({"LATE_GRACE": text})).cause


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("NAMESPCE", "INTERACTION_ROUTER_NAMESPACE"),
        ("KAFKA__BOOTSTRAP_SERVER", "INTERACTION_ROUTER_KAFKA__BOOTSTRAP_SERVERS"),
        ("KAFKA_BOOTSTRAP_SERVERS", "INTERACTION_ROUTER_KAFKA__BOOTSTRAP_SERVERS"),
        ("REDIS_URL", "INTERACTION_ROUTER_REDIS__URL"),
        ("REDSI__URL", "INTERACTION_ROUTER_REDIS__URL"),
        ("TENANTS__ACME__ADRESSES", "INTERACTION_ROUTER_TENANTS__ACME__ADDRESSES"),
        ("BOGUS", None),
    ],
)
def test_an_unknown_variable_is_a_fault_with_the_nearest_right_one(variable: str, meant: str | None) -> None:
    problem = only(faults({variable: "x"}))
    assert problem.place.detail == f"INTERACTION_ROUTER_{variable}"
    assert "there is no such setting" in problem.cause
    assert problem.suggestion == meant


def test_an_unknown_flag_is_answered_with_a_dotted_name() -> None:
    assert only(faults(flags={"worker.web_prot": "1"})).suggestion == "worker.web_port"


def test_a_fault_in_a_file_has_its_line(tmp_path: Path) -> None:
    problems = in_file(
        tmp_path,
        """\
# a comment = 1
namespace = "not a name"
channels = [
  "voice",
  "voice", # twice
]
unqualified = '''
[kafka]
client_id = 1'''

[kafka] # brokers
bootstrap_servers = "kafka"
"session_timeout" = 0.1
tls = { cafile = "x" }

[tenants."acme"]
region = "UK"
gateways.twilio = "x"
[tenants.acme.ami]
host = "pbx"
""",
    )
    lines = {problem.name: int(problem.place.detail.rpartition(" ")[2]) for problem in problems}
    assert lines == {
        "namespace": 2,
        "channels": 3,
        "unqualified": 7,
        "kafka.bootstrap_servers": 12,
        "kafka.session_timeout": 13,
        "kafka.tls": 14,
        "tenants.acme.region": 17,
        "tenants.acme.gateways.twilio": 18,
        "tenants.acme.ami.username": 20,
        "tenants.acme.ami.secret": 20,
    }
    causes = {problem.name: problem.cause for problem in problems}
    assert "voice" in causes["channels"]
    assert "GB" in causes["tenants.acme.region"]


def test_a_file_that_is_not_toml_says_where(tmp_path: Path) -> None:
    assert "line 2" in only(in_file(tmp_path, 'namespace = "a"\nchannels = voice\n')).cause


def test_a_file_that_is_not_there_or_not_text_is_a_fault(tmp_path: Path) -> None:
    assert "No such file" in only(faults(config_file=tmp_path / "none.toml")).cause
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert "UTF-8" in only(faults(config_file=tmp_path / "bytes")).cause


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("NAMESPACE", "a{b}", "must match"),
        ("DEFAULT_REGION", "XX", "ISO 3166-1"),
        ("CHANNELS", "voice,sms", 'must be a JSON list, as ["a", "b"]'),
        ("CHANNELS", '{"voice": 1}', "must be a JSON list"),
        ("CHANNELS", "[]", "at least 1 item"),
        ("CHANNELS", '["voice", "S M S"]', "item 2 must match"),
        ("UNQUALIFIED", "maybe", "'reject' or 'flag'"),
        ("DEDUP_WINDOW", "0", "greater than 0"),
        ("LATE_GRACE", "-1", "greater than or equal to 0"),
        ("LATE_GRACE", "", "is empty"),
        ("KAFKA__BOOTSTRAP_SERVERS", "kafka:9092,", "host:port"),
        ("KAFKA__BOOTSTRAP_SERVERS", "kafka://kafka:9092", "host:port"),
        ("KAFKA__BOOTSTRAP_SERVERS", "kafka:99999", "host:port"),
        ("KAFKA__SSL_CHECK_HOSTNAME", "perhaps", "valid boolean"),
        ("REDIS__URL", "http://redis", "redis://host:port/db"),
        ("REDIS__URL", "redis://redis:x", "redis://host:port/db"),
        ("REDIS__URL", "unix://", "socket"),
        ("REDIS__URL", "redis://redis/db0", "number for db"),
        ("REDIS__URL", "redis://redis/0?timeout=5", "nothing behind ?"),
        ("REDIS__URL", "unix:///run/redis.sock?db=x", "db (a number)"),
        ("WORKER__WEB_PORT", "65536", "less than or equal to 65535"),
        ("WORKER__WEB_PORT", "http", "valid integer"),
        ("RECEIVERS__HTTP__PUBLIC_URL", "example.com", "http://"),
        ("LOG", "debug", "is a table of settings: set one in it, as INTERACTION_ROUTER_LOG__<name>"),
    ],
)
def test_a_wrong_value_is_told_with_its_variable_and_what_is_allowed(variable: str, value: str, allowed: str) -> None:
    problem = only(faults({variable: value}))
    assert problem.place.detail == f"INTERACTION_ROUTER_{variable}"
    assert allowed in problem.cause


def test_true_is_no_number(tmp_path: Path) -> None:
    assert "whole number" in only(in_file(tmp_path, "[topics]\npartitions = true\n")).cause


def test_a_tenants_name_is_one_of_the_contract(tmp_path: Path) -> None:
    assert "the name must match" in only(in_file(tmp_path, '[tenants."Acme Ltd"]\naddresses = []\n')).cause


def test_a_table_for_a_value_is_told_as_one(tmp_path: Path) -> None:
    assert only(in_file(tmp_path, "[namespace]\nname = 1\n")).cause == "is one value, not a table"


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"KAFKA__SASL_PASSWORD": SECRET}, "kafka.sasl_password"),
        ({"REDIS__URL": f"http://:{SECRET}@redis"}, "redis.url"),
        ({"REDIS__URL": f"redis://:{SECRET}@redis:port"}, "redis.url"),
        ({"REDIS__URL": f"redis://:{SECRET}@redis", "REDIS__PASSWORD": SECRET}, "redis.password"),
    ],
)
def test_no_fault_shows_a_secret(env: dict[str, str], name: str) -> None:
    problem = only(faults(env))
    assert problem.name == name
    assert SECRET not in f"{problem} {problem!r}"


def test_a_secret_of_the_wrong_type_is_not_shown(tmp_path: Path) -> None:
    problems = in_file(
        tmp_path, "[redis]\npassword = 8675309\nurl = 8675309\n[tenants.a.esl]\nsecret = [8675309]\nhost='h'\n"
    )
    assert {problem.name for problem in problems} == {"redis.password", "redis.url", "tenants.a.esl.secret"}
    assert "8675309" not in "".join(map(str, problems))


def test_a_fault_beside_secrets_does_not_show_them(tmp_path: Path) -> None:
    problem = only(in_file(tmp_path, f"[tenants.a.ami]\nsecret = '{SECRET}'\nusername = 'u'\n"))
    assert problem.name == "tenants.a.ami.host"
    assert SECRET not in str(problem)


def test_a_secret_and_its_file_are_not_both_given(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(SECRET, encoding="utf-8")
    problem = only(faults({"REDIS__PASSWORD": SECRET, "REDIS__PASSWORD_FILE": str(tmp_path / "password")}))
    assert "is also set by environment variable INTERACTION_ROUTER_REDIS__PASSWORD" in problem.cause


def test_a_secrets_file_must_be_there_and_hold_something(tmp_path: Path) -> None:
    assert "No such file" in only(faults({"REDIS__PASSWORD_FILE": str(tmp_path / "none")})).cause
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    assert "is empty" in only(faults({"REDIS__PASSWORD_FILE": str(tmp_path / "empty")})).cause
    assert "too large" in only(faults({"REDIS__PASSWORD_FILE": os.devnull.replace("null", "zero")})).cause


def test_only_secrets_have_files(tmp_path: Path) -> None:
    problem = only(faults({"NAMESPACE_FILE": str(tmp_path)}))
    assert (problem.cause, problem.suggestion) == ("there is no such setting", "INTERACTION_ROUTER_NAMESPACE")


@pytest.mark.parametrize(
    ("flags", "name", "cause"),
    [
        ({"idle_close.smss": 60}, "idle_close.smss", "is none of the channels"),
        ({"kafka.heartbeat_interval": 10}, "kafka.heartbeat_interval", "shorter than kafka.session_timeout"),
        ({"kafka.leave_at_stop": False}, "kafka.leave_at_stop", "needs kafka.group_instance_id"),
        ({"kafka.sasl_username": "u"}, "kafka.sasl_username", "is never used"),
        ({"kafka.security_protocol": "SASL_SSL", "kafka.sasl_username": "u"}, "kafka.sasl_password", "is needed"),
        ({"kafka.ssl_cafile": __file__}, "kafka.ssl_cafile", "is never used"),
        ({"kafka.security_protocol": "SSL", "kafka.ssl_keyfile": __file__}, "kafka.ssl_keyfile", "ssl_certfile"),
        (
            {"kafka.security_protocol": "SSL", "kafka.ssl_cafile": "none.pem"},
            "kafka.ssl_cafile",
            "a file that is there",
        ),
        ({"redis.ssl_cafile": __file__}, "redis.ssl_cafile", "is never used"),
        (
            {"receivers.attachments.dir": "/x", "receivers.attachments.s3.bucket": "mail"},
            "receivers.attachments.dir",
            "is never used: receivers.attachments.s3 is set",
        ),
        (
            {"receivers.attachments.s3.bucket": "mail", "receivers.attachments.s3.access_key_id": "x"},
            "receivers.attachments.s3.access_key_id",
            "is of no use without the other",
        ),
        (
            {"receivers.attachments.s3.bucket": "mail", "receivers.attachments.s3.secret_access_key": "x"},
            "receivers.attachments.s3.secret_access_key",
            "is of no use without the other",
        ),
        (
            {f"tenants.acme.esl.{name}": "x" for name in ("host", "secret", "ssl_server_name")},
            "tenants.acme.esl.ssl_server_name",
            "is never used: tenants.acme.esl.tls is false",
        ),
        ({"redis.url": "redis://u:p@h", "redis.username": "u"}, "redis.username", "is also in redis.url"),
        ({"redis.url": "unix:///run/redis.sock", "redis.cluster": True}, "redis.cluster", "no socket"),
        ({"redis.url": "redis://h/1", "redis.cluster": True}, "redis.cluster", "database 0"),
        (
            {"topics.replication_factor": 2, "topics.min_insync_replicas": 3},
            "topics.min_insync_replicas",
            "not be more",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_faults(flags: dict[str, object], name: str, cause: str) -> None:
    problem = only(faults(flags=flags))
    assert problem.name == name
    assert cause in problem.cause
