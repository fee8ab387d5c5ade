"""Faults between settings that are each right by themselves."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import NamedTuple

from interaction_router.settings.model import KafkaSettings, RedisSettings, Settings, TopicsSettings
from interaction_router.settings.names import Name


class Contradiction(NamedTuple):
    """A setting that cannot stand beside the others."""

    name: Name
    cause: str
    suggestion: str | None = None


def contradictions(settings: Settings) -> Iterator[Contradiction]:
    """Go through the settings that contradict each other, each told at the one to change first."""
    yield from _of_channels(settings)
    yield from _of_inputs(settings)
    yield from _of_kafka(settings.kafka)
    yield from _of_redis(settings.redis)
    yield from _of_topics(settings.topics)
    yield from _of_mail(settings)
    yield from _of_switches(settings)
    yield from _of_gateways(settings)


def _of_channels(settings: Settings) -> Iterator[Contradiction]:
    for channel in settings.idle_close:
        if channel not in settings.channels:
            meant = get_close_matches(channel, settings.channels, n=1)
            yield Contradiction(
                ("idle_close", channel),
                f"is none of the channels ({', '.join(settings.channels)})",
                f"idle_close.{meant[0]}" if meant else None,
            )


def _of_inputs(settings: Settings) -> Iterator[Contradiction]:
    if settings.inputs_namespace is None:
        return
    if settings.embedded.data_dir is not None:
        yield Contradiction(("inputs_namespace",), "needs Kafka: embedded storage has one namespace a file")
    if settings.inputs_namespace == settings.namespace:
        yield Contradiction(("inputs_namespace",), "is the namespace itself: leave it out")


def _of_kafka(kafka: KafkaSettings) -> Iterator[Contradiction]:
    if kafka.heartbeat_interval >= kafka.session_timeout:
        yield Contradiction(("kafka", "heartbeat_interval"), "must be shorter than kafka.session_timeout")
    if not kafka.leave_at_stop and kafka.group_instance_id is None:
        yield Contradiction(("kafka", "leave_at_stop"), "needs kafka.group_instance_id where it is false")
    logs_in = kafka.security_protocol.startswith("SASL")
    for field in ("sasl_username", "sasl_password"):
        given = getattr(kafka, field) is not None
        if logs_in and not given:
            yield Contradiction(
                ("kafka", field), f"is needed where kafka.security_protocol is {kafka.security_protocol}"
            )
        if given and not logs_in:
            yield Contradiction(
                ("kafka", field),
                f"is never used: kafka.security_protocol is {kafka.security_protocol}, not SASL_PLAINTEXT or SASL_SSL",
            )
    encrypted = kafka.security_protocol.endswith("SSL")
    yield from _of_certificates("kafka", kafka, None if encrypted else "kafka.security_protocol is not SSL or SASL_SSL")


def _of_redis(redis: RedisSettings) -> Iterator[Contradiction]:
    url = redis.url.parts
    encrypted = url.scheme == "rediss"
    yield from _of_certificates("redis", redis, None if encrypted else "redis.url does not begin with rediss://")
    if redis.password is not None and url.password:
        yield Contradiction(("redis", "password"), "is also in redis.url: keep one")
    if redis.username is not None and url.username:
        yield Contradiction(("redis", "username"), "is also in redis.url: keep one")
    if redis.cluster and url.scheme == "unix":
        yield Contradiction(
            ("redis", "cluster"), "needs redis.url to be redis:// or rediss://, a cluster has no socket"
        )
    elif redis.cluster and url.path.strip("/") not in {"", "0"}:
        yield Contradiction(("redis", "cluster"), "needs database 0 in redis.url, a cluster has no other")


def _of_certificates(section: str, at: KafkaSettings | RedisSettings, unused: str | None) -> Iterator[Contradiction]:
    """Check the client's certificate and key; `unused` says why TLS is off."""
    if unused is not None:
        for field in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
            if getattr(at, field) is not None:
                yield Contradiction((section, field), f"is never used: {unused}")
    if at.ssl_keyfile is not None and at.ssl_certfile is None:
        yield Contradiction(
            (section, "ssl_keyfile"), f"needs {section}.ssl_certfile, the certificate that it belongs to"
        )


def _of_topics(topics: TopicsSettings) -> Iterator[Contradiction]:
    copies, needed = topics.replication_factor, topics.min_insync_replicas
    if copies is not None and needed is not None and needed > copies:
        yield Contradiction(("topics", "min_insync_replicas"), "must not be more than topics.replication_factor")


def _of_mail(settings: Settings) -> Iterator[Contradiction]:
    smtp = settings.receivers.smtp
    if smtp.ssl_certfile is None:
        cause = "needs receivers.smtp.ssl_certfile"
        if smtp.ssl_keyfile is not None:
            yield Contradiction(("receivers", "smtp", "ssl_keyfile"), f"{cause}, the certificate that it belongs to")
        if smtp.require_starttls:
            yield Contradiction(("receivers", "smtp", "require_starttls"), cause)
    attachments = settings.receivers.attachments
    if attachments.dir is not None and attachments.s3 is not None:
        yield Contradiction(("receivers", "attachments", "dir"), "is never used: receivers.attachments.s3 is set")
    if attachments.s3 is not None:
        name, secret = attachments.s3.access_key_id, attachments.s3.secret_access_key
        for field, given, other in (("access_key_id", name, secret), ("secret_access_key", secret, name)):
            if given is not None and other is None:
                yield Contradiction(("receivers", "attachments", "s3", field), "is of no use without the other")
    owners: dict[str, str] = {}
    for tenant, of in settings.tenants.items():
        for domain in of.mail_domains:
            if (owner := owners.setdefault(domain, tenant)) != tenant:
                yield Contradiction(("tenants", tenant, "mail_domains"), f"has {domain}, which is {owner}'s")


def _of_switches(settings: Settings) -> Iterator[Contradiction]:
    for tenant, of in settings.tenants.items():
        for kind, at in (("ami", of.ami), ("esl", of.esl)):
            if at is None or at.tls:
                continue
            for field in ("ssl_cafile", "ssl_server_name"):
                if getattr(at, field) is not None:
                    cause = f"is never used: tenants.{tenant}.{kind}.tls is false"
                    yield Contradiction(("tenants", tenant, kind, field), cause)


def _of_gateways(settings: Settings) -> Iterator[Contradiction]:
    """Check that each gateway is a vendor's, with keys that the vendor has."""
    if not any(tenant.gateways for tenant in settings.tenants.values()):
        return
    from interaction_router.channels.vendors import KEYS  # noqa: PLC0415 - only where a tenant has a gateway

    for tenant, of in settings.tenants.items():
        for vendor, given in of.gateways.items():
            name: Name = ("tenants", tenant, "gateways", vendor)
            if vendor not in KEYS:
                cause = f"is no vendor that is known ({', '.join(sorted(KEYS))})"
                yield Contradiction(name, cause, _meant(name, vendor, KEYS))
                continue
            known = KEYS[vendor]
            for key in given:
                if key not in known:
                    cause = f"is no setting of {vendor} ({', '.join(sorted(known))})"
                    yield Contradiction((*name, key), cause, _meant((*name, key), key, known))
            for key, other in (("username", "password"), ("password", "username")):
                if key in given and key in known and other not in given:
                    yield Contradiction((*name, key), f"needs {'.'.join((*name, other))}")


def _meant(name: Name, given: str, known: Iterable[str]) -> str | None:
    near = get_close_matches(given, known, n=1)
    return ".".join((*name[:-1], near[0])) if near else None
