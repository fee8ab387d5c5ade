"""TLS and logins against a real broker and a real Valkey: one SMS passes, and what is wrong is told in one line."""

import asyncio
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from interaction_router.adapters.kafka.client import client_options
from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.settings import load_settings
from tests.integration.running import Running, sms, until, updates
from tests.servers import Broker, MissingServerError, RedisServer, Secured
from tests.servers.addresses import LOOPBACK

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

USER, PASSWORD = "router", "open-sesame"
NAMESPACE = "secured"
ACL = f"+@all -@dangerous +info +scan ~{NAMESPACE}:* >{PASSWORD}"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are, and the certificate to trust them by."""

    broker: Broker
    redis_url: str
    cafile: Path
    stranger: Path


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Both with a certificate of an authority made here; another one has signed nothing."""
    folder = tmp_path_factory.mktemp("secured")
    authority, stranger = trustme.CA(), trustme.CA()
    cafile, unknown = folder / "ca.pem", folder / "stranger.pem"
    authority.cert_pem.write_to_path(cafile)
    stranger.cert_pem.write_to_path(unknown)
    certificate = authority.issue_cert(LOOPBACK, "localhost")
    pem = folder / "both.pem"
    pem.write_bytes(_as_java_reads_it(certificate.private_key_pem) + certificate.cert_chain_pems[0].bytes())
    acl = folder / "users.acl"
    acl.write_text(f"user default off\nuser {USER} on {ACL}\n")
    broker = Broker(folder / "broker", secured=Secured(pem, USER, PASSWORD))
    redis_server = RedisServer(folder / "redis", options=["--aclfile", str(acl)])
    try:
        with broker, redis_server, _behind_tls(redis_server.port, certificate) as port:
            yield Servers(broker, f"rediss://{LOOPBACK}:{port}/0", cafile, unknown)
    except MissingServerError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@contextmanager
def _behind_tls(port: int, certificate: trustme.LeafCert) -> Iterator[int]:
    """Stand before a server that knows no TLS itself, as the packaged Valkey."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(LOOPBACK, port)
        await asyncio.gather(_copy(reader, downstream), _copy(upstream, writer))

    server = loop.run_until_complete(asyncio.start_server(serve, LOOPBACK, 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, name="tls")
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


def _as_java_reads_it(key: trustme.Blob) -> bytes:
    """Return the key in PKCS #8, the only form that the broker knows."""
    private = serialization.load_pem_private_key(key.bytes(), None)
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture
def running(servers: Servers, tmp_path: Path) -> Running:
    return Running(
        bootstrap=servers.broker.bootstrap,
        redis_url=servers.redis_url,
        namespace=NAMESPACE,
        folder=tmp_path,
        TOPICS__PARTITIONS="2",
        KAFKA__SECURITY_PROTOCOL="SASL_SSL",
        KAFKA__SASL_MECHANISM="SCRAM-SHA-512",
        KAFKA__SASL_USERNAME=USER,
        KAFKA__SASL_PASSWORD=PASSWORD,
        KAFKA__SSL_CAFILE=str(servers.cafile),
        REDIS__USERNAME=USER,
        REDIS__PASSWORD=PASSWORD,
        REDIS__SSL_CAFILE=str(servers.cafile),
    )


def _run(running: Running, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **running.env, **{f"INTERACTION_ROUTER_{name}": value for name, value in changed.items()}}
    command = [sys.executable, "-m", "interaction_router", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


async def test_an_sms_passes_over_tls_with_logins(running: Running) -> None:
    """With SCRAM by the worker, and PLAIN by who looks at it; the doctor finds nothing wrong."""
    await running.apply_topics()
    plain = {**running.env, "INTERACTION_ROUTER_KAFKA__SASL_MECHANISM": "PLAIN"}
    log = KafkaLog(client_options(load_settings(plain, None, {}).kafka), NAMESPACE)
    worker = running.worker()
    try:
        await worker.ready()
        await log.append("interactions.sms.v1", 0, [sms("SM1")])

        async def told() -> bool:
            return len(await updates(log)) == 2

        await until(told)
        doctor = _run(running, "doctor")
        assert doctor.returncode == 0, doctor.stdout
        assert worker.stop() == 0
    finally:
        worker.kill()
        await log.stop()


async def test_doctor_tells_a_user_what_it_may_not_do(running: Running) -> None:
    """Each thing with its code, also where the broker does not let this user look."""
    await running.apply_topics()
    ran = _run(running, "doctor", "--json", KAFKA__SASL_MECHANISM="PLAIN", KAFKA__SASL_USERNAME="stranger")
    assert ran.returncode == 1, ran.stderr
    found = {(row["subject"], row["code"]) for row in json.loads(ran.stdout) if row["code"]}
    assert found == {
        ("kafka topics", "kafka_forbidden"),
        ("kafka permissions", "topics_forbidden"),
        ("kafka permissions", "groups_forbidden"),
        ("clock of Kafka's controller", "clock_unknown"),
        ("tables", "kafka_forbidden"),
    }


@pytest.mark.parametrize(
    ("changed", "code", "named"),
    [
        ({"KAFKA__SASL_PASSWORD": "guessed"}, 78, "kafka.sasl_"),
        ({"KAFKA__SASL_PASSWORD": "guessed", "KAFKA__SASL_MECHANISM": "PLAIN"}, 78, "kafka.sasl_"),
        ({"KAFKA__SSL_CAFILE": "stranger"}, 78, "kafka.ssl_cafile"),
        ({"REDIS__PASSWORD": "guessed"}, 78, "redis.password"),
        ({"REDIS__SSL_CAFILE": "stranger"}, 78, "redis.ssl_cafile"),
    ],
    ids=["SCRAM password", "PLAIN password", "broker's certificate", "Redis password", "Redis' certificate"],
)
def test_what_is_wrong_is_told_in_one_line(
    servers: Servers, running: Running, changed: dict[str, str], code: int, named: str
) -> None:
    """A worker that cannot log in, or does not trust the server, ends at once, and says which setting to look at."""
    changed = {name: str(servers.stranger) if value == "stranger" else value for name, value in changed.items()}
    ran = _run(running, "worker", **changed)
    errors = [line for line in ran.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, ran.stderr
    assert named in errors[0]
    assert ran.returncode == code, ran.stderr
    assert PASSWORD not in ran.stderr
    assert "guessed" not in ran.stderr
