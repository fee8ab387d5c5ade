"""What a receiver has counted, for whoever asks: requests by vendor and by what became of them."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from interaction_router.receivers.gateways import Outcome

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_REQUESTS: Final = "interaction_router_webhooks_total"
_SPOOLED: Final = "interaction_router_spooled_records"


class Counts:
    """Counts requests; vendors and outcomes are words of the program, never of a request."""

    def __init__(self, spooled: Callable[[], int]) -> None:
        """`spooled` tells how many records wait in the spool now."""
        self._spooled = spooled
        self._requests: Counter[tuple[str, Outcome]] = Counter()

    def __call__(self, vendor: str, outcome: Outcome) -> None:
        """Count one request."""
        self._requests[vendor, outcome] += 1

    def exposition(self) -> str:
        """Return it as Prometheus reads it."""
        lines = [
            f"# HELP {_REQUESTS} Requests of gateways that are set up, by what became of them.",
            f"# TYPE {_REQUESTS} counter",
            *(
                f'{_REQUESTS}{{vendor="{vendor}",outcome="{outcome}"}} {count}'
                for (vendor, outcome), count in sorted(self._requests.items())
            ),
            f"# HELP {_SPOOLED} Records that wait on disk for Kafka.",
            f"# TYPE {_SPOOLED} gauge",
            f"{_SPOOLED} {self._spooled()}",
        ]
        return "\n".join(lines) + "\n"
