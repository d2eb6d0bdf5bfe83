"""Commands, answers and errors survive the way to another server."""

from inspect import signature
from typing import Any

import pytest

from jobengine.cluster import codec
from jobengine.core import commands as c
from jobengine.core import errors as e
from jobengine.core.model import NO_CONTEXT, NO_RARE, Defaults, Job, Spec, Standing, State
from jobengine.core.retention import retention
from jobengine.core.schedules import Edge
from jobengine.engine.door import Busy, Door, NoLead, OutcomeUnknown, Unavailable
from jobengine.timetable import TIMETABLE

JOB = Job(
    Spec(
        uid="u",
        priority=3,
        arrival=4,
        keep=retention(5, 6),
        timeout_seconds=7,
        timeout_time=0,
        content=b"{}",
        created=1,
    ),
    Standing(state=State.QUEUED, updated=2),
)


def back(error: Exception) -> Any:
    return codec.decode_error(codec.encode(error))


def test_every_command_has_its_own_name_a_decoder_and_an_answer_that_can_be_decoded() -> None:
    commands = codec.commands()
    assert len(commands) > 40
    names = [kind.__name__ for kind in commands if kind.__module__.startswith("jobengine.")]
    assert len(names) == len(set(names))
    for kind in commands:
        assert callable(codec.command_decoder(kind.__name__))
        assert callable(codec.answer_decoder(kind))


def test_only_base_classes_leave_their_answer_open() -> None:
    is_open = {kind.__name__ for kind in codec.commands() if codec.answer_type(kind) is Any}
    assert is_open == {"Command", "QueueCommand", "AllQueues", "AddingCommand", "_ScheduleCommand"}


def test_every_method_of_an_engine_with_a_command_travels() -> None:
    taking = {name for name, one in vars(Door).items() if name[0] != "_" and "command" in signature(one).parameters}
    assert taking | {"backup"} == {"ask", *codec.VERBS, *codec.STREAMS}
    for verb in (*codec.VERBS, *codec.STREAMS):
        assert callable(codec.argument_decoder(verb))
        assert callable(codec.result_decoder(verb))


def test_omitted_fields_are_the_shared_defaults_so_that_a_job_costs_the_lead_no_more_memory() -> None:
    new = codec.command_decoder("AddJobs")(
        codec.encode(c.AddJobs(queue="q", jobs=(c.NewJob(content=b"{}"),), defaults=Defaults()))
    )
    assert new.jobs[0].context is NO_CONTEXT
    assert codec.answer_decoder(c.ReadJob)(codec.encode(JOB)).spec.rare is NO_RARE


def test_a_calendar_does_not_travel_each_server_has_its_own() -> None:
    command = c.RunSchedule(queue="q", name="n", edge=Edge(Defaults(), TIMETABLE))
    assert codec.command_decoder("RunSchedule")(codec.encode(command)) == command


def test_jobs_and_errors_in_one_answer_keep_their_types() -> None:
    lost = e.LeaseLost(State.INPROGRESS, "w")
    result = codec.result_decoder("claim")(codec.encode(c.ClaimResult(jobs=[c.Claimed("q", JOB)], results=[JOB, lost])))
    assert result.jobs == [c.Claimed("q", JOB)]
    assert result.results[0] == JOB
    assert (type(result.results[1]), str(result.results[1])) == (e.LeaseLost, str(lost))
    assert [type(one) for one in codec.answer_decoder(c.UpdateJobs)(codec.encode([lost, JOB]))] == [e.LeaseLost, Job]


@pytest.mark.parametrize(
    "error",
    [
        e.QueueNotFound("q"),
        e.BadItem(3, e.LeaseLost(State.INPROGRESS, "w")),
        e.GroupInUse(State.INPROGRESS, None),
        Busy("too many"),
        NoLead(),
        OutcomeUnknown("perhaps"),
    ],
)
def test_an_error_keeps_its_class_its_text_and_its_state(error: Exception) -> None:
    again = back(error)
    assert (type(again), again.args) == (type(error), error.args)
    assert {name: repr(value) for name, value in vars(again).items()} == {
        name: repr(value) for name, value in vars(error).items()
    }


def test_the_state_in_an_error_is_a_state_again() -> None:
    assert back(e.BadItem(3, e.LeaseLost(State.INPROGRESS, "w"))).why.state is State.INPROGRESS


def test_an_unknown_error_becomes_unavailable_and_shows_nothing_of_itself() -> None:
    error = back(OSError("/secret/path"))
    assert type(error) is Unavailable
    assert "secret" not in str(error)


def test_an_error_of_a_class_that_is_missing_here_becomes_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = codec.encode(e.QueueNotFound("q"))
    monkeypatch.setattr(codec, "_error_class", lambda _name: None)
    assert type(codec.decode_error(sent)) is Unavailable
