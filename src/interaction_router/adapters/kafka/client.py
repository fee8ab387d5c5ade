"""What every Kafka client of the program is told, from the one place that knows the settings' names."""

import ssl
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from interaction_router.domain.errors import FatalError
from interaction_router.settings.model import KafkaSettings

ClientOptions = Mapping[str, Any]
"""Keyword arguments of aiokafka's clients, producers and consumers: of mixed types by that library's design."""


def client_options(settings: KafkaSettings) -> ClientOptions:
    """Return what aiokafka's client, producer, consumer and admin client all take.

    Raises:
        FatalError: a certificate or key cannot be read.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": settings.client_id,
        "request_timeout_ms": milliseconds(settings.request_timeout),
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol in ("SSL", "SASL_SSL"):
        options["ssl_context"] = _ssl_context(settings)
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


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    """Return what to trust and how to prove who we are."""
    password = settings.ssl_keyfile_password
    try:
        context = ssl.create_default_context(cafile=settings.ssl_cafile)
        context.check_hostname = settings.ssl_check_hostname
        if settings.ssl_certfile is not None:
            context.load_cert_chain(
                settings.ssl_certfile,
                settings.ssl_keyfile,
                # Bytes even where there is none: OpenSSL would otherwise ask on the terminal.
                b"" if password is None else password.get_secret_value().encode(),
            )
    except (OSError, ssl.SSLError) as error:
        cause = f"A certificate or key for Kafka cannot be used ({type(error).__name__})."
        raise FatalError(
            "kafka_tls", cause, "Check kafka.ssl_cafile, ssl_certfile, ssl_keyfile and its password."
        ) from error
    return context
