"""Where values come from: a TOML file, the environment, flags. Each is read into names, raw values and places."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from interaction_router.settings.names import PREFIX, SEPARATOR, Name, dotted, nearest, shape_of
from interaction_router.settings.problems import Place, Problem, spelled

CONFIG_VARIABLE = f"{PREFIX}CONFIG"
FILE_SUFFIX = "_file"
LARGEST_SECRET_CHARACTERS = 65_536
# Kubernetes and Docker links put the address of every service of the namespace into the environment; one called
# interaction-router, or interaction-router-console, gets names with our prefix. They are no settings.
SERVICE_LINK = re.compile(
    r"(?:[A-Z0-9]+_)*(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)
TOML_HEADER = re.compile(r"\s*\[+([^\[\]]+)\]+\s*(?:#.*)?")


class Given(NamedTuple):
    """A value as it was written, and where."""

    raw: object
    place: Place


@dataclass(slots=True)
class Reading:
    """What one source gives, and what is wrong with it."""

    values: dict[Name, Given] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def take(self, name: Name, raw: object, place: Place, *, text: bool) -> None:
        """Keep a value where there is such a setting and the value has its shape; `text` came as a string."""
        shape = shape_of(name)
        if shape is None:
            self.refuse(name, place, "there is no such setting", suggest=True)
        elif raw == "" and (text or shape == "secret"):  # what is compared with an empty secret may be forged
            self.refuse(name, place, "is empty: give a value, or leave it out")
        elif shape == "table" and not isinstance(raw, Mapping):
            example = spelled((*name, "<name>"), place)
            self.refuse(name, place, f"is a table of settings: set one in it, as {example}")
        elif shape != "table" and isinstance(raw, Mapping):
            self.refuse(name, place, "is one value, not a table")
        elif name in self.values:
            self.refuse(name, place, f"is also set by {self.values[name].place}: keep one")
        elif text and shape == "list":
            self._take_list(name, str(raw), place)
        else:
            self.values[name] = Given(raw, place)

    def refuse(self, name: Name, place: Place, cause: str, *, suggest: bool = False) -> None:
        """Note a fault, perhaps with the name that was probably meant."""
        meant = nearest(name) if suggest else None
        self.problems.append(Problem(dotted(name), place, cause, None if meant is None else spelled(meant, place)))

    def _take_list(self, name: Name, raw: str, place: Place) -> None:
        try:
            items = json.loads(raw)
        except ValueError:
            items = None
        if isinstance(items, list):
            self.values[name] = Given(items, place)
        else:
            self.refuse(name, place, 'must be a JSON list, as ["a", "b"]')


def from_environment(env: Mapping[str, str]) -> Reading:
    """Read the variables that begin with the program's prefix; others are not looked at."""
    reading = Reading()
    for key in sorted(env):
        if not key.startswith(PREFIX) or key == CONFIG_VARIABLE:
            continue
        place = Place("environment", key)
        name = tuple(key.removeprefix(PREFIX).lower().split(SEPARATOR))
        secret = (*name[:-1], name[-1].removesuffix(FILE_SUFFIX))
        if secret != name and shape_of(secret) == "secret":
            _take_secret_file(reading, secret, env[key], place)
        elif shape_of(name) is None and _is_service_link(key.removeprefix(PREFIX), env[key]):
            continue
        else:
            reading.take(name, env[key], place, text=True)
    return reading


def _is_service_link(rest: str, value: str) -> bool:
    if SEPARATOR in rest or not SERVICE_LINK.fullmatch(rest):
        return False
    return "SERVICE_" in rest or "PORT_" in rest or "://" in value


def _take_secret_file(reading: Reading, name: Name, path: str, place: Place) -> None:
    try:
        with Path(path).open(encoding="utf-8") as file:
            secret = file.read(LARGEST_SECRET_CHARACTERS + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        reading.refuse(name, place, f"the file that it names cannot be read: {reason}")
        return
    if len(secret) > LARGEST_SECRET_CHARACTERS:
        reading.refuse(name, place, "the file that it names is too large for a secret")
        return
    reading.take(name, secret.rstrip("\r\n"), place, text=True)


def from_flags(flags: Mapping[str, object]) -> Reading:
    """Read values by dotted name; None is a flag that was not given."""
    reading = Reading()
    for key, raw in flags.items():
        if raw is not None:
            reading.take(tuple(key.split(".")), raw, Place("flag", key), text=isinstance(raw, str))
    return reading


def from_file(path: Path) -> Reading:
    """Read a TOML file."""
    reading = Reading()
    place = Place("file", str(path))
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        reading.problems.append(Problem("", place, f"the file cannot be read: {error.strerror}"))
    except UnicodeDecodeError:
        reading.problems.append(Problem("", place, "the file is not UTF-8 text"))
    except tomllib.TOMLDecodeError as error:
        reading.problems.append(Problem("", place, f"the file is not TOML: {error}"))
    else:
        lines = _lines(text)
        for name, raw in _values(document, ()):
            line = next((lines[name[:length]] for length in range(len(name), 0, -1) if name[:length] in lines), None)
            where = place if line is None else Place("file", f"{path} line {line}")
            reading.take(name, raw, where, text=False)
    return reading


def _values(table: Mapping[str, object], name: Name) -> Iterator[tuple[Name, object]]:
    """Go through what the file sets: values, and tables that are empty or unknown as a whole."""
    for key, value in table.items():
        path = (*name, key)
        if isinstance(value, Mapping) and value and shape_of(path) == "table":
            yield from _values(value, path)
        else:
            yield path, value


def _lines(text: str) -> dict[Name, int]:
    """Return the line that each table and each key of a TOML text begins on.

    The parser does not tell, so each statement is cut out and parsed by itself.
    """
    found: dict[Name, int] = {}
    table: Name = ()
    rows = text.splitlines()
    index = 0
    while index < len(rows):
        if header := TOML_HEADER.fullmatch(rows[index]):
            table = _path(header[1])
            found.setdefault(table, index + 1)
            index += 1
            continue
        end, keys = _statement(rows, index)
        for key in keys:
            found.setdefault((*table, *key), index + 1)
        index = end
    return found


def _statement(rows: list[str], start: int) -> tuple[int, list[Name]]:
    """Return the line after the statement that begins on a line, and the names that it sets."""
    for end in range(start + 1, len(rows) + 1):
        try:
            parsed = tomllib.loads("\n".join(rows[start:end]))
        except tomllib.TOMLDecodeError:
            continue
        return end, list(_paths(parsed, ()))
    return start + 1, []


def _paths(table: Mapping[str, object], name: Name) -> Iterator[Name]:
    for key, value in table.items():
        path = (*name, key)
        yield path
        if isinstance(value, Mapping):
            yield from _paths(value, path)


def _path(key: str) -> Name:
    """Return the parts of a dotted, perhaps quoted, TOML key."""
    try:
        return max(_paths(tomllib.loads(f"{key} = 0"), ()), key=len)
    except tomllib.TOMLDecodeError:
        return (key,)
