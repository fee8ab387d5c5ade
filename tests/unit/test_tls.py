"""What Kafka and Redis are spoken to with over TLS: whom the settings trust, and who they say we are."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from redis.asyncio import Redis
from redis.asyncio.connection import SSLConnection

from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.redis.client import open_client
from interaction_router.cli.app import run
from interaction_router.cli.invocation import Invocation
from interaction_router.domain.errors import ConfigurationError
from interaction_router.receivers.smtp import _tls
from interaction_router.settings import KafkaSettings, ReceiversSmtpSettings, RedisSettings

PHRASE = "open-sesame"
FAULTS = {
    "no authority": {"ssl_cafile": "junk.pem"},
    "no certificate": {"ssl_certfile": "junk.pem", "ssl_keyfile": "key.pem"},
    "another's key": {"ssl_certfile": "certificate.pem", "ssl_keyfile": "other.pem"},
    "no pass phrase": {"ssl_certfile": "certificate.pem", "ssl_keyfile": "locked.pem"},
    "a wrong pass phrase": {
        "ssl_certfile": "certificate.pem",
        "ssl_keyfile": "locked.pem",
        "ssl_keyfile_password": "guessed",
    },
}

Context = Callable[..., ssl.SSLContext]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate with its key, once more under a pass phrase, somebody else's key, and what is none of these."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    trustme.CA().cert_pem.write_to_path(folder / "stranger.pem")
    certificate = authority.issue_cert("router")
    certificate.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    authority.issue_cert("other").private_key_pem.write_to_path(folder / "other.pem")
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PHRASE.encode()))
    (folder / "locked.pem").write_bytes(locked)
    (folder / "junk.pem").write_text("junk")
    return folder


def of_kafka(**given: object) -> ssl.SSLContext:
    context = client_options(KafkaSettings.model_validate({"security_protocol": "SSL", **given}))["ssl_context"]
    assert isinstance(context, ssl.SSLContext)
    return context


def of_redis(**given: object) -> ssl.SSLContext:
    client = open_client(RedisSettings.model_validate({"url": "rediss://127.0.0.1:6379/0", **given}))._client
    assert isinstance(client, Redis)
    pool = client.connection_pool
    return _used_by(pool.connection_class(**pool.connection_kwargs))


def of_a_cluster(**given: object) -> ssl.SSLContext:
    """Of the node that is asked first: the others are made in the same way."""
    given = {"url": "rediss://127.0.0.1:6379", "cluster": True, **given}
    client = open_client(RedisSettings.model_validate(given))._client
    assert not isinstance(client, Redis)
    (node,) = client.startup_nodes
    assert client.nodes_manager.connection_kwargs["connection_class"] is node.connection_class
    return _used_by(node.connection_class(**node.connection_kwargs))


def _used_by(connection: object) -> ssl.SSLContext:
    assert isinstance(connection, SSLConnection)
    context = connection.ssl_context.get()
    assert context is not None
    return context


clients = pytest.mark.parametrize("client", [of_kafka, of_redis, of_a_cluster])


@clients
def test_authorities_of_the_settings_are_trusted_instead_of_those_of_the_system(
    client: Context, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "stranger.pem"))
    trusted = client(ssl_cafile=folder / "authority.pem").get_ca_certs(binary_form=True)
    assert trusted == [ssl.PEM_cert_to_DER_cert((folder / "authority.pem").read_text())]


@clients
def test_a_server_has_to_be_who_it_says(client: Context) -> None:
    context = client()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert client(ssl_check_hostname=False).check_hostname is False
    assert client(ssl_check_hostname=False).verify_mode is ssl.CERT_REQUIRED


@clients
def test_a_key_may_be_under_a_pass_phrase(client: Context, folder: Path) -> None:
    client(ssl_certfile=folder / "certificate.pem", ssl_keyfile=folder / "locked.pem", ssl_keyfile_password=PHRASE)


@clients
@pytest.mark.parametrize("given", FAULTS.values(), ids=list(FAULTS))
def test_what_cannot_be_used_is_a_fault_of_the_settings(client: Context, folder: Path, given: dict[str, str]) -> None:
    """Told at once, and never asked for on the terminal; without the pass phrase."""
    files = {name: folder / value if value.endswith(".pem") else value for name, value in given.items()}
    with pytest.raises(
        ConfigurationError, match=r"_tls: A certificate or key for (Kafka|Redis) cannot be used"
    ) as told:
        client(**files)
    assert "guessed" not in str(told.value)


NO_CERTIFICATE = "holds no certificate (PEM): {0}/junk.pem; name a file that begins with -----BEGIN CERTIFICATE-----"
CHECKED: dict[str, tuple[dict[str, str], str, str]] = {
    "no authority": ({"kafka.ssl_cafile": "junk.pem"}, "kafka.ssl_cafile", NO_CERTIFICATE),
    "no certificate": (
        {"redis.ssl_certfile": "junk.pem", "redis.ssl_keyfile": "key.pem"},
        "redis.ssl_certfile",
        NO_CERTIFICATE,
    ),
    "another's key": (
        {"kafka.ssl_certfile": "certificate.pem", "kafka.ssl_keyfile": "other.pem"},
        "kafka.ssl_keyfile",
        "is not the key of the certificate in {0}/certificate.pem: {0}/other.pem",
    ),
    "no key": ({"kafka.ssl_certfile": "certificate.pem"}, "kafka.ssl_certfile", "holds no key (PEM) without"),
    "a key under a pass phrase": (
        {"receivers.smtp.ssl_certfile": "certificate.pem", "receivers.smtp.ssl_keyfile": "locked.pem"},
        "receivers.smtp.ssl_keyfile",
        "holds no key (PEM) without a pass phrase: {0}/locked.pem",
    ),
    "a wrong pass phrase": (
        {
            "redis.ssl_certfile": "certificate.pem",
            "redis.ssl_keyfile": "locked.pem",
            "redis.ssl_keyfile_password": "guessed",
        },
        "redis.ssl_keyfile",
        "holds no key (PEM) that ssl_keyfile_password opens: {0}/locked.pem",
    ),
    "no switch's authority": (
        {
            "tenants.acme.ami.host": "pbx",
            "tenants.acme.ami.username": "u",
            "tenants.acme.ami.secret": "s",
            "tenants.acme.ami.tls": "true",
            "tenants.acme.ami.ssl_cafile": "junk.pem",
        },
        "tenants.acme.ami.ssl_cafile",
        NO_CERTIFICATE,
    ),
    "none there": ({"kafka.ssl_cafile": "nowhere.pem"}, "kafka.ssl_cafile", "the path of a file that is there"),
}
BASE = {"kafka.security_protocol": "SSL", "redis.url": "rediss://127.0.0.1:6379/0"}


def check(folder: Path, given: dict[str, str]) -> int:
    """Run `config check`."""
    files = {name: str(folder / value) if value.endswith(".pem") else value for name, value in given.items()}
    flags = [f"--set={name}={value}" for name, value in (BASE | files).items()]
    return run(["config", "check", *flags], Invocation(env={}))


@pytest.mark.parametrize(("given", "setting", "cause"), CHECKED.values(), ids=list(CHECKED))
def test_a_file_that_cannot_be_used_is_found_by_the_check_of_the_settings(
    folder: Path, given: dict[str, str], setting: str, cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(folder, given) == 78
    told = capsys.readouterr().err
    assert f"  {setting}: " in told
    assert cause.format(folder) in told
    assert told.count("(flag ") == 1
    assert "guessed" not in told


def test_files_that_can_be_used_pass_the_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = {"ssl_cafile": "authority.pem", "ssl_certfile": "certificate.pem", "ssl_keyfile": "locked.pem"}
    both = {f"{section}.{name}": value for section in ("kafka", "redis") for name, value in own.items()}
    phrases = {f"{section}.ssl_keyfile_password": PHRASE for section in ("kafka", "redis")}
    assert check(folder, both | phrases) == 0
    assert capsys.readouterr().out.startswith("valid: ")


def test_a_mail_servers_key_has_no_pass_phrase(folder: Path) -> None:
    """It has no setting for one, and is not to ask for it on the terminal."""
    settings = ReceiversSmtpSettings(ssl_certfile=folder / "certificate.pem", ssl_keyfile=folder / "locked.pem")
    with pytest.raises(ConfigurationError, match="certificate_unusable"):
        _tls(settings)
