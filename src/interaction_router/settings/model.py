"""What settings there are: one frozen model, whose descriptions are the reference page."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, FilePath, SecretStr

from interaction_router.settings.failpoints import checked_failpoints
from interaction_router.settings.kinds import (
    Address,
    AgentId,
    BootstrapServers,
    Channel,
    Count,
    Domain,
    Duration,
    Key,
    Namespace,
    OptionalDuration,
    Pattern,
    Port,
    PublicUrl,
    RedisUrl,
    Region,
    ServerUrl,
    Tenant,
    distinct,
)


class Section(BaseModel):
    """A table of settings: nothing unknown in it, nothing changed after it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KafkaSettings(Section):
    """How to reach Kafka, and how to be a member of the workers' group."""

    bootstrap_servers: BootstrapServers = Field(
        "127.0.0.1:9092", description="Brokers to ask for the cluster's addresses: `host:port`, several with commas."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Whether the connection is encrypted and whether it logs in."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="How to log in, where `security_protocol` begins with `SASL`."
    )
    sasl_username: str | None = Field(None, description="Who logs in.")
    sasl_password: SecretStr | None = Field(None, description="The password of `sasl_username`.")
    ssl_cafile: FilePath | None = Field(
        None, description="Certificates (PEM) to trust instead of those of the operating system."
    )
    ssl_certfile: FilePath | None = Field(None, description="The client's own certificate (PEM), for mutual TLS.")
    ssl_keyfile: FilePath | None = Field(None, description="The key (PEM) of `ssl_certfile`.")
    ssl_keyfile_password: SecretStr | None = Field(None, description="The pass phrase of `ssl_keyfile`.")
    ssl_check_hostname: bool = Field(default=True, description="Whether the broker's certificate must name its host.")
    client_id: str = Field(
        "interaction-router",
        min_length=1,
        max_length=255,
        description="How brokers' logs and quotas name this program.",
    )
    session_timeout: Duration = Field(
        timedelta(seconds=10),
        ge=timedelta(seconds=1),
        description="A worker not heard of for this long has its partitions given to others.",
    )
    heartbeat_interval: Duration = Field(
        timedelta(milliseconds=300),
        ge=timedelta(milliseconds=100),
        description="How often a worker is heard of, and hears that another one has come or gone; "
        "at most a third of `session_timeout` is wise.",
    )
    request_timeout: Duration = Field(
        timedelta(seconds=40), ge=timedelta(seconds=1), description="How long to wait for a broker's answer."
    )
    group_instance_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="A name that a worker keeps through restarts (static membership), one for each worker: "
        "where it is killed, a restart within `session_timeout` moves no partition.",
    )
    leave_at_stop: bool = Field(
        default=True,
        description="Whether a worker that is asked to stop gives its partitions to others at once. Else they wait for "
        "its restart, or for `session_timeout`: for workers with a `group_instance_id` that are restarted in turn.",
    )


class RedisSettings(Section):
    """How to reach Redis or Valkey."""

    url: RedisUrl = Field(
        ServerUrl("redis://127.0.0.1:6379/0"),
        description="`redis://host:port/db`, `rediss://` for TLS, `unix:///path`. With `cluster`, any one node.",
    )
    username: str | None = Field(None, min_length=1, description="Who logs in (ACL); none for the default user.")
    password: SecretStr | None = Field(None, description="The password; here rather than in `url`.")
    ssl_cafile: FilePath | None = Field(
        None, description="Certificates (PEM) to trust instead of those of the operating system."
    )
    ssl_certfile: FilePath | None = Field(None, description="The client's own certificate (PEM), for mutual TLS.")
    ssl_keyfile: FilePath | None = Field(None, description="The key (PEM) of `ssl_certfile`.")
    ssl_keyfile_password: SecretStr | None = Field(None, description="The pass phrase of `ssl_keyfile`.")
    ssl_check_hostname: bool = Field(default=True, description="Whether the server's certificate must name its host.")
    cluster: bool = Field(default=False, description="Whether the server is a Redis Cluster; a partition is one slot.")
    timeout: Duration = Field(
        timedelta(seconds=5),
        ge=timedelta(milliseconds=100),
        description="How long to wait for a connection or an answer.",
    )


