"""`jobengine serve`: the server, in the foreground."""

import click

from .command import command


@command(
    "serve",
    "jobengine serve --db-path data/jobengine.jedb --api-port 6006",
    common=False,
    add_help_option=False,
    options_metavar="",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("options", metavar="[OPTION]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def serve(context: click.Context, options: tuple[str, ...]) -> None:
    """
    Run the server in the foreground, with the options of `twistd jobengine`.

    It logs to the terminal, and stops at Ctrl-C or SIGTERM.
    """
    if "--help" in options:
        click.echo(context.get_help())
    from .server import run_server  # imported here, so that other commands do not load Twisted

    run_server(options)
