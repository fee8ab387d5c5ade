"""The program's frame: its nouns, its global options, and how every run ends."""

import errno
import io
import logging
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click
from click.exceptions import Exit, NoArgsIsHelpError
from click.shell_completion import shell_complete

from interaction_router import __version__
from interaction_router.cli.faults import DONE, INTERRUPTED, exit_code, tell, tell_usage
from interaction_router.cli.invocation import Invocation, shared_options
from interaction_router.cli.nouns import COMPLETION_VARIABLE, NOUNS, PROGRAM
from interaction_router.cli.output import drop_output, flush_output
from interaction_router.domain.errors import FatalError, RouterError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
LONGEST_SENTENCE = 200


class RouterCommand(click.Command):
    """A command that takes the global options too, so that they may stand before the noun or after it."""

    def __init__(self, *args: Any, **keywords: Any) -> None:  # click's own parameters, passed on
        super().__init__(*args, **keywords)
        self.params.extend(shared_options())


class RouterGroup(click.Group):
    """A group that knows which command was meant."""

    command_class = RouterCommand

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one is near."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            near = get_close_matches(name, self.list_commands(ctx), n=1)
            ctx.fail(f"there is no command {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, each with its whole first sentence: click would cut it off at the line's end."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, each.get_short_help_str(LONGEST_SENTENCE)) for name, each in commands if each is not None]
            )


RouterGroup.group_class = RouterGroup


class Nouns(RouterGroup):
    """The nouns, each loaded from its file when it is used, not when it is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the nouns in the order of the help."""
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Load one noun."""
        if cmd_name not in NOUNS:
            return None
        command = import_module(f"interaction_router.cli.{cmd_name}").noun
        assert isinstance(command, click.Command), "each file of NOUNS has its command as `noun`"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List the nouns under their headings."""
        widest = max(map(len, NOUNS))
        for heading in dict.fromkeys(noun.heading for noun in NOUNS.values()):
            with formatter.section(heading):
                formatter.write_dl(
                    [(name.ljust(widest), noun.summary) for name, noun in NOUNS.items() if noun.heading == heading]
                )


@click.group(cls=Nouns, context_settings=CONTEXT, params=shared_options())
@click.version_option(__version__, "--version", prog_name=PROGRAM, message="%(prog)s %(version)s")
def router() -> None:
    """Assign calls, e-mails, SMS and chat messages to the conversations of their contacts.

    Settings come from the defaults, then a TOML file (--config, or INTERACTION_ROUTER_CONFIG), then the environment
    (INTERACTION_ROUTER_KAFKA__BOOTSTRAP_SERVERS), then flags (--set kafka.bootstrap_servers=kafka-1:9092).

    \b
    Exit codes: 0 done, 1 it found a fault, 2 usage, 69 a server is unavailable,
    78 bad configuration.
    """  # noqa: D301 - \b is click's mark for lines that stay as they are


def run(args: Sequence[str], invocation: Invocation) -> int:
    """Run one command line and return its exit code; errors are told on standard error.

    A command that found a fault returns 1; one that returns nothing is done.
    """
    as_json = "--json" in args
    try:
        _check_text(args)
        with router.make_context(PROGRAM, list(args), obj=invocation) as context:
            result = router.invoke(context)
        flush_output()
    except RouterError as error:
        tell(error, as_json=as_json)
        return exit_code(error)
    except NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        tell_usage(error, as_json=as_json)
        return error.exit_code
    except Exit as request:
        return request.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone, which is its right: nobody follows any longer.
        drop_output()
        return DONE
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        drop_output()
        full = FatalError("disk_full", "No space is left for what this writes.", "Make room, and run it again.")
        tell(full, as_json=as_json)
        return exit_code(full)
    return result if isinstance(result, int) else DONE


def _check_text(args: Sequence[str]) -> None:
    """Raise a usage error for an argument that could be written nowhere: records are UTF-8."""
    for arg in args:
        try:
            arg.encode()
        except UnicodeEncodeError:
            message = f"the argument {arg!r} is not UTF-8"
            raise click.UsageError(message) from None


def main() -> NoReturn:
    """Run the program with the process's arguments and environment."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever has started it
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - until the process ends
    # Names of customers are printed in any script, and JSON is UTF-8: no locale may stop either.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    if instruction := os.environ.get(COMPLETION_VARIABLE):
        sys.exit(shell_complete(router, {}, PROGRAM, COMPLETION_VARIABLE, instruction))
    # What the client logs of a broker that is away, the command says itself; `worker` has handlers of its own.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    sys.exit(run(sys.argv[1:], Invocation(env=dict(os.environ))))
