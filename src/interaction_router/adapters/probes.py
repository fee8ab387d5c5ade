"""Health and metrics of a worker: `/livez`, `/readyz` and `/metrics`."""

import errno
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import orjson
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from interaction_router.adapters.prometheus import Meters
from interaction_router.adapters.web import Answer, Page, WebServer
from interaction_router.application.health import LaneState, Verdict, alive, prepared
from interaction_router.domain.errors import RetryableError
from interaction_router.ports import Clock
from interaction_router.settings import UnusableSettingError, WorkerSettings

logger = logging.getLogger("interaction_router.web")

_WELL, _ILL = 200, 503


class Watched(Protocol):
    """What drives the partitions; may be asked in any thread."""

    @property
    def ready(self) -> bool:
        """Whether every role has its partitions and their takeovers are done."""
        ...

    def busy(self) -> Mapping[str, float]:
        """Return for how many seconds each partition has not got on with what it has."""
        ...

    async def states(self) -> Sequence[LaneState]:
        """Return how far each partition is."""
        ...


class Probes:
    """Answers what orchestrators and Prometheus ask."""

    def __init__(self, watched: Watched, meters: Meters, clock: Clock, *, stall_limit_s: float) -> None:
        """`stall_limit_s` is for how long a partition, or the event loop, may stand still."""
        self._watched = watched
        self._meters = meters
        self._clock = clock
        self._stall_limit_s = stall_limit_s
        self._pulse_s = time.monotonic()

    async def pulse(self) -> None:
        """Show that the event loop runs; to be called in it every second or so."""
        self._pulse_s = time.monotonic()

    def pages(self) -> Mapping[str, Page]:
        """Return the pages by their paths."""
        return {"/livez": self.live, "/readyz": self.ready, "/metrics": self.metrics}

    async def live(self) -> Answer:
        """Tell whether the worker gets on with what it has."""
        pulse_age_s = time.monotonic() - self._pulse_s
        return _answer(alive(pulse_age_s=pulse_age_s, busy_s=self._watched.busy(), limit_s=self._stall_limit_s))

    async def ready(self) -> Answer:
        """Tell whether the worker has its partitions and has taken them over."""
        return _answer(prepared(ready=self._watched.ready))

    async def metrics(self) -> Answer:
        """Return all metrics; lags are asked of the broker."""
        states = await self._watched.states()
        body = self._meters.exposition(states, ready=self._watched.ready, now_ms=self._clock.now_ms())
        return Answer(_WELL, body, CONTENT_TYPE_PLAIN_0_0_4)


@contextmanager
def serving(settings: WorkerSettings, pages: Mapping[str, Page]) -> Iterator[None]:
    """Serve the pages as long as the context lasts, where the settings say so.

    Workers that share a machine, and whose settings name no port, go on without where another has the default one.

    Raises:
        RetryableError: the port that is set is taken.
        UnusableSettingError: nothing can listen at the address that is set.
    """
    server = WebServer(pages)
    host, port = settings.web_host, settings.web_port
    if port != 0:
        try:
            server.start(host, port)
        except OSError as error:
            _refuse(settings, error)
        else:
            logger.info("web_serves", extra={"host": host, "port": port})
    try:
        yield
    finally:
        server.stop()


def _refuse(settings: WorkerSettings, error: OSError) -> None:
    """Raise what it means that nothing can listen; but for the default port, which another worker may have."""
    place = f"{settings.web_host}:{settings.web_port}"
    if error.errno != errno.EADDRINUSE:
        cause = f"Health and metrics cannot be served at {place} ({error.strerror or type(error).__name__})."
        advice = "Check worker.web_host and worker.web_port; 0 serves none."
        raise UnusableSettingError("web_address", cause, advice) from error
    if "web_port" in settings.model_fields_set:
        cause = f"Another program listens at {place}, where health and metrics are to be served."
        raise RetryableError(
            "web_port_taken", cause, "Set worker.web_port to a free port, or to 0 for none."
        ) from error
    logger.warning("web_port_taken", extra={"host": settings.web_host, "port": settings.web_port})


def _answer(verdict: Verdict) -> Answer:
    body = orjson.dumps({"ok": verdict.well, "reasons": list(verdict.reasons)}) + b"\n"
    return Answer(_WELL if verdict.well else _ILL, body, "application/json")
