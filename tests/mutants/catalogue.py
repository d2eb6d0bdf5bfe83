"""Every safety that `make mutants` removes."""

from typing import Final

from .mutant import Mutant
from .of_dependencies import OF_DEPENDENCIES
from .of_failures import OF_FAILURES
from .of_files import OF_FILES
from .of_groups import OF_GROUPS
from .of_moves import OF_MOVES
from .of_postgres import OF_POSTGRES
from .of_requests import OF_REQUESTS
from .of_unique_keys import OF_UNIQUE_KEYS

MUTANTS: Final[tuple[Mutant, ...]] = (
    *OF_DEPENDENCIES,
    *OF_FAILURES,
    *OF_FILES,
    *OF_GROUPS,
    *OF_MOVES,
    *OF_POSTGRES,
    *OF_REQUESTS,
    *OF_UNIQUE_KEYS,
)
