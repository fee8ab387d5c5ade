"""What one run of the program was asked: its settings and how it prints, and the options that every command has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from interaction_router.cli.output import Output

if TYPE_CHECKING:
    from interaction_router.settings import Resolved, Settings

Function = TypeVar("Function", bound=Callable[..., object])


@dataclass
class Invocation:
    """Given to every command by `click.pass_obj`."""

    env: Mapping[str, str]
    config_file: Path | None = None
    flags: dict[str, object] = field(default_factory=dict)
    as_json: bool = False

    @cached_property
    def output(self) -> Output:
        """How this run prints."""
        return Output(as_json=self.as_json)

    @cached_property
    def resolved(self) -> "Resolved":
        """The settings with their places, read once: what is piped in, as a shell's `<(…)`, can be read no second time.

        Raises:
            SettingsError: with everything that is wrong.
        """
        return self._resolve({})

    def settings(self, flags: Mapping[str, object] | None = None) -> "Settings":
        """Return the settings; `flags` are a command's own options by dotted name, None for one not given.

        A command that has such options asks once.

        Raises:
            SettingsError: with everything that is wrong.
        """
        return self.resolved.settings if flags is None else self._resolve(flags).settings

    def _resolve(self, flags: Mapping[str, object]) -> "Resolved":
        from interaction_router.settings import resolve_settings  # noqa: PLC0415 - `--help` needs no settings

        return resolve_settings(self.env, self.config_file, {**self.flags, **_given(flags)})


def _given(flags: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in flags.items() if value is not None}


def take_config(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    """Keep `--config`, wherever on the command line it stands."""
    if value is not None:
        context.ensure_object(Invocation).config_file = value


def take_flags(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> None:
    """Keep each `--set NAME=VALUE`; of two for one name the later stands."""
    for text in values:
        name, equals, value = text.partition("=")
        if not (name and equals):
            message = "must be NAME=VALUE, as namespace=staging"
            raise click.BadParameter(message, ctx=context, param=parameter)
        context.ensure_object(Invocation).flags[name] = value


def shared_options() -> list[click.Parameter]:
    """Return the options that stand before or after the noun alike."""
    return [
        click.Option(
            ["--config"],
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            expose_value=False,
            callback=take_config,
            help="Read settings from this TOML file.",
        ),
        click.Option(
            ["--set"],
            multiple=True,
            metavar="NAME=VALUE",
            expose_value=False,
            callback=take_flags,
            help="Set one setting, above file and environment; repeatable.",
        ),
    ]


def json_option(function: Function) -> Function:
    """Give a command that prints its `--json`."""

    def take(context: click.Context, _parameter: click.Parameter, value: Any) -> None:  # click knows no type
        context.ensure_object(Invocation).as_json = bool(value)

    option = click.option("--json", is_flag=True, expose_value=False, callback=take, help="Print JSON.")
    return option(function)
