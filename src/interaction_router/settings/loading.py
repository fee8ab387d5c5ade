"""Puts settings together: defaults, then the file, the environment and the flags, each over the one before."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, Secret, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from interaction_router.settings.certificates import unusable_certificates
from interaction_router.settings.consistency import Contradiction, contradictions
from interaction_router.settings.kinds import format_duration
from interaction_router.settings.model import Settings
from interaction_router.settings.names import Name, dotted, shape_of
from interaction_router.settings.problems import DEFAULT, Place, Problem, SettingsError
from interaction_router.settings.sources import (
    CONFIG_VARIABLE,
    Given,
    Reading,
    from_environment,
    from_file,
    from_flags,
)

LONGEST_ECHO_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Effective:
    """One setting that is in force: its name, its value as it may be shown, and where it comes from."""

    name: str
    value: object
    place: Place


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings, and the place of each value that is no default."""

    settings: Settings
    places: Mapping[Name, Place]

    def effective(self) -> Iterator[Effective]:
        """Go through all settings in the order of the reference page, secrets masked."""
        for name, value in _flattened(self.settings, ()):
            yield Effective(dotted(name), value, place_of(name, self.places))

    def check_files(self) -> None:
        """Open the files of certificates and keys, which else whoever uses them does.

        Raises:
            SettingsError: with every one that cannot be used.
        """
        if problems := _problems(unusable_certificates(self.settings), self.places):
            raise SettingsError(problems)


def load_settings(env: Mapping[str, str], config_file: Path | None, flags: Mapping[str, object]) -> Settings:
    """Return the settings; reads nothing but its arguments and the files that they name.

    Without `config_file` it is the one that INTERACTION_ROUTER_CONFIG names. `flags` are values by dotted name, None
    for one that was not given.

    Raises:
        SettingsError: with everything that is wrong, not only the first.
    """
    return resolve_settings(env, config_file, flags).settings


def resolve_settings(env: Mapping[str, str], config_file: Path | None, flags: Mapping[str, object]) -> Resolved:
    """Return the settings with the place of each, as `load_settings` does."""
    given, problems = _merged(env, config_file, flags)
    places = {name: value.place for name, value in given.items()}
    try:
        settings = Settings.model_validate(_tree(given))
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise SettingsError([*problems, *(_problem(detail, places) for detail in details)]) from None
    problems += _problems(contradictions(settings), places)
    if problems:
        raise SettingsError(problems)
    return Resolved(settings, places)


def _problems(found: Iterable[Contradiction], places: Mapping[Name, Place]) -> list[Problem]:
    return [Problem(dotted(name), place_of(name, places), cause, meant) for name, cause, meant in found]


def _merged(
    env: Mapping[str, str], config_file: Path | None, flags: Mapping[str, object]
) -> tuple[dict[Name, Given], list[Problem]]:
    path = config_file or (Path(env[CONFIG_VARIABLE]) if env.get(CONFIG_VARIABLE) else None)
    readings = [from_file(path) if path else Reading(), from_environment(env), from_flags(flags)]
    given = {name: value for reading in readings for name, value in reading.values.items()}
    return given, [problem for reading in readings for problem in reading.problems]


def _tree(given: Mapping[Name, Given]) -> dict[str, object]:
    """Return nested tables; a table that a source has empty does not hide what others have in it."""
    root: dict[str, object] = {}
    for name, value in given.items():
        table = root
        for part in name[:-1]:
            inner = table.setdefault(part, {})
            assert isinstance(inner, dict), "only tables stand before the last part of a name that exists"
            table = inner
        if isinstance(value.raw, Mapping):
            table.setdefault(name[-1], {})
        else:
            table[name[-1]] = value.raw
    return root


def place_of(name: Name, places: Mapping[Name, Place]) -> Place:
    """Return where a setting was set, or, of one that is missing, where its table was."""
    if name in places:
        return places[name]
    within = (place for other, place in places.items() if other[: len(name)] == name)
    return next(within, DEFAULT)


def _problem(detail: ErrorDetails, places: Mapping[Name, Place]) -> Problem:
    """Say a fault that the model found; what it echoes of the value is short, and nothing of a secret."""
    name, position, of_key = _locate(detail["loc"])
    message = (
        detail["msg"].removeprefix("Value error, ").replace("Input should", "must").replace("String should", "must")
    )
    if detail["type"] == "missing":
        place = place_of(name[:-1], places)
        return Problem(dotted(name), place, "is missing: its table is set, and it has no default")
    if detail["type"] == "string_pattern_mismatch":
        message = f"must match {detail['ctx']['pattern']}"
    cause = f"{'the name ' if of_key else ''}{position}{message}"
    if shape_of(name) != "secret" and not of_key and detail["type"] != "path_not_file":
        value = detail["input"]
        echo = f"{value.total_seconds():g} seconds" if isinstance(value, timedelta) else repr(value)
        cause += f", is {echo}" if len(echo) <= LONGEST_ECHO_CHARACTERS else ""
    elif detail["type"] == "path_not_file":
        cause = f"must be the path of a file that is there, is {str(detail['input'])!r}"
    return Problem(dotted(name), place_of(name, places), cause)


def _locate(location: tuple[int | str, ...]) -> tuple[Name, str, bool]:
    """Return a fault's setting, which item of its list is at fault, and whether the name itself is."""
    of_key = location[-1] == "[key]"
    parts = [part for part in location if part != "[key]"]
    position = "".join(f"item {part + 1} " for part in parts if isinstance(part, int))
    name: Name = ()
    for part in parts:
        if not isinstance(part, str) or shape_of((*name, part)) is None:
            break
        name = (*name, part)
    return name, position, of_key


def _flattened(value: object, name: Name) -> Iterator[tuple[Name, object]]:
    if isinstance(value, BaseModel):
        items = [(field, getattr(value, field)) for field in type(value).model_fields]
    elif isinstance(value, Mapping):
        items = list(value.items())
    else:
        yield name, _shown(value)
        return
    for key, inner in items:
        yield from _flattened(inner, (*name, key))


def _shown(value: object) -> object:
    """Return a value as it may be printed or written as JSON."""
    match value:
        case Secret() | SecretStr():
            return str(value)
        case timedelta():
            return format_duration(value)
        case Path():
            return str(value)
        case tuple():
            return list(value)
        case _:
            return value
