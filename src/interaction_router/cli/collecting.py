"""How rarely a process that lives long, or works through a whole log, looks for cycles: records and requests make none."""

import gc
from typing import Final

_COLLECT_AFTER: Final = 500_000
"""Allocations between two looks: each costs more than it frees, and keeps what is under way waiting."""


def collect_rarely() -> None:
    """Leave out of every later look what is there now."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