class TopicsSettings(Section):
    """What `topics apply` creates and `topics check` compares with."""

    partitions: Count = Field(
        8,
        ge=1,
        le=10_000,
        description="Partitions of every topic, and so the most workers that share the work. Fixed once applied.",
    )
    replication_factor: Count | None = Field(
        None, ge=1, le=32_767, description="Copies of each partition; the broker's own default where not set."
    )
    min_insync_replicas: Count | None = Field(
        None, ge=1, le=32_767, description="Copies that must have a record before it counts as written; likewise."
    )
    input_retention: OptionalDuration = Field(
        timedelta(days=7),
        description="How long raw interactions, contact events and commands are kept; `off`: for ever.",
    )
    updates_retention: OptionalDuration = Field(
        timedelta(days=30), description="How long updates are kept for subscribers that come late; `off`: for ever."
    )
    dlq_retention: OptionalDuration = Field(
        timedelta(days=30), description="How long refused records are kept; `off`: for ever."
    )


class WorkerSettings(Section):
    """How one worker process behaves."""

    cache_rows: Count = Field(
        100_000,
        ge=100,
        description="Rows kept in memory, of about 1 KB, the least recently used going first: memory against Redis reads. "
        "A contact that is heard of needs three.",
    )
    batch_records: Count = Field(
        1_000, ge=1, le=10_000, description="The most records that are decided, written and applied at once."
    )
    web_host: str = Field("127.0.0.1", min_length=1, description="Where health and metrics are served.")
    web_port: Port = Field(6066, description="The port of health and metrics; 0 serves none.")
    stall_limit: Duration = Field(
        timedelta(seconds=60),
        ge=timedelta(seconds=10),
        description="A worker with records to do and none done for this long ends, to be started anew.",
    )


class EmbeddedSettings(Section):
    """Storage within the process, for `demo` and for trying things out; not made for load."""

    data_dir: Path | None = Field(
        None, description="Where the embedded log and tables are kept; in memory only where not set."
    )


