"""What a receiver has counted, for whoever asks: requests by vendor and by what became of them."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from interaction_router.receivers.gateways import Outcome
from interaction_router.telemetry import SPOOLED, WEBHOOKS, full_name

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


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
        requests, spooled = full_name(WEBHOOKS), full_name(SPOOLED)
        lines = [
            f"# HELP {requests} {WEBHOOKS.caption}",
            f"# TYPE {requests} {WEBHOOKS.kind}",
            *(
                f'{requests}{{vendor="{vendor}",outcome="{outcome}"}} {count}'
                for (vendor, outcome), count in sorted(self._requests.items())
            ),
            f"# HELP {spooled} {SPOOLED.caption}",
            f"# TYPE {spooled} {SPOOLED.kind}",
            f"{spooled} {self._spooled()}",
        ]
        return "\n".join(lines) + "\n"
