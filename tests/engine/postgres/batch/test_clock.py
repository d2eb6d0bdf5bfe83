"""
Servers distinguish a clock step of the database from a suspended machine, and undo each other's wrong corrections.
"""

import random
from collections.abc import Callable

import pytest
from attrs import define, field

from jobengine.engine.postgres.batch.begin import ClockReading, ClockSteps, Correction, Machine

HOUR, MINUTE, SECOND = 3_600_000, 60_000, 1_000


@define
class _World:
    """A database, and the time that has passed, in milliseconds."""

    now: int = 1_000_000
    #: By how many milliseconds the database's clock was set.
    set: int = 0
    ahead: int = 0
    undone: int = 0
    #: References that were saved, by machine.
    saved: dict[str, object] = field(factory=dict)
    servers: "list[_Server]" = field(factory=list)

    @property
    def elapsed(self) -> int:
        return self.now + self.set - self.ahead

    def server(self, machine: str = "") -> "_Server":
        made = _Server(self, machine or f"machine {len(self.servers)}")
        self.servers.append(made)
        made.start()
        return made

    def wait(self, milliseconds: int) -> None:
        """Let time pass, in which all servers sweep each second."""
        until = self.now + milliseconds
        while self.now < until:
            self.now += min(SECOND, until - self.now)
            for one in self.servers:
                one.look()


@define(eq=False)
class _Server:
    world: _World
    machine: str
    #: For how many milliseconds the server's machine was suspended.
    still: int = 0
    #: Whether the machine is suspended now.
    stands: bool = False
    steps: ClockSteps = field(init=False)

    def start(self) -> None:
        self.steps = ClockSteps(Machine(lambda: self.world.now - self.still, self.machine))
        saved = self.world.saved.get(self.machine)
        self.steps.begin(self._read(), saved)  # type: ignore[arg-type]  # the class is private

    def _read(self, milliseconds: int = 2) -> ClockReading:
        world, before = self.world, self.steps.machine.now()
        world.now += milliseconds
        return ClockReading(world.elapsed, world.ahead, world.undone, before, self.steps.machine.now())

    def look(self) -> int:
        """Read the clock as a transaction does when it begins; returns the transaction's elapsed time."""
        while not self.stands:
            reading = self._read()
            correction = self.steps.check(reading)
            if correction is None:
                break
            self.correct(reading, correction)
        self.save()
        return self.world.elapsed

    def correct(self, reading: ClockReading, correction: Correction) -> None:
        if self.world.ahead == reading.ahead:
            self.world.ahead += correction.by
            self.world.undone += correction.undoes

    def save(self) -> None:
        reference = self.steps.to_save()
        if reference is not None:
            self.world.saved[self.machine] = reference
            self.steps.saved()

    def stand_still(self, milliseconds: int) -> None:
        self.stands = True
        self.world.wait(milliseconds)
        self.stands, self.still = False, self.still + milliseconds


@pytest.fixture
def world() -> _World:
    return _World()


def is_right(elapsed: int, world: _World, by: int = 100) -> bool:
    return abs(elapsed - world.now) <= by


STEPS = [HOUR, -HOUR, 10 * SECOND, -10 * SECOND]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("servers", [1, 2, 3])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_clock_step_shifts_no_time_whichever_server_reads_the_clock_first(
    world: _World, step: int, servers: int, first: int
) -> None:
    made = [world.server() for _ in range(servers)]
    world.set += step
    assert is_right(made[first % servers].look(), world)
    world.wait(MINUTE)
    assert all(is_right(one.look(), world) for one in made)


@pytest.mark.parametrize("step", STEPS)
def test_each_of_several_clock_steps_is_corrected(world: _World, step: int) -> None:
    made = [world.server() for _ in range(2)]
    for sign in (1, -1, 1, 1, -1):
        world.set += sign * step
        world.wait(SECOND)
        assert all(is_right(one.look(), world) for one in made)


@pytest.mark.parametrize("step", STEPS)
def test_a_clock_step_made_while_no_server_runs_is_corrected_by_a_server_started_later(
    world: _World, step: int
) -> None:
    world.server("a").look()
    world.servers.clear()
    world.set += step
    world.wait(MINUTE)
    assert is_right(world.server("a").look(), world)


