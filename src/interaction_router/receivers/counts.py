"""What a receiver has counted, for whoever asks: requests by vendor and by what became of them."""

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from interaction_router.receivers.gateways import Outcome
from interaction_router.telemetry import PREFIX, SPOOLED, WEBHOOKS


class Counts(Collector):
    """Counts requests; vendors and outcomes are words of the program, never of a request."""

    def __init__(self, spooled: Callable[[], int]) -> None:
        """`spooled` tells how many records wait in the spool now."""
        self._spooled = spooled
        self._requests: Counter[tuple[str, Outcome]] = Counter()

    def __call__(self, vendor: str, outcome: Outcome) -> None:
        """Count one request."""
        self._requests[vendor, outcome] += 1

    def collect(self) -> Iterator[Metric]:
        """Go through the families."""
        requests = CounterMetricFamily(PREFIX + WEBHOOKS.name, WEBHOOKS.caption, labels=WEBHOOKS.labels)
        for labels, count in self._requests.items():
            requests.add_metric(labels, count)
        yield requests
        yield GaugeMetricFamily(PREFIX + SPOOLED.name, SPOOLED.caption, self._spooled())

    def exposition(self) -> bytes:
        """Return it as Prometheus reads it."""
        return generate_latest(self)
