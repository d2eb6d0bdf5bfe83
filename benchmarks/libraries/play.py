"""
One part of a measurement: `python -m benchmarks.libraries.play add|work LIBRARY PORT THREADS JOBS BULK CONCURRENCY`.

Both processes print "warm" when the first jobs are done, so that connections are made and modules loaded. Then the
adding one waits for a line on its input. The working one prints "done" at the last job.
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from threading import Barrier

from .count import Count

#: Seconds for all threads to become warm.
_PATIENCE = 60
#: The measuring process reads this. What libraries print goes to standard error.
_LISTENER = os.dup(1)
os.dup2(2, 1)


def say(word: str) -> None:
    """Print a line for the measuring process."""
    os.write(_LISTENER, f"{word}\n".encode())


def _add(add: Callable[[int], object], threads: int, jobs: int, bulk: int) -> None:
    """Add jobs from this many threads, `bulk` in each call."""
    calls, rest = divmod(jobs, threads * bulk)
    if rest:
        raise ValueError(f"{jobs} jobs can't be added by {threads} threads, {bulk} in a call")
    # The first call is made alone: its objects are then shared by all threads, and an error shows at once.
    add(1)
    warm, begin = Barrier(threads + 1), Barrier(threads + 1)

    def thread() -> None:
        add(1)
        warm.wait(_PATIENCE)
        begin.wait()
        for _ in range(calls):
            add(bulk)

    with ThreadPoolExecutor(threads) as pool:
        ends = [pool.submit(thread) for _ in range(threads)]
        warm.wait(_PATIENCE)
        say("warm")
        sys.stdin.readline()
        begin.wait()
        for end in ends:
            end.result()


def main() -> None:
    """Play the part that the arguments name."""
    role, name, *numbers = sys.argv[1:]
    port, threads, jobs, bulk, concurrency = map(int, numbers)
    library = import_module(f"{__package__}.{name}")
    if role == "work":
        library.work(port, concurrency, Count(threads + 1, jobs, say))
        say("done")
    else:
        with library.adding(port) as add:
            _add(add, threads, jobs, bulk)


if __name__ == "__main__":
    main()
