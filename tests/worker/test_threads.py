"""Calls in threads, and how the loop gets their results."""

import asyncio
import threading
from typing import Any

from jobengine.worker.threads import Threads


async def _calls(number: int) -> tuple[list[Any], int]:
    """The results of this many concurrent calls, and the number of threads."""
    loop, all_done = asyncio.get_running_loop(), asyncio.Event()
    ended: list[Any] = []
    meeting = threading.Barrier(number)

    def done(some: list[tuple[int, Any]]) -> None:
        ended.extend(some)
        if len(ended) == number:
            all_done.set()

    threads: Threads[int] = Threads(loop, done)
    for key in range(number):
        threads.start(key, lambda: (meeting.wait(10), threading.current_thread().name)[1])
    await asyncio.wait_for(all_done.wait(), 10)
    threads.close()
    return ended, len({name for _, name in ended})


def test_handler_calls_run_concurrently_in_threads_and_each_result_is_reported_once() -> None:
    ended, threads = asyncio.run(_calls(5))
    assert sorted(key for key, _ in ended) == [0, 1, 2, 3, 4]
    assert threads == 5


def test_a_call_that_never_returns_does_not_block_the_process_exit() -> None:
    async def start() -> threading.Thread:
        began: list[threading.Thread] = []
        running = threading.Event()

        def call() -> None:
            began.append(threading.current_thread())
            running.set()
            stay.wait()

        threads: Threads[int] = Threads(asyncio.get_running_loop(), lambda ended: None)
        threads.start(1, call)
        await asyncio.to_thread(running.wait, 10)
        threads.close()
        return began[0]

    stay = threading.Event()
    thread = asyncio.run(start())
    assert thread.daemon
    stay.set()
    thread.join(10)  # the loop is closed by now, so there is nobody to tell
    assert not thread.is_alive()
