"""The first connection: aiokafka says of each failure that no server answers, so the reason is asked for."""

from collections.abc import Mapping
from typing import Any, Final

from aiokafka import errors
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import collect_hosts, create_conn

from interaction_router.adapters.certificates import why_untrusted
from interaction_router.adapters.kafka.client import ClientOptions
from interaction_router.domain.errors import ConfigurationError

_LOGIN: Final = (errors.SaslAuthenticationFailed, errors.UnsupportedSaslMechanismError, errors.IllegalSaslStateError)
_PASSED_ON: Final = (
    "client_id",
    "request_timeout_ms",
    "ssl_context",
    "security_protocol",
    "sasl_mechanism",
    "sasl_plain_username",
    "sasl_plain_password",
)


async def bootstrap(client: AIOKafkaClient, options: ClientOptions) -> None:
    """Connect a client that was made with the options.

    Raises:
        ConfigurationError: a server refuses the login, or is not who the settings trust.
        KafkaConnectionError: none answers.
    """
    try:
        await client.bootstrap()
    except errors.KafkaConnectionError:
        if options.get("security_protocol", "PLAINTEXT") != "PLAINTEXT":
            await _look_why(options)
        raise


async def _look_why(options: ClientOptions) -> None:
    """Try each server by itself; raise what the settings have to do with its refusal."""
    chosen: Mapping[str, Any] = {name: options[name] for name in _PASSED_ON if name in options}  # Any: as the options
    for host, port, _ in collect_hosts(options["bootstrap_servers"]):
        try:
            connection = await create_conn(host, port, **chosen)
        except _LOGIN as error:
            cause = f"Kafka refuses the login ({type(error).__name__})."
            advice = "Check `kafka.sasl_mechanism`, `kafka.sasl_username` and `kafka.sasl_password`."
            raise ConfigurationError("kafka_login", cause, advice) from error
        except (errors.KafkaError, OSError, TimeoutError) as error:
            if certificate := why_untrusted(error):
                cause = f"The certificate of {host}:{port} is not trusted: {certificate}."
                advice = "Check `kafka.ssl_cafile`, and that the certificate names this host."
                raise ConfigurationError("kafka_tls", cause, advice) from error
        else:
            connection.close()
