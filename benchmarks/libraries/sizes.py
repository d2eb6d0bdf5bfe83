"""What both ends and the process that measures have to agree on."""

from typing import Final

#: Threads that add one job at a time, and that work on jobs in libraries whose workers have threads.
THREADS: Final = 8
#: Jobs in a call of libraries that can add many at a time.
BULK: Final = 500
