"""What every Kafka client of the program is told, from the one place that knows the settings' names."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from interaction_router.adapters.certificates import tls_context
from interaction_router.domain.errors import FatalError
from interaction_router.settings.model import KafkaSettings

ClientOptions = Mapping[str, Any]
"""Keyword arguments of aiokafka's clients, producers and consumers: of mixed types by that library's design."""


def client_options(settings: KafkaSettings) -> ClientOptions:
    """Return what aiokafka's client, producer, consumer and admin client all take.

    Raises:
        ConfigurationError: a certificate or key cannot be used.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": settings.client_id,
        "request_timeout_ms": milliseconds(settings.request_timeout),
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol in ("SSL", "SASL_SSL"):
        options["ssl_context"] = tls_context("kafka", settings)
    if settings.security_protocol in ("SASL_PLAINTEXT", "SASL_SSL"):
        if settings.sasl_username is None or settings.sasl_password is None:
            cause = f"security_protocol {settings.security_protocol} logs in, and there is no one to log in as."
            raise FatalError("kafka_login_missing", cause, "Set kafka.sasl_username and kafka.sasl_password.")
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = settings.sasl_password.get_secret_value()
    return options


def milliseconds(span: timedelta) -> int:
    """Return a span as aiokafka takes it."""
    return round(span / timedelta(milliseconds=1))
