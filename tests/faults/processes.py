"""Processes in which a story is the same whenever it is told: sets of texts have one order there."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

_SEED = "PYTHONHASHSEED"


@contextmanager
def same_processes() -> Iterator[ProcessPoolExecutor]:
    """Yield a pool over all cores."""
    before = os.environ.get(_SEED)
    os.environ[_SEED] = "0"  # read when an interpreter starts, and so by those of the pool only
    try:
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
            yield pool
    finally:
        if before is None:
            del os.environ[_SEED]
        else:
            os.environ[_SEED] = before
