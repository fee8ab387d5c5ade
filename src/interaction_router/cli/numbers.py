"""Numbers on a command line."""

import math
from typing import Any

import click


class Number(click.FloatRange):
    """A number of a range; `nan`, which compares with nothing, and infinity are of none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # click's
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number
