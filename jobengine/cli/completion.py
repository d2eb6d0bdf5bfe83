"""`jobengine completion`: prints a script with which a shell completes command lines."""

import click
from click.shell_completion import get_completion_class

from .command import command


@command(
    "completion",
    "jobengine completion bash > jobengine.bash\njobengine completion zsh > _jobengine\n"
    "jobengine completion fish > jobengine.fish",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """
    Print a script that completes command lines in a shell.

    In bash, add `source <(jobengine completion bash)` to ~/.bashrc.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "jobengine", "_JOBENGINE_COMPLETE").source())
