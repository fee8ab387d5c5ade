"""Values of the domain as what they can be told apart and hashed by."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from operator import attrgetter


def canonical(value: object) -> Hashable:
    """Return what is equal for equal values, in whatever order their mappings were filled."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, tuple):
        return tuple(map(canonical, value))
    if isinstance(value, Mapping):
        return tuple(sorted((key, canonical(each)) for key, each in value.items()))
    kind: type = type(value)
    if is_dataclass(kind):
        return kind.__name__, *(canonical(get(value)) for get in _fields(kind))
    raise TypeError(f"a {type(value).__name__} cannot be told apart")


@cache
def _fields(kind: type) -> tuple[Callable[[object], object], ...]:
    return tuple(attrgetter(each.name) for each in fields(kind) if each.compare)
