"""The JSON of a domain type, by the type itself: for what is too rare to be written out by hand.

A dataclass is an object of its fields, those left out that stand at their default; a named tuple is a list. A member
of a tagged union says which one it is in `type`. An interaction is always the public one.
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from types import NoneType, UnionType
from typing import Any, Final

import orjson

from interaction_router.domain.interactions import Interaction
from interaction_router.wire.interaction_json import interaction_json, read_interaction
from interaction_router.wire.trimming import trimmed

# Any throughout: what JSON holds, and what a type made of it, is known to the caller alone.
Reader = Callable[[Any], Any]

_PLAIN: Final = frozenset({str, int, float, bool, NoneType})


class Tags:
    """A union of dataclasses, each by the name that it has on the wire; names outlive classes, so they are spelt."""

    __slots__ = ("_classes", "_names")

    def __init__(self, classes: Mapping[str, type]) -> None:
        """`classes` by their names."""
        self._classes = classes
        self._names = {each: name for name, each in classes.items()}

    def plain(self, value: object) -> dict[str, Any]:
        """Return the object for orjson, `type` first."""
        return {"type": self._names[type(value)], **plain_fields(value)}

    def read(self, fields: dict[str, Any]) -> Any:
        """Return the value that `plain` was given; takes `type` out of the object."""
        return reader(self._classes[fields.pop("type")])(fields)

    @property
    def members(self) -> frozenset[type]:
        """The classes of the union."""
        return frozenset(self._names)


def dumps(value: object) -> bytes:
    """Return the JSON of an object of what this module and orjson know."""
    return trimmed(orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATACLASS))


def _plain(value: object) -> object:
    if isinstance(value, Interaction):
        return interaction_json(value)
    return list(value) if isinstance(value, tuple) else plain_fields(value)


def plain_fields(value: Any) -> dict[str, Any]:
    """Return a dataclass's fields, without those that stand at their default."""
    return {name: field for name, default in _defaults(value.__class__) if (field := getattr(value, name)) != default}


@cache
def _defaults(of: Any) -> tuple[tuple[str, object], ...]:
    return tuple((each.name, _default(each)) for each in dataclasses.fields(of) if each.init)


def _default(field: "dataclasses.Field[Any]") -> object:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


@lru_cache(maxsize=256)
def reader(kind: Any) -> Reader:
    """Return what makes a `kind` of its JSON; it trusts that this module wrote it."""
    if kind is Interaction:
        return read_interaction
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass_reader(kind)
    if isinstance(kind, type) and issubclass(kind, tuple):
        return _named_tuple_reader(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, UnionType}:
        return _optional_reader(arguments)
    if origin is tuple:
        return _tuple_reader(reader(arguments[0]))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping_reader(reader(arguments[1]))
    if kind in _PLAIN or origin is typing.Literal:
        return _as_it_is
    raise TypeError(f"no JSON is known for {kind}")


def _as_it_is(value: Any) -> Any:
    return value


def _dataclass_reader(kind: type) -> Reader:
    readers = {name: reader(each) for name, each in typing.get_type_hints(kind).items()}
    made = {name: read for name, read in readers.items() if read is not _as_it_is}

    def read(fields: dict[str, Any]) -> Any:
        for name in made.keys() & fields.keys():
            fields[name] = made[name](fields[name])
        return kind(**fields)

    return read


def _named_tuple_reader(kind: type) -> Reader:
    readers = tuple(reader(each) for each in typing.get_type_hints(kind).values())
    if all(each is _as_it_is for each in readers):
        return lambda values: kind(*values)
    return lambda values: kind(*(read(value) for read, value in zip(readers, values, strict=True)))


def _optional_reader(members: tuple[Any, ...]) -> Reader:
    (kind,) = (each for each in members if each is not NoneType)
    inner = reader(kind)
    return inner if inner is _as_it_is else lambda value: None if value is None else inner(value)


def _tuple_reader(inner: Reader) -> Reader:
    if inner is _as_it_is:
        return tuple
    return lambda values: tuple(inner(value) for value in values)


def _mapping_reader(inner: Reader) -> Reader:
    if inner is _as_it_is:
        return _as_it_is
    return lambda values: {key: inner(value) for key, value in values.items()}
