"""The reference of the command line, in Markdown, from the commands themselves."""

import inspect
import re
from collections.abc import Iterator

import click

from jobengine.cli.app import app
from jobengine.cli.command import Command, common_options

from .cells import cell, escaped


def commands(_: str) -> str:
    """All commands: their usage, what they do, their options and examples."""
    return "\n".join(_all(app, click.Context(app, info_name="jobengine"), depth=2))


def _all(group: click.Group, parent: click.Context, depth: int) -> Iterator[str]:
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        if command is None or command.hidden:
            continue
        context = click.Context(command, info_name=name, parent=parent)
        yield from _command(command, context, depth)
        if isinstance(command, click.Group):
            yield from _all(command, context, depth + 1)


def _command(command: click.Command, context: click.Context, depth: int) -> Iterator[str]:
    path = context.command_path.removeprefix("jobengine ")
    yield from (f"{'#' * depth} {path} {{ #{path.replace(' ', '-')} }}", "")
    yield from (_help(command), "")
    pieces = " ".join(command.collect_usage_pieces(context))
    yield from ("```text", f"{context.command_path} {pieces}".rstrip(), "```", "")
    yield from _options(command, context)
    if isinstance(command, Command) and command.examples:
        yield from ('```sh title="examples"', *command.examples, "```", "")


def _help(command: click.Command) -> str:
    """The help as paragraphs; a block that click must not wrap becomes code."""
    parts = re.split(r"\n\n+", inspect.cleandoc(command.help or ""))
    return "\n\n".join(_paragraph(part) for part in parts)


def _paragraph(text: str) -> str:
    if text.startswith("\b"):
        return f"```text\n{text.removeprefix(chr(8)).strip(chr(10))}\n```"
    return escaped(text)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    """The command's own options, without those that every command has."""
    common = {option.name for option in common_options()} | {"help"}
    records = [
        record
        for one in command.get_params(context)
        if isinstance(one, click.Option)
        and one.name not in common
        and (record := one.get_help_record(context)) is not None
    ]
    if records:
        yield from ("| option | |", "|---|---|")
        yield from (f"| `{names}` | {cell(escaped(text))} |" for names, text in records)
        yield ""