class LogSettings(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least severe that is written.")
    format: Literal["text", "json"] = Field("text", description="Lines for people, or one JSON object a line.")


class ReceiversHttpSettings(Section):
    """Where webhooks are taken."""

    host: str = Field("127.0.0.1", min_length=1, description="The address to listen on.")
    port: Port = Field(8080, description="The port to listen on.")
    public_url: PublicUrl | None = Field(
        None, description="The address that vendors call and sign, where a proxy stands before the receiver."
    )


class ReceiversSpoolSettings(Section):
    """Where receivers keep what Kafka does not take for now."""

    dir: Path | None = Field(
        None,
        description="The folder of the spools, one file a receiver; where not set there is none, "
        "and what Kafka does not take is refused for now.",
    )
    max_bytes: Count = Field(
        256 * 1024 * 1024, ge=1024 * 1024, description="The most that one spool holds; then events are refused for now."
    )


class ReceiversSmtpSettings(Section):
    """Where mail is taken."""

    host: str = Field("127.0.0.1", min_length=1, description="The address to listen on.")
    port: Port = Field(8025, description="The port to listen on.")
    protocol: Literal["smtp", "lmtp"] = Field(
        "smtp", description="`lmtp` behind a mail server that delivers locally; it hears of each recipient by itself."
    )
    hostname: str | None = Field(
        None, min_length=1, max_length=253, description="The name in the greeting; that of the machine where not set."
    )
    ssl_certfile: FilePath | None = Field(
        None, description="The certificate (PEM) with its chain; with it STARTTLS is offered."
    )
    ssl_keyfile: FilePath | None = Field(
        None, description="The key (PEM) of `ssl_certfile`, where not in the same file."
    )
    require_starttls: bool = Field(default=False, description="Whether mail is refused that comes unencrypted.")


class ReceiversAttachmentsS3Settings(Section):
    """A bucket for what comes with mail; needs `pip install interaction-router[s3]`."""

    bucket: str = Field(min_length=3, max_length=63, description="The bucket, which has to be there.")
    endpoint: PublicUrl | None = Field(
        None, description="The address of a server that speaks as S3 does; Amazon's where not set."
    )
    region: str | None = Field(
        None, min_length=1, description="The region; where not set, that of `AWS_REGION`, else us-east-1."
    )
    access_key_id: str | None = Field(
        None,
        min_length=1,
        description="Who writes; where not set, whoever AWS's own tools would be here: the role of the pod, say.",
    )
    secret_access_key: SecretStr | None = Field(None, description="The secret of `access_key_id`.")


class ReceiversAttachmentsSettings(Section):
    """Where what comes with mail is stored; named by its digest, each content once a tenant."""

    dir: Path | None = Field(
        None,
        description="The folder; where neither it nor `s3` is set, attachments are described and not stored, "
        "and have no link.",
    )
    url: PublicUrl | None = Field(
        None,
        description="The address at which a web server of yours serves the folder or the bucket; else links are "
        "`file://` or `s3://`.",
    )
    s3: ReceiversAttachmentsS3Settings | None = Field(None, description="A bucket, in place of the folder.")


class ReceiversImapSettings(Section):
    """How mailboxes are read."""

    idle_limit: Duration = Field(
        timedelta(minutes=9),
        ge=timedelta(seconds=1),
        le=timedelta(minutes=29),
        description="How long to wait for the server to tell of new mail before looking anyway.",
    )


class ReceiversSettings(Section):
    """The built-in receivers."""

    http: ReceiversHttpSettings = Field(default_factory=ReceiversHttpSettings)
    smtp: ReceiversSmtpSettings = Field(default_factory=ReceiversSmtpSettings)
    imap: ReceiversImapSettings = Field(default_factory=ReceiversImapSettings)
    attachments: ReceiversAttachmentsSettings = Field(default_factory=ReceiversAttachmentsSettings)
    spool: ReceiversSpoolSettings = Field(default_factory=ReceiversSpoolSettings)
    state_dir: Path | None = Field(
        None,
        description="The folder of what receivers remember over a restart: up to where mailboxes have been read, which "
        "`receive imap` needs, and the calls that run.",
    )


class SwitchSettings(Section):
    """How the connection to a switch is made safe, and what tells its own numbers from the outside world's."""

    tls: bool = Field(
        default=False, description="Whether the connection is encrypted, and the switch has to prove itself."
    )
    ssl_cafile: FilePath | None = Field(
        None, description="Certificates (PEM) to trust instead of those of the operating system."
    )
    ssl_server_name: str | None = Field(
        None, min_length=1, description="The name that the switch's certificate must have; `host` where not set."
    )

    internal_numbers: Pattern = Field(
        r"\d{2,6}|\*\d{1,6}",
        description="A regular expression of the numbers of extensions, and of the codes that are dialled within. A call "
        "from one of them to another number is outbound, any other is inbound.",
    )
    internal_calls: bool = Field(
        default=True, description="Whether calls from an extension to an extension are told as well."
    )
    agents: Mapping[Annotated[str, Key("extension")], AgentId] = Field(
        default_factory=dict, description="The agents at the extensions; a call names none where none is here."
    )


class AmiSettings(SwitchSettings):
    """A tenant's Asterisk."""

    host: str = Field(min_length=1, description="Where the Asterisk Manager Interface listens.")
    port: Port = Field(5038, ge=1, description="Its port; 5039 with `tls`, mostly.")
    username: str = Field(min_length=1, description="The manager's name.")
    secret: SecretStr = Field(description="The manager's secret.")


class EslSettings(SwitchSettings):
    """A tenant's FreeSWITCH."""

    host: str = Field(min_length=1, description="Where the Event Socket listens.")
    port: Port = Field(8021, ge=1, description="Its port.")
    username: str | None = Field(None, min_length=1, description="The user, where the socket has users.")
    secret: SecretStr = Field(description="The socket's password.")


class ImapSettings(Section):
    """A tenant's mailbox."""

    host: str = Field(min_length=1, description="The mail server.")
    port: Port = Field(993, ge=1, description="Its port; 143 where `tls` is not `tls`, mostly.")
    tls: Literal["tls", "starttls", "off"] = Field("tls", description="How the connection is encrypted.")
    ssl_cafile: FilePath | None = Field(
        None, description="Certificates (PEM) to trust instead of those of the operating system."
    )
    username: str = Field(min_length=1, description="Who logs in.")
    password: SecretStr = Field(description="The password of `username`.")
    folder: str = Field("INBOX", min_length=1, description="The folder of mail from customers.")
    sent_folder: str | None = Field(
        None, min_length=1, description="The folder of mail to customers; it is not read where not set."
    )
    start: Literal["new", "all"] = Field(
        "new", description="Whether mail is taken that was there before the folder was read for the first time."
    )


class TenantSettings(Section):
    """What is special to one tenant."""

    region: Region | None = Field(None, description="As `default_region`, for this tenant.")
    addresses: Annotated[tuple[Address, ...], BeforeValidator(distinct)] = Field(
        (), description="The tenant's own numbers and mailboxes; an interaction between two of them is refused."
    )
    gateways: Mapping[Annotated[str, Key("vendor")], Mapping[Annotated[str, Key("key")], SecretStr]] = Field(
        default_factory=dict, description="What a vendor's webhooks are authentic by."
    )
    mail_domains: Annotated[tuple[Domain, ...], BeforeValidator(distinct)] = Field(
        (), description="Domains whose mail `receive smtp` takes for this tenant."
    )
    imap: ImapSettings | None = Field(None, description="The tenant's mailbox.")
    ami: AmiSettings | None = Field(None, description="The tenant's Asterisk.")
    esl: EslSettings | None = Field(None, description="The tenant's FreeSWITCH.")


class Settings(Section):
    """Every setting of the program, as it was read at the start."""

    namespace: Namespace = Field(
        "router", description="Begins the name of every topic and Redis key, so that routers can share servers."
    )
    inputs_namespace: Namespace | None = Field(
        None,
        description="Whose interactions, contacts, agents and commands are read, where not its own: see `replay promote`.",
    )
    default_region: Region | None = Field(
        None, description="Country (ISO 3166-1 alpha-2) of national numbers that name none; else they stay opaque."
    )
    channels: Annotated[tuple[Channel, ...], BeforeValidator(distinct)] = Field(
        ("voice", "email", "sms", "whatsapp", "chat"),
        min_length=1,
        description="Channels that interactions may come over; each has its topic.",
    )
    unqualified: Literal["reject", "flag"] = Field(
        "reject", description="What becomes of an outbound interaction whose agent does not qualify for its channel."
    )
    dedup_window: Duration = Field(
        timedelta(days=7),
        gt=timedelta(0),
        description="How long a repeated event is known as one. Written to the log where it changes.",
    )
    late_grace: Duration = Field(
        timedelta(minutes=10),
        ge=timedelta(0),
        description="How long after a close an interaction from before it still joins. Written to the log likewise.",
    )
    idle_close: Mapping[Annotated[Channel, Key("channel")], OptionalDuration] = Field(
        default_factory=dict,
        description="How long a channel may be idle before its conversations close; `off` never. Written likewise.",
    )
    closed_retention: OptionalDuration = Field(
        timedelta(days=90),
        description="How long a closed conversation is in the lists that people look through; `off`: for ever. "
        "Written to the log likewise.",
    )
    failpoints: Annotated[str, AfterValidator(checked_failpoints)] | None = Field(
        None,
        description="For tests of the program itself: where a process is to die, hang or fail. Never in production.",
    )
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    topics: TopicsSettings = Field(default_factory=TopicsSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    embedded: EmbeddedSettings = Field(default_factory=EmbeddedSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    receivers: ReceiversSettings = Field(default_factory=ReceiversSettings)
    tenants: Mapping[Annotated[Tenant, Key("tenant")], TenantSettings] = Field(
        default_factory=dict, description="What is special to each tenant; one that is not here has none of it."
    )
