"""Commands: the requests to an engine, as frozen values, each typed by its answer, with its rule."""

# Each module lists its names in `__all__`, so a new command is named in one file.
from .adding import *
from .batches import *
from .children import *
from .claims import *
from .command import *
from .failures import *
from .groups import *
from .moves import *
from .new_job import *
from .ordering import *
from .queues import *
from .reading import *
from .schedules import *
from .stats import *
from .updates import *
