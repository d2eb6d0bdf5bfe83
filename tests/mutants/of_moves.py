"""Safeties of moves between queues."""

from typing import Final

from .mutant import Mutant

_MOVES: Final = "jobengine/core/moves.py"

OF_MOVES: Final = (
    Mutant(
        "move-uid-taken",
        "that a moved job replaces no other",
        _MOVES,
        "        if job.spec.uid in arrived or target.job(job.spec.uid) is not None:\n",
        "        if job.spec.uid in arrived:\n",
        ("tests/core/test_dead_letters.py::test_a_job_whose_uid_exists_in_the_other_queue_is_not_moved",),
    ),
    Mutant(
        "move-removes",
        "that a moved job is in one queue only",
        _MOVES,
        "        return [JobRemoved(source.name, spec.uid), JobAdded(name, Job(moved, standing))]\n",
        "        return [JobAdded(name, Job(moved, standing))]\n",
        ("tests/core/test_dead_letters.py::test_after_random_moves_each_job_is_in_exactly_one_queue",),
    ),
    Mutant(
        "move-stranger",
        "that a later queue of the same name gets no jobs",
        _MOVES,
        "        if target.queue.salt != setting.salt:\n            return why.REPLACED\n",
        "",
        ("tests/core/test_dead_letters.py::test_a_recreated_dead_letter_queue_gets_no_job",),
    ),
    Mutant(
        "move-again",
        "that a job which came back during a move is not moved again",
        "jobengine/core/commands/moves.py",
        "        return [job for job in jobs if not self.before < job.updated <= now]\n",
        "        return jobs\n",
        (
            "tests/core/test_dead_letters.py::test_a_moved_job_that_fails_again_during_the_move_is_not_moved_a_second_time",
        ),
    ),
    Mutant(
        "move-other-lease",
        "that only the holder of a moved job gets it by repeating the report",
        "jobengine/engine/repeated_reports.py",
        '            if is_its and compare_digest((lease or "").encode(), update.lease.encode()):\n',
        "            if is_its:\n",
        ("tests/web/test_dead_letters.py::test_a_worker_may_repeat_the_failure_report_that_moved_its_job",),
    ),
)
