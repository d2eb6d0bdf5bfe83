"""The client for threads is the client for asyncio without its asynchronous syntax."""

import pytest

from .twin import CLIENT, MODULES, made, meaning


@pytest.mark.parametrize("name", MODULES)
def test_the_sync_client_is_generated_from_the_async_client(name: str) -> None:
    source = (CLIENT / "_async" / f"{name}.py").read_text()
    there = (CLIENT / "_sync" / f"{name}.py").read_text()
    assert meaning(there) == meaning(made(source, name)), "run `python -m tests.client.twin`"


def test_the_generator_removes_async_words_and_keeps_the_rest() -> None:
    source = 'class AsyncThing:\n    """An AsyncThing."""\n\n    async def go(self):\n        await self.x()  # soon\n'
    assert meaning(made(source, "thing")) == meaning(
        'class Thing:\n    """An Thing."""\n\n    def go(self):\n        self.x()\n'
    )


def test_a_difference_between_the_two_clients_is_detected() -> None:
    source = (CLIENT / "_async" / "queue.py").read_text()
    assert meaning(made(source.replace("paused=True", "paused=False", 1), "queue")) != meaning(
        (CLIENT / "_sync" / "queue.py").read_text()
    )


def test_the_sync_and_async_packages_have_the_same_modules() -> None:
    sync, asynchronous = ({path.name for path in (CLIENT / part).glob("*.py")} for part in ("_sync", "_async"))
    assert sync == asynchronous
    assert {f"{name}.py" for name in MODULES} < sync
