"""Loopback ports for servers that come and go."""

import random
import socket
from collections.abc import Callable

LOOPBACK = "127.0.0.1"
# Below the ports that Linux (from 32768) and macOS (from 49152) give to outgoing connections: while a server is down,
# a client that keeps dialling a port in that range can end up connected to itself, and the server cannot come back.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port that nothing listens on now."""
    return next(port for port in iter(_any_port, None) if is_free(port))


def is_free(port: int) -> bool:
    """Tell whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def answers(port: int, question: bytes) -> Callable[[], bool]:
    """Return a check that sends `question` to the port and tells whether anything comes back."""

    def check() -> bool:
        try:
            with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
                connection.sendall(question)
                return connection.recv(1) != b""
        except OSError:
            return False

    return check


def _any_port() -> int:
    return random.choice(_PORTS)
