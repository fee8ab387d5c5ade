"""How a run ends that went wrong: the one place that knows exit codes."""

import sys

import click
import orjson

from interaction_router.cli.output import safe
from interaction_router.domain.errors import ConfigurationError, RetryableError, RouterError

DONE = 0
FOUND_A_FAULT = 1
UNAVAILABLE = 69
BAD_CONFIGURATION = 78
INTERRUPTED = 130


def exit_code(error: RouterError) -> int:
    """Return the exit code of an error's kind."""
    from interaction_router.settings import SettingsError, UnusableSettingError  # noqa: PLC0415 - only a failed run

    match error:
        case SettingsError() | UnusableSettingError() | ConfigurationError():
            return BAD_CONFIGURATION
        case RetryableError():
            return UNAVAILABLE
        case _:
            return FOUND_A_FAULT


def tell(error: RouterError, *, as_json: bool) -> None:
    """Print an error to standard error: code, cause and what to do."""
    if as_json:
        _print_json(_described(error))
        return
    causes = [safe(line) for line in error.cause.splitlines()]
    advice = error.advice.strip()
    if len(causes) == 1:
        sys.stderr.write(f"error: {error.code}: {' '.join([_sentence(causes[0]), safe(advice)]).rstrip()}\n")
    else:
        sys.stderr.write(
            "\n".join([f"error: {error.code}: {causes[0]}", *causes[1:], *([safe(advice)] * bool(advice))]) + "\n"
        )


def tell_usage(error: click.ClickException, *, as_json: bool) -> None:
    """Print what is wrong with the command line, and the help to ask for."""
    context = getattr(error, "ctx", None)
    hint = f"Try {context.command_path} --help." if isinstance(context, click.Context) else ""
    cause = " ".join(error.format_message().split())  # click lists choices on lines of their own
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        cause = f"there is no option {error.option_name}; did you mean {error.possibilities[0]}?"
    if as_json:
        _print_json({"error": "usage", "cause": cause, "advice": hint})
    else:
        sys.stderr.write(f"error: usage: {' '.join([_sentence(safe(cause)), hint]).rstrip()}\n")


def _described(error: RouterError) -> dict[str, object]:
    from interaction_router.settings import SettingsError  # noqa: PLC0415

    described: dict[str, object] = {
        "error": error.code,
        "cause": error.cause.splitlines()[0] if error.cause else "",
        "advice": error.advice.strip(),
    }
    if isinstance(error, SettingsError):
        described["problems"] = [
            {
                "setting": problem.name,
                "place": problem.place.kind,
                "at": problem.place.detail,
                "cause": problem.cause,
                "did_you_mean": problem.suggestion,
            }
            for problem in error.problems
        ]
    return described


def _print_json(values: dict[str, object]) -> None:
    sys.stderr.write(orjson.dumps(values).decode() + "\n")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
