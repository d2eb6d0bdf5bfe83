"""Reads a crontab: each line with times becomes a schedule, whose jobs have the command in their content."""

import re
import shlex
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

#: The number of fields of a time.
_FIELDS: Final = 5
#: A variable: NAME=value, each with optional quotes.
_VARIABLE: Final = re.compile(r"""(["']?)(\w+)\1\s*=\s*(.*)""")
#: Variables that have no meaning for a schedule, and why.
_IGNORED: Final = {
    "MAILTO": "the output of a command is the result or the error of its job",
    "MAILFROM": "the output of a command is the result or the error of its job",
    "SHELL": "the worker's command names the shell",
    "RANDOM_DELAY": "a schedule fires at its times",
}
#: The characters of a command that a schedule's name leaves out.
_OTHERS: Final = re.compile(r"[^A-Za-z0-9._]+")
#: The most characters of a command in a schedule's name.
_LONGEST: Final = 40
#: An unescaped percent sign; one with a backslash stands for itself.
_PERCENT: Final = re.compile(r"(?<!\\)%")


class CronJob(NamedTuple):
    """A schedule from a crontab."""

    #: The line number, from 1.
    line: int
    name: str
    cron: str
    #: None is the time zone of the whole file.
    timezone: str | None
    content: Mapping[str, Any]
    #: The user who runs the command, in a system crontab; None in a user's crontab.
    user: str | None


class Crontab(NamedTuple):
    """The contents of a crontab."""

    jobs: list[CronJob]
    #: What was ignored, each as a sentence that names the line.
    notes: list[str]
    #: The lines that can't be read, each with its number and the reason.
    errors: list[str]


def read_crontab(lines: Iterable[str], *, with_user: bool = False) -> Crontab:
    """Read the lines; with `with_user`, each line has a user before the command, as in /etc/crontab."""
    table, variables, names = Crontab([], [], []), dict[str, str](), dict[str, int]()
    for number, text in enumerate(lines, 1):
        line = text.strip()
        if not line or line.startswith("#"):
            continue
        if variable := _VARIABLE.fullmatch(line):
            _set(table, variables, number, variable[2], _unquoted(variable[3]))
            continue
        try:
            job = _job(number, line, variables, with_user=with_user)
        except ValueError as error:
            table.errors.append(f"line {number}: {error}")
            continue
        names[job.name] = again = names.get(job.name, 0) + 1
        table.jobs.append(job if again == 1 else job._replace(name=f"{job.name}-{again}"))
    return table


def _set(table: Crontab, variables: dict[str, str], number: int, name: str, value: str) -> None:
    if name in _IGNORED:
        table.notes.append(f"Line {number}: {name} is ignored: {_IGNORED[name]}.")
    else:
        variables[name] = value


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _job(number: int, line: str, variables: Mapping[str, str], *, with_user: bool) -> CronJob:
    """The schedule of a line; raises ValueError with the reason."""
    times = 1 if line.startswith("@") else _FIELDS
    parts = line.split(None, times + with_user)
    if len(parts) <= times + with_user:
        raise ValueError(
            f"it needs {'a name such as @daily' if times == 1 else 'five fields'}"
            f"{', a user' if with_user else ''} and a command"
        )
    command, *given = [part.replace("\\%", "%") for part in _PERCENT.split(parts[-1])]
    if not command.strip():
        raise ValueError("it has no command before the percent sign")
    user = parts[times] if with_user else None
    content = {"command": _with_variables(command.strip(), variables)}
    if any(given):
        content["input"] = "\n".join([*given, ""])
    zone = variables.get("CRON_TZ") or variables.get("TZ")
    return CronJob(number, _name(parts[-1], user), " ".join(parts[:times]), zone, content, user)


def _with_variables(command: str, variables: Mapping[str, str]) -> str:
    """The command, preceded by an `export` of the crontab's variables."""
    exported = [f"{name}={shlex.quote(value)}" for name, value in variables.items() if name != "CRON_TZ"]
    return f"export {' '.join(exported)}\n{command}" if exported else command


def _name(command: str, user: str | None) -> str:
    """A name that depends only on the command, so that it stays the same if the times change."""
    digest = sha256(f"{user or ''}\n{command}".encode()).hexdigest()[:8]
    readable = _OTHERS.sub("-", command)[:_LONGEST].strip("-.")
    return f"{readable}-{digest}" if readable else digest
