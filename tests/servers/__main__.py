"""Runs a real broker and Valkey until it is interrupted: `make servers`."""

import argparse
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.servers import Broker, MissingServerError, RedisServer, ServerError
from tests.servers.addresses import is_free

EX_UNAVAILABLE = 69


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("--broker-port", type=int, default=9092)
    parser.add_argument("--redis-port", type=int, default=6379)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    taken = [port for port in (options.broker_port, options.redis_port) if not is_free(port)]
    if taken:
        print(f"port {taken[0]} is taken; name another with BROKER_PORT= or REDIS_PORT=", file=sys.stderr)
        return EX_UNAVAILABLE
    try:
        _run(options.broker_port, options.redis_port)
    except (MissingServerError, ServerError) as error:
        print(error, file=sys.stderr)
        return EX_UNAVAILABLE
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
    return 0


def _run(broker_port: int, redis_port: int) -> None:
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="interaction-router-")))
        redis = running.enter_context(RedisServer(folder / "redis", port=redis_port))
        broker = running.enter_context(Broker(folder / "broker", port=broker_port, enduring=True))
        print(f"export INTERACTION_ROUTER_KAFKA__BOOTSTRAP_SERVERS={broker.bootstrap}")
        print(f"export INTERACTION_ROUTER_REDIS__URL={redis.url}", flush=True)
        print(f"Logs are in {folder}. Ctrl-C stops both and forgets what they hold.", file=sys.stderr)
        while True:
            signal.pause()


if __name__ == "__main__":
    sys.exit(main())
