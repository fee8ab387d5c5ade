"""The real servers that tests talk to: each in a process of its own, on loopback, gone when the test process is."""

from tests.servers.asterisk import Asterisk
from tests.servers.broker import Broker, Secured
from tests.servers.process import MissingServerError, ServerError
from tests.servers.redis_server import RedisServer

__all__ = ["Asterisk", "Broker", "MissingServerError", "RedisServer", "Secured", "ServerError"]
