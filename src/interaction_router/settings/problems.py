"""What is wrong with settings: every fault at once, each with its name, its place and the way out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from interaction_router.domain.errors import FatalError
from interaction_router.settings.names import Name, dotted, variable

PlaceKind = Literal["default", "file", "environment", "flag"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value comes from: a file's path, perhaps with the line, a variable's name, a flag's."""

    kind: PlaceKind
    detail: str = ""

    def __str__(self) -> str:
        words = {"default": "default", "file": "file", "environment": "environment variable", "flag": "flag"}
        return f"{words[self.kind]} {self.detail}".rstrip()


DEFAULT = Place("default")


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault. It never holds a secret's value; `suggestion` is the name that was probably meant."""

    name: str
    place: Place
    cause: str
    suggestion: str | None = None

    def __str__(self) -> str:
        meant = f"; did you mean {self.suggestion}?" if self.suggestion else ""
        subject = f"{self.name}: " if self.name else ""
        return f"{subject}{self.cause}{meant} ({self.place})"


def spelled(name: Name, place: Place) -> str:
    """Return a setting's name as somebody at that place would write it."""
    return variable(name) if place.kind == "environment" else dotted(name)


class SettingsError(FatalError):
    """Settings are wrong: `problems` has every one of the faults."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep the faults, in the order of the places they are at."""
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(
            "settings_invalid",
            f"{count} fault{'' if count == 1 else 's'} in the settings:\n"
            + "\n".join(f"  {problem}" for problem in self.problems),
            "\nMend each where it is; interaction-router config docs explains every setting.",
        )


class UnusableSettingError(FatalError):
    """A setting is well written and cannot be used here, as an address that is not this machine's."""
