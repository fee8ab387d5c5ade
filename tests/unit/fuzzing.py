"""How hard parsers are fuzzed: a little always, and as much as `FUZZ_EXAMPLES` says when somebody asks."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))

fuzzed = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail where something takes much more of the processor's time than its size allows."""
    begun = time.thread_time()
    yield
    assert time.thread_time() - begun < seconds
