"""The base of every command: common options, examples in the help, and errors."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

import click

from jobengine.client import JobEngineError

from .exit_codes import Exit, Failed, exit_of
from .session import Session
from .suggestions import complete_profiles


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Store a common option in the session; users may put it before or after the command's name."""
    if value:
        setattr(context.ensure_object(Session), str(parameter.name), value)


def common_options() -> list[click.Parameter]:
    """The options that every command takes."""
    return [
        click.Option(
            ["--url"],
            metavar="URL",
            expose_value=False,
            callback=_keep,
            help="The server's URL.  [JOBENGINE_URL; http://127.0.0.1:6006]",
        ),
        click.Option(
            ["--profile"],
            metavar="NAME",
            expose_value=False,
            callback=_keep,
            shell_complete=complete_profiles,
            help="A profile in config.toml with address and keys.  [JOBENGINE_PROFILE]",
        ),
        json_option(),
    ]


def json_option() -> click.Option:
    """The option that makes a command print JSON."""
    return click.Option(
        ["--json"],
        is_flag=True,
        expose_value=False,
        callback=_keep,
        help="Print JSON; for a list, one line for each item.",
    )


class Command(click.Command):
    """A command whose help ends with examples."""

    def __init__(self, *args: Any, examples: str = "", common: bool = True, **more: Any) -> None:
        super().__init__(*args, **more)
        #: Example lines for a shell; tests run all of them.
        self.examples = [line.strip() for line in examples.strip().splitlines()]
        if common:
            self.params += common_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; the error for an unknown option suggests the option with the same meaning, if any."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from .unknown_command import SAME_OPTIONS  # only needed after a mistake

            same = SAME_OPTIONS.get(error.option_name)
            if same is None or all(same not in parameter.opts for parameter in self.params):
                raise
            message = f"No such option {error.option_name!r}. Did you mean {same!r}?"
            raise click.NoSuchOption(error.option_name, message, ctx=error.ctx) from None

    def get_short_help_str(self, limit: int = 45) -> str:
        """The summary in a list of commands; if too long, cut at a semicolon, colon or comma."""
        short = super().get_short_help_str(limit)
        if not short.endswith("..."):
            return short
        parts = [short.rpartition(mark)[0] for mark in (";", ":", ",")]
        return f"{part}." if (part := next(filter(None, parts), "")) else short

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        if self.examples:
            formatter.write_paragraph()
            formatter.write("Examples:\n")
            formatter.write("".join(f"  {line}\n" for line in self.examples))


class Group(click.Group):
    """A group of commands, each of which is imported when it is called."""

    command_class = Command

    def __init__(self, *args: Any, lazy: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params += common_options()
        #: Commands as `module:name`, by their names.
        self._lazy: Final = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, in the order of the help."""
        return [*self._lazy, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, name = self._lazy[cmd_name].partition(":")
        found: click.Command = getattr(import_module(f"{__package__}.{module}"), name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command to run; for an unknown name, the error suggests the nearest command."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"There is no command {args[0]!r}{self._advice(ctx, *args)}")
        return super().resolve_command(ctx, args)

    def _advice(self, ctx: click.Context, name: str, *rest: str) -> str:
        """The suggestion for an unknown name, with the `rest` of the line after it."""
        from .unknown_command import similar  # only needed after a mistake

        commands = {one: found for one in self.list_commands(ctx) if (found := self.get_command(ctx, one)) is not None}
        instead = similar(name, ctx.command_path, commands, rest)
        return f"; {instead}" if instead else "."

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; errors of the client end it with their exit codes."""
        if ctx.parent is not None:
            return super().invoke(ctx)
        ctx.call_on_close(ctx.ensure_object(Session).close)
        with _ended(ctx.ensure_object(Session)):
            return super().invoke(ctx)


@contextmanager
def _ended(session: Session) -> Iterator[None]:
    try:
        yield
    except JobEngineError as error:
        raise Failed(session.what_is_wrong(error), exit_of(error)) from None
    except UnicodeEncodeError:  # arguments and the environment may hold any bytes
        raise Failed("An argument or environment variable is not UTF-8.", Exit.USAGE) from None
    except (KeyboardInterrupt, click.Abort):
        raise Failed("", Exit.INTERRUPTED) from None


def command(name: str, examples: str, **more: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command; its docstring is the help."""
    return click.command(name, cls=Command, examples=examples, **more)


def group(name: str, **more: Any) -> Callable[[Callable[..., Any]], Group]:
    """Make a function a group of commands; its docstring is the help."""
    return click.group(name, cls=Group, **more)
