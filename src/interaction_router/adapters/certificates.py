"""Certificates: whom to trust, how to prove who we are, and what is wrong with a server's."""

import ssl
from typing import Literal

from interaction_router.domain.errors import ConfigurationError
from interaction_router.settings import KafkaSettings, RedisSettings


def tls_context(section: Literal["kafka", "redis"], settings: KafkaSettings | RedisSettings) -> ssl.SSLContext:
    """Return what TLS is spoken with by a client of this section's server.

    Raises:
        ConfigurationError: a certificate or key cannot be used.
    """
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
    except OSError as error:
        cause = f"A certificate or key for {section.capitalize()} cannot be used ({type(error).__name__})."
        advice = f"Check `{section}.ssl_cafile`, `ssl_certfile`, `ssl_keyfile` and its password."
        raise ConfigurationError(f"{section}_tls", cause, advice) from error
    return context


def why_untrusted(error: BaseException | None) -> str | None:
    """Return why a certificate was refused, where that is what lies under the error."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None
