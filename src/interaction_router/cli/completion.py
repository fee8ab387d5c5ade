"""`completion`: scripts that let a shell complete nouns and options."""

import click
from click.shell_completion import get_completion_class

from interaction_router.cli.app import RouterCommand
from interaction_router.cli.invocation import Invocation
from interaction_router.cli.nouns import COMPLETION_VARIABLE, PROGRAM


@click.command("completion", cls=RouterCommand, short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def noun(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash: eval "$(interaction-router completion bash)"                         in ~/.bashrc
    zsh:  eval "$(interaction-router completion zsh)"                          in ~/.zshrc
    fish: interaction-router completion fish > ~/.config/fish/completions/interaction-router.fish
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    script = get_completion_class(shell)
    assert script is not None, "click has each of the choices"
    root = context.find_root()
    context.ensure_object(Invocation).output.text(script(root.command, {}, PROGRAM, COMPLETION_VARIABLE).source())
