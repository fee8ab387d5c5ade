"""The names of settings: what a dotted name stands for, and which right one a wrong one is nearest to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Literal, TypeAlias, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, Secret, SecretStr
from pydantic.fields import FieldInfo

from interaction_router.settings.kinds import Key
from interaction_router.settings.model import Settings

PREFIX = "INTERACTION_ROUTER_"
SEPARATOR = "__"

Name: TypeAlias = tuple[str, ...]
Shape = Literal["table", "list", "secret", "value"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A setting that has a value; a part of its name in angle brackets stands for any key."""

    name: Name
    kind: object
    field: FieldInfo


def dotted(name: Name) -> str:
    """Return the name as files, flags and messages have it: `redis.url`."""
    return ".".join(name)


def variable(name: Name) -> str:
    """Return the environment variable of a setting: `INTERACTION_ROUTER_REDIS__URL`."""
    return PREFIX + SEPARATOR.join(part if part.startswith("<") else part.upper() for part in name)


def shape_of(name: Name) -> Shape | None:
    """Return what the name stands for; None where there is no such setting."""
    kind: object = Settings
    for part in name:
        kind = _child(kind, part)
        if kind is None:
            return None
    return shape_of_kind(kind)


def shape_of_kind(kind: object) -> Shape:
    """Return the shape that a type of the model has."""
    if _is_model(kind) or get_origin(kind) is Mapping:
        return "table"
    if get_origin(kind) is tuple:
        return "list"
    if isinstance(kind, type) and issubclass(kind, Secret | SecretStr):
        return "secret"
    return "value"


def leaves() -> Iterator[Leaf]:
    """Go through all settings in the order of the model."""
    yield from _leaves_of(Settings, ())


def nearest(name: Name) -> Name | None:
    """Return the existing name that a wrong one most likely means."""
    spelled = {"_".join(filled): filled for leaf in leaves() for filled in [_filled(leaf.name, name)]}
    if found := get_close_matches("_".join(name), list(spelled), n=1, cutoff=0.8):
        return spelled[found[0]]
    known = 0
    kind: object = Settings
    while known < len(name) and (child := _child(kind, name[known])) is not None:
        kind, known = child, known + 1
    if known < len(name) and _is_model(kind):
        siblings = get_close_matches(name[known], list(kind.model_fields), n=1)
        if siblings and shape_of(repaired := (*name[:known], siblings[0], *name[known + 1 :])):
            return repaired
    return None


def _filled(pattern: Name, name: Name) -> Name:
    """Return the pattern with the keys of a given name in place of what stands for any."""
    return tuple(
        name[index] if part.startswith("<") and index < len(name) else part for index, part in enumerate(pattern)
    )


def _leaves_of(kind: object, name: Name) -> Iterator[Leaf]:
    if not _is_model(kind):
        return
    for part, field in kind.model_fields.items():
        inner, path = plain(field.annotation), (*name, part)
        while get_origin(inner) is Mapping:
            key, value = get_args(inner)
            path, inner = (*path, f"<{_word(key)}>"), plain(value)
        if _is_model(inner):
            yield from _leaves_of(inner, path)
        else:
            yield Leaf(path, inner, field)


def _child(kind: object, part: str) -> object | None:
    """Return the type of what a table has under a key, None where it has no such key."""
    if _is_model(kind):
        field = kind.model_fields.get(part)
        return None if field is None else plain(field.annotation)
    if get_origin(kind) is Mapping and part:
        return plain(get_args(kind)[1])
    return None


def plain(kind: object) -> object:
    """Return a type without its annotations and without `None`."""
    if get_origin(kind) is Annotated:
        return plain(get_args(kind)[0])
    if get_origin(kind) in {Union, UnionType}:
        return plain(next(choice for choice in get_args(kind) if choice is not NoneType))
    return kind


def _word(key: object) -> str:
    return next(mark.word for mark in get_args(key) if isinstance(mark, Key))


def _is_model(kind: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