@pytest.mark.parametrize("step", STEPS)
def test_a_server_started_after_a_clock_step_accepts_the_correction_by_a_server_on_another_machine(
    world: _World, step: int
) -> None:
    old = world.server("a")
    world.set += step
    new = world.server("b")
    new.look()
    assert is_right(old.look(), world)
    assert is_right(new.look(), world)
    world.wait(5 * MINUTE)
    assert all(is_right(one.look(), world) for one in (old, new))


@pytest.mark.parametrize("first", [0, 1])
def test_a_clock_reading_of_a_suspended_machine_is_corrected_within_two_seconds(world: _World, first: int) -> None:
    made = [world.server("a"), world.server("b")]
    world.wait(2 * MINUTE)
    made[first].stand_still(HOUR)
    made[first].look()
    world.wait(2 * SECOND)
    before = world.undone
    assert all(is_right(one.look(), world) for one in made)
    world.wait(HOUR)
    assert (world.undone, before) == (1, 1)
    assert all(is_right(one.look(), world) for one in made)


def test_a_server_restarted_after_its_machine_was_suspended_saves_a_correct_clock_reference(world: _World) -> None:
    made = [world.server("a"), world.server("b")]
    world.wait(2 * MINUTE)
    made[0].stand_still(HOUR)
    world.wait(2 * SECOND)
    made[0].start()
    assert is_right(made[0].look(), world)
    assert world.undone == 1


def test_a_clock_step_found_by_two_servers_at_the_same_time_is_corrected_once(world: _World) -> None:
    server = world.server()
    world.set += HOUR
    looks = [server._read(), server._read()]
    for reading in looks:
        correction = server.steps.check(reading)
        assert correction is not None
        server.correct(reading, correction)
    assert is_right(server.look(), world)


def test_a_clock_reading_made_before_another_correction_is_repeated(world: _World) -> None:
    server = world.server()
    world.wait(2 * MINUTE)
    world.set += HOUR
    early = server._read()
    world.now += 5
    server.look()
    assert server.steps.check(early) is not None
    assert is_right(server.look(), world)


def test_a_clock_reference_is_not_used_after_the_correction_was_changed_by_hand(world: _World) -> None:
    world.server("a").look()
    world.servers.clear()
    # Somebody has corrected `ahead` by hand.
    world.ahead -= HOUR
    server = world.server("a")
    assert server.steps.check(server._read()) is None


def test_clock_drift_is_not_taken_for_a_clock_step(world: _World) -> None:
    server = world.server("a")
    server.look()
    world.servers.clear()
    # A day in which no server read the clock, while the database's clock was sped up by 200 parts per million.
    world.now += 24 * HOUR
    world.set += 17 * SECOND
    assert server.steps.check(server._read()) is None
    server.start()
    assert server.steps.check(server._read()) is None


def test_a_slow_clock_reading_is_not_used_as_a_reference(world: _World) -> None:
    server = world.server()
    assert server.steps.check(server._read(20 * SECOND)) is None
    world.set += 10 * SECOND
    assert is_right(server.look(), world)


@pytest.mark.parametrize("seed", range(30))
def test_the_time_is_corrected_within_seconds_after_random_clock_steps_suspensions_and_starts(seed: int) -> None:
    chance, world = random.Random(seed), _World()
    happens: list[Callable[[], object]] = [
        lambda: setattr(world, "set", world.set + chance.choice(STEPS)),
        lambda: chance.choice(world.servers[1:]).stand_still(chance.randrange(5 * MINUTE)),
        lambda: chance.choice(world.servers).start(),
        lambda: chance.choice(world.servers).look(),
    ]
    for name in ("a", "b", "b"):
        # The machine of the first server is never suspended.
        world.server(name)
    world.wait(2 * MINUTE)
    for _ in range(40):
        chance.choice(happens)()
        world.wait(chance.choice([0, SECOND, MINUTE]))
        world.wait(3 * SECOND)
        assert is_right(world.elapsed, world, by=5 * SECOND)
