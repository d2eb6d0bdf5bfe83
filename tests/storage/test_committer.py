"""Group commit: which records go into one write, when waiters are released, and what follows a failed write."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from jobengine.storage.committer import RETRY_SECONDS, Backlog, Committer, Hooks, Phase
from jobengine.storage.errors import FileChanged, NoRoom, StorageBroken, StorageError
from tests.doubles import Stepped

NO_ROOM = NoRoom("the database can't grow")
BROKEN = StorageBroken("sync failed")


@define
class Written:
    """A writer that records its calls, or raises the next error of a list."""

    frames: list[list[bytes]] = field(factory=list)
    slices: list[list[bytes]] = field(factory=list)
    synced: list[bool] = field(factory=list)
    syncs: int = 0
    faults: list[StorageError | None] = field(factory=list)

    def append(self, records: Sequence[bytes], slice_: Sequence[bytes] = (), *, sync: bool = True) -> None:
        self._maybe_fail()
        self.frames.append(list(records))
        self.slices.append(list(slice_))
        self.synced.append(sync)

    def sync(self) -> None:
        self._maybe_fail()
        self.syncs += 1

    def _maybe_fail(self) -> None:
        if self.faults and (error := self.faults.pop(0)) is not None:
            raise error


@define
class Bench:
    """A committer whose thread is stepped by hand; records the committer's calls to its owner."""

    interval: float = 0
    max_backlog: int = 1000
    clock: Clock = field(factory=Clock)
    thread: Stepped = field(factory=Stepped)
    writer: Written = field(factory=Written)
    told: list[tuple[str, Any]] = field(factory=list)
    after_write: Callable[[], None] = lambda: None
    committer: Committer[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.committer = Committer(
            writer=self.writer,
            run=self.thread,
            clock=self.clock,
            max_backlog=self.max_backlog,
            sync_interval=self.interval,
            hooks=Hooks(
                stalled=lambda memos: self.told.append(("stalled", list(memos))),
                resumed=lambda memos: self.told.append(("resumed", list(memos))),
                failed=lambda error: self.told.append(("failed", error)),
                written=self._written,
            ),
        )

    def _written(self, records: int, size: int, memos: list[str]) -> None:
        self.told.append(("written", (records, size, list(memos))))
        self.after_write()

    def submit(self, *names: str) -> None:
        for name in names:
            self.committer.admit()
            self.committer.submit([name.encode()], name)

    def wait(self) -> "Waiter":
        return Waiter(self.committer.durable())

    def turn(self) -> None:
        """End the reactor turn."""
        self.clock.advance(0)

    def step(self) -> None:
        """Let the thread do one call."""
        self.thread.step()

    def fail_once(self, error: StorageError) -> None:
        self.writer.faults = [error]


class Waiter:
    """The outcome of a Deferred of the committer."""

    def __init__(self, deferred: "Deferred[None] | None") -> None:
        assert deferred is not None, "there was nothing to wait for"
        self.results: list[Any] = []
        self.deferred = deferred.addBoth(self.results.append)

    @property
    def released(self) -> bool:
        return self.results == [None]

    @property
    def error(self) -> BaseException | None:
        return self.results[0].value if self.results and isinstance(self.results[0], Failure) else None


def test_changes_submitted_in_one_reactor_turn_are_written_together() -> None:
    bench = Bench()
    for number in range(200):
        bench.submit(f"{number}")
    assert not bench.thread.waiting
    bench.turn()
    bench.step()
    assert len(bench.writer.frames) == 1
    assert len(bench.writer.frames[0]) == 200
    assert not bench.thread.waiting


def test_changes_submitted_during_a_write_are_written_together_in_the_next_write() -> None:
    bench = Bench()
    bench.submit("a")
    bench.turn()
    bench.submit("b")
    bench.submit("c")
    bench.turn()
    assert len(bench.thread.waiting) == 1
    bench.step()
    assert len(bench.thread.waiting) == 1
    bench.step()
    assert bench.writer.frames == [[b"a"], [b"b", b"c"]]
    assert bench.committer.phase is Phase.IDLE


def test_a_waiter_fires_when_all_changes_submitted_before_it_are_written() -> None:
    bench = Bench()
    assert bench.committer.durable() is None
    bench.submit("a")
    collecting = bench.wait()
    bench.turn()
    flying = bench.wait()
    bench.submit("b")
    later = bench.wait()
    assert not collecting.results
    bench.step()
    assert collecting.released
    assert flying.released
    assert not later.results
    bench.step()
    assert later.released
    assert bench.committer.durable() is None


def test_a_read_waits_for_the_commit_in_flight() -> None:
    bench = Bench()
    bench.submit("a")
    bench.turn()
    read = bench.wait()
    assert not read.results
    bench.step()
    assert read.released


def test_reads_do_not_wait_for_a_write_of_only_a_compaction_slice() -> None:
    bench = Bench()
    bench.committer.poke()
    assert bench.committer.durable() is None
    bench.turn()
    assert bench.committer.phase is Phase.WRITING
    assert bench.committer.durable() is None


def test_cancelling_the_deferred_of_a_waiter_affects_no_other_waiter() -> None:
    bench = Bench()
    bench.submit("a")
    waiters = [bench.wait() for _ in range(3)]
    assert len({id(waiter.deferred) for waiter in waiters}) == 3
    waiters[1].deferred.cancel()
    bench.turn()
    bench.step()
    assert waiters[0].released
    assert isinstance(waiters[1].error, CancelledError)
    assert waiters[2].released
    assert bench.writer.frames == [[b"a"]]


def test_the_committer_reports_the_number_and_bytes_of_written_records_to_the_engine() -> None:
    bench = Bench()
    bench.submit("a", "bcd")
    bench.turn()
    bench.step()
    assert bench.told == [("written", (2, 4, ["a", "bcd"]))]


def test_on_a_full_disk_waiters_fail_and_the_engine_gets_the_unwritten_changes_back() -> None:
    bench = Bench()
    bench.submit("a")
    first = bench.wait()
    bench.turn()
    bench.submit("b")
    second = bench.wait()
    bench.fail_once(NO_ROOM)
    bench.step()
    assert bench.told == [("stalled", ["a", "b"])]
    assert first.error is NO_ROOM
    assert second.error is NO_ROOM
    assert bench.committer.phase is Phase.STALLED


def test_on_a_full_disk_submissions_are_refused_and_reads_do_not_wait() -> None:
    bench = full_bench()
    for _ in range(2):
        with pytest.raises(NoRoom):
            bench.committer.admit()
    assert bench.committer.trouble is NO_ROOM
    assert bench.committer.durable() is None


def test_a_stalled_committer_gives_the_reason_of_its_last_attempt() -> None:
    bench = full_bench()
    moved = FileChanged("the file was moved")
    bench.writer.faults = [moved]
    bench.clock.advance(RETRY_SECONDS)
    bench.step()
    assert bench.committer.phase is Phase.STALLED
    assert bench.committer.trouble is moved


def test_a_check_of_an_idle_file_finds_its_trouble_and_the_end_of_it() -> None:
    bench = Bench()
    bench.writer.faults = [NO_ROOM]
    waiter = Waiter(bench.committer.check())
    bench.turn()
    assert bench.committer.check() is None
    bench.step()
    assert waiter.error is NO_ROOM
    assert bench.committer.trouble is NO_ROOM
    bench.clock.advance(RETRY_SECONDS)
    bench.step()
    assert bench.committer.trouble is None


def test_a_batch_refused_by_a_full_disk_is_retried_until_it_is_written() -> None:
    bench = full_bench()
    bench.writer.faults = [NO_ROOM, NO_ROOM]
    for _ in range(3):
        assert not bench.thread.waiting
        bench.clock.advance(RETRY_SECONDS)
        bench.step()
    assert bench.writer.frames == [[b"a", b"b"]]
    assert bench.told == [("stalled", ["a", "b"]), ("resumed", ["a", "b"]), ("written", (2, 2, ["a", "b"]))]
    assert bench.committer.phase is Phase.IDLE
    assert bench.committer.trouble is None
    bench.submit("c")
    waiter = bench.wait()
    bench.turn()
    bench.step()
    assert waiter.released
    assert not bench.clock.getDelayedCalls()


def test_changes_made_on_a_full_disk_are_written_after_earlier_changes() -> None:
    bench = full_bench()
    bench.committer.submit([b"x"], "x")
    bench.clock.advance(RETRY_SECONDS)
    bench.committer.submit([b"y"], "y")
    bench.step()
    assert bench.writer.frames == [[b"a", b"b", b"x"]]
    assert bench.told[1] == ("resumed", ["a", "b", "x", "y"])
    waiter = bench.wait()
    bench.step()
    assert bench.writer.frames[1:] == [[b"y"]]
    assert waiter.released


def full_bench() -> Bench:
    """A bench with a full disk, on which a and b wait to be written."""
    bench = Bench()
    bench.submit("a", "b")
    bench.turn()
    bench.fail_once(NO_ROOM)
    bench.step()
    return bench


def test_a_failed_write_fails_every_waiter_and_is_reported_once() -> None:
    bench = Bench()
    bench.submit("a")
    flying = bench.wait()
    bench.turn()
    bench.submit("b")
    pending = bench.wait()
    bench.fail_once(BROKEN)
    bench.step()
    assert flying.error is pending.error is BROKEN
    bench.committer.give_up(Failure(StorageBroken("another")))
    assert bench.told == [("failed", BROKEN)]
    assert not bench.thread.waiting
    with pytest.raises(StorageBroken):
        bench.committer.admit()
    with pytest.raises(StorageBroken):
        bench.committer.durable()


def test_an_unexpected_error_of_a_write_fails_the_committer() -> None:
    bench = Bench()
    bench.submit("a")
    waiter = bench.wait()
    bench.turn()
    bench.writer.faults = [StorageError("what is this")]
    bench.step()
    assert isinstance(waiter.error, StorageBroken)
    assert bench.committer.phase is Phase.FAILED


@pytest.mark.parametrize("outcome", [None, NO_ROOM, BROKEN], ids=["success", "no room", "failure"])
def test_the_result_of_a_write_is_ignored_after_a_failure(outcome: StorageError | None) -> None:
    """For example, a compaction fails while a later commit is in flight."""
    bench = Bench()
    bench.submit("a")
    waiter = bench.wait()
    bench.turn()
    bench.committer.submit([b"b"], "b")
    bench.committer.give_up(Failure(BROKEN))
    bench.writer.faults = [outcome]
    bench.step()
    bench.clock.advance(10)
    assert waiter.error is BROKEN
    assert bench.committer.phase is Phase.FAILED
    assert bench.told == [("failed", BROKEN)]
    assert not bench.thread.waiting


@pytest.mark.parametrize("phase", [Phase.COLLECTING, Phase.STALLED])
def test_a_failure_before_a_write_prevents_the_write(phase: Phase) -> None:
    bench = full_bench() if phase is Phase.STALLED else Bench()
    if phase is Phase.COLLECTING:
        bench.submit("a")
    assert bench.committer.phase is phase
    bench.committer.give_up(Failure(BROKEN))
    bench.clock.advance(10)
    assert not bench.thread.waiting
    assert bench.committer.phase is Phase.FAILED


def test_a_retried_write_that_fails_for_another_reason_fails_the_committer() -> None:
    bench = full_bench()
    bench.fail_once(BROKEN)
    bench.clock.advance(RETRY_SECONDS)
    bench.step()
    assert bench.told[-1] == ("failed", BROKEN)
    assert bench.committer.phase is Phase.FAILED


def test_submissions_are_refused_while_the_backlog_is_full() -> None:
    bench = Bench(max_backlog=10)
    bench.submit("a")
    bench.turn()
    bench.submit("b" * 11)
    with pytest.raises(Backlog):
        bench.committer.admit()
    bench.step()
    bench.committer.admit()
    bench.step()
    assert bench.writer.frames == [[b"a"], [b"b" * 11]]


def test_each_write_carries_a_compaction_slice_and_poke_starts_the_next_write_at_once() -> None:
    bench = Bench()
    slices = [[b"s1"], [b"s2"], [b"s3"]]
    bench.committer.carry(lambda _: slices.pop(0) if slices else [])
    bench.after_write = lambda: bench.committer.poke() if slices else None
    bench.submit("a")
    for _ in range(3):
        bench.turn()
        bench.step()
    assert bench.writer.slices == [[b"s1"], [b"s2"], [b"s3"]]
    assert bench.writer.frames == [[b"a"], [], []]
    bench.turn()
    assert not bench.thread.waiting


def test_drain_fires_after_the_last_commit() -> None:
    bench = Bench()
    assert bench.committer.drain().called
    bench.submit("a")
    drained = bench.committer.drain()
    bench.turn()
    bench.submit("b")
    bench.step()
    assert not drained.called
    bench.step()
    assert drained.called
    assert bench.writer.frames == [[b"a"], [b"b"]]


def test_draining_ends_although_each_write_starts_another_compaction_slice() -> None:
    bench = Bench()
    bench.after_write = lambda: bench.committer.poke()
    bench.submit("a")
    bench.turn()
    drained = bench.committer.drain()
    bench.step()
    assert drained.called
    assert bench.committer.phase is Phase.IDLE


@pytest.mark.parametrize("error", [NO_ROOM, BROKEN])
def test_draining_ends_although_the_disk_is_full_or_broken(error: StorageError) -> None:
    bench = Bench()
    bench.submit("a")
    drained = bench.committer.drain()
    bench.turn()
    bench.fail_once(error)
    bench.step()
    assert drained.called
    assert bench.committer.drain().called


@pytest.mark.parametrize("outcome", [None, NO_ROOM, BROKEN], ids=["success", "no room", "failure"])
def test_a_retry_that_ends_after_the_close_is_ignored(outcome: StorageError | None) -> None:
    bench = full_bench()
    bench.clock.advance(RETRY_SECONDS)
    bench.committer.submit([b"x"], "x")
    bench.committer.close()
    bench.writer.faults = [outcome]
    bench.step()
    assert bench.committer.phase is Phase.CLOSED
    assert not bench.thread.waiting
    assert not bench.clock.getDelayedCalls()


def test_closing_the_committer_stops_the_retries() -> None:
    bench = full_bench()
    bench.committer.close()
    assert not bench.clock.getDelayedCalls()
    assert bench.committer.phase is Phase.CLOSED


def test_commits_share_a_sync_with_durability_interval() -> None:
    bench = Bench(interval=0.05)
    for name in "abc":
        bench.submit(name)
        waiter = bench.wait()
        bench.turn()
        bench.step()
        assert waiter.released
    assert bench.writer.synced == [False] * 3
    assert not bench.thread.waiting
    bench.clock.advance(0.05)
    bench.step()
    assert bench.writer.syncs == 1
    bench.clock.advance(1)
    assert not bench.thread.waiting
    bench.submit("d")
    bench.turn()
    bench.step()
    bench.clock.advance(0.05)
    bench.step()
    assert bench.writer.syncs == 2


def test_a_failed_sync_fails_the_committer_with_durability_interval() -> None:
    bench = Bench(interval=0.05)
    bench.submit("a")
    bench.turn()
    bench.step()
    bench.clock.advance(0.05)
    bench.fail_once(BROKEN)
    bench.step()
    assert bench.told[-1] == ("failed", BROKEN)
    bench.clock.advance(1)
    assert not bench.thread.waiting


def test_no_sync_follows_the_close_with_durability_interval() -> None:
    bench = Bench(interval=0.05)
    bench.submit("a")
    bench.turn()
    bench.step()
    bench.committer.close()
    bench.clock.advance(1)
    assert not bench.thread.waiting
