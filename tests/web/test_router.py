"""A request's coroutine runs as Deferred.fromCoroutine would run it."""

from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from jobengine.web.router import Running

_AT_ONCE = ("fired", "failed")
_LATER = ("fires", "fails", "fires with a Deferred", "is cancelled")


class _Later:
    """A coroutine in which each step awaits a Deferred, and the results that it got."""

    def __init__(self, steps: list[str]) -> None:
        self.steps = steps
        self.heard: list[object] = []
        self.awaited: list[Deferred[str]] = []

    async def work(self) -> None:
        """Await one Deferred after another."""
        for step in self.steps:
            awaited: Deferred[str] = Deferred()
            self.awaited.append(awaited)
            if step == "fired":
                awaited.callback(step)
            elif step == "failed":
                awaited.errback(ValueError(step))
            try:
                self.heard.append(await awaited)
            except Exception as error:  # any: the test compares it
                self.heard.append((type(error), error.args))

    def go_on(self, step: str, running: Any) -> None:
        """End the wait for the Deferred of the last step."""
        self.heard.append("outside")
        if step == "fires":
            self.awaited[-1].callback(step)
        elif step == "fails":
            self.awaited[-1].errback(ValueError(step))
        elif step == "is cancelled":
            running.cancel()
        else:
            inner: Deferred[str] = Deferred()
            self.awaited[-1].addCallback(lambda _: inner).callback("")
            self.heard.append("outside")
            inner.callback(step)


def _play(steps: list[str], begin: Callable[[Coroutine[Deferred[Any], Any, None]], object]) -> list[object]:
    later = _Later(steps)
    running = begin(later.work())
    for step in steps:
        if step in _LATER:
            later.go_on(step, running)
    return later.heard


@given(st.lists(st.sampled_from([*_AT_ONCE, *_LATER])))
def test_the_class_running_behaves_like_deferred_from_coroutine(steps: list[str]) -> None:
    heard = _play(steps, Running)
    assert heard == _play(steps, Deferred.fromCoroutine)
    assert len([one for one in heard if one != "outside"]) == len(steps)


def test_a_running_object_has_ended_once_its_coroutine_has_returned() -> None:
    waits, ends = _Later(["fires", "fails"]), _Later(["fired", "failed"])
    running = Running(waits.work())
    for step in waits.steps:
        assert not running.ended
        waits.go_on(step, running)
    assert running.ended
    assert Running(ends.work()).ended
    running.cancel()
    assert len(waits.heard) == 4


def test_an_awaited_deferred_drops_its_handled_failure() -> None:
    later = _Later(["fails"])
    later.go_on("fails", Running(later.work()))
    assert later.awaited[0].result is None
