"""Imports the Worker that `jobengine work --app` names."""

import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

import jobengine
from jobengine.client import JobEngineError
from jobengine.worker import Worker

from .exit_codes import Exit, Failed

#: How file names in a traceback begin if the code is not the user's.
_OF_OTHERS: Final = ("<frozen ", f"{Path(jobengine.__file__).parent}{os.sep}")
_OF_PYTHON: Final = f"{Path(os.__file__).parent}{os.sep}"
#: User code may be installed in this folder, which is itself in Python's own folder.
_INSTALLED: Final = "site-packages"


def imported_worker(app: str) -> Worker:
    """The Worker named by MODULE:WORKER. Raises Failed, with the user's part of a traceback."""
    module, _, name = app.partition(":")
    if not module or not name:
        raise Failed(f"--app {app}: write MODULE:WORKER, as in tasks:worker.", Exit.USAGE)
    sys.path.insert(0, os.getcwd())
    try:
        imported = import_module(module)
    except JobEngineError:  # its text already has advice
        raise
    except Exception as error:  # any error of the user's code
        raise Failed(f"--app {app} can't be imported: {_described(error)}", Exit.USAGE) from None
    worker = getattr(imported, name, None)
    if not isinstance(worker, Worker):
        raise Failed(f"--app {app} is not a jobengine.worker.Worker.{_workers_of(imported)}", Exit.USAGE)
    try:
        worker._check_handlers()
    except ValueError as error:
        raise Failed(f"--app {app}: {error}", Exit.USAGE) from None
    return worker


def _described(error: Exception) -> str:
    """The exception on the first line, then the frames of the user's code."""
    what = traceback.TracebackException.from_exception(error)
    what.stack = traceback.StackSummary.from_list([one for one in what.stack if not _is_of_others(one.filename)])
    *place, line = "".join(what.format_exception_only()).rstrip().split("\n")
    if not isinstance(error, SyntaxError):  # only the text of a SyntaxError begins with the place in the file
        line, *place = *place, line
    return "\n".join([line, *place, *"".join(what.stack.format()).rstrip().split("\n")]).rstrip()


def _is_of_others(file: str) -> bool:
    return file.startswith(_OF_OTHERS) or (file.startswith(_OF_PYTHON) and _INSTALLED not in file)


def _workers_of(module: ModuleType) -> str:
    """The names of the workers in a module, as a sentence."""
    names = [name for name, value in vars(module).items() if isinstance(value, Worker)]
    return f" It has the Worker {' and '.join(names)}." if names else ""
