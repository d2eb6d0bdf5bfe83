"""Commands: what an engine can be asked, as frozen values, each typed by its answer."""

# Each module lists its names in `__all__`, so a new command is named in one file.
from .changes import *
from .claims import *
from .command import *
from .jobs import *
from .queues import *
