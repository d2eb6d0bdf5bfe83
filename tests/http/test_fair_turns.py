from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from jobengine.http.fair_turns import Turns


def _record(_turn: None, gone: list[str], name: str) -> None:
    gone.append(name)


class _Stepping(Clock):
    """A clock whose calls are made one by one."""

    def step(self) -> None:
        (call,), self.calls = self.calls, []
        call.called = 1
        call.func(*call.args, **call.kw)


def test_turns_are_given_in_order_of_arrival() -> None:
    clock, gone = _Stepping(), list[str]()
    turns = Turns(clock)
    for name in "abc":
        turns.next().addCallback(_record, gone, name)
    # This waiter requests a second turn during its first, and gets it after d.
    turns.next().addCallback(lambda _: turns.next()).addCallback(_record, gone, "again")
    turns.next().addCallback(_record, gone, "d")
    for expected in ("a", "ab", "abc", "abc", "abcd", "abcdagain"):
        clock.step()
        assert "".join(gone) == expected


def test_turns_without_waiters_set_no_timer() -> None:
    clock = _Stepping()
    turns = Turns(clock)
    assert clock.calls == []
    turns.next()
    clock.step()
    assert clock.calls == []


def test_a_cancelled_waiter_gets_no_turn_and_delays_no_other_waiter() -> None:
    clock, gone = _Stepping(), list[str]()
    turns = Turns(clock)
    waiting: list[Deferred[None]] = [turns.next() for _ in range(4)]
    for name, turn in zip("abcd", waiting, strict=True):
        turn.addCallback(_record, gone, name)
        turn.addErrback(lambda failure: failure.trap(CancelledError) and None)
    for left in (0, 1, 3):
        waiting[left].cancel()
    clock.step()
    assert gone == ["c"]
    clock.step()
    assert (gone, clock.calls) == (["c"], [])


def test_an_error_in_the_turn_of_one_waiter_does_not_delay_other_waiters() -> None:
    clock, gone, failed = _Stepping(), list[str](), list[object]()
    turns = Turns(clock)
    turns.next().addCallback(lambda _: 1 / 0).addErrback(failed.append)
    turns.next().addCallback(_record, gone, "b")
    clock.step()
    clock.step()
    assert (len(failed), gone) == (1, ["b"])
