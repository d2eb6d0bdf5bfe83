"""Compares the engine with a plain model, with random calls, restarts and clock changes; also over HTTP."""

from tests.machine.lives import HttpMachine, LocalMachine, live

#: The least count of each kind of event: rare events test little. The limits are far below the usual
#: counts, since any change of the state machine changes the random runs.
ENOUGH = {
    "given at once": 100,
    "given later": 5,
    "put back": 20,
    "complete": 5,
    "failed": 10,
    "timeout": 10,
    "tried again": 10,
    "cancelled": 3,
    "released": 1,
    "lease lost": 30,
    "end awaited": 1,
    "held": 1_000,
    "replaced": 20,
    "buried": 20,
    "stayed": 1,
    "moved": 10,
    "clock set": 50,
    "killed": 15,
    "stopped": 15,
}


def test_in_random_runs_the_engine_behaves_like_the_plain_model() -> None:
    counted = live(LocalMachine, lives=110, steps=50)
    assert {what: counted[what] for what, least in ENOUGH.items() if counted[what] < least} == {}


def test_in_random_runs_the_http_api_behaves_like_the_plain_model() -> None:
    counted = live(HttpMachine, lives=30, steps=40)
    usual = ("given at once", "held", "timeout", "tried again", "lease lost", "clock set", "buried", "moved")
    assert all(counted[what] for what in (*usual, "report repeated"))
