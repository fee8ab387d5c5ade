"""Addresses that cannot be listened at."""

import errno
from typing import Literal

from interaction_router.domain.errors import RetryableError, RouterError
from interaction_router.settings import UnusableSettingError


def unusable(receiver: Literal["http", "smtp"], host: str, port: int, error: OSError) -> RouterError:
    """Return what it means that nothing can listen there."""
    names = f"receivers.{receiver}.host and receivers.{receiver}.port"
    if error.errno == errno.EADDRINUSE:
        return RetryableError("port_taken", f"Another program listens at {host}:{port}.", f"Set {names} to a free one.")
    cause = f"It cannot listen at {host}:{port} ({error.strerror or type(error).__name__})."
    return UnusableSettingError("address_unusable", cause, f"Check {names}.")
