"""Safeties of the engine on PostgreSQL."""

from typing import Final

from .mutant import Mutant

_SESSION: Final = "jobengine/engine/postgres/batch/session.py"
_LOADING: Final = "jobengine/engine/postgres/batch/load.py"
_STATEMENTS: Final = "jobengine/engine/postgres/batch/queries.py"
_SQL: Final = "jobengine/engine/postgres/sql"
_RACES: Final = "tests/engine/postgres/batch/test_races.py"
_CLAIM_STARTS: Final = "jobengine/engine/postgres/batch/claim_start.py"
_OF_CLAIM_STARTS: Final = "tests/engine/postgres/batch/test_nothing_missed.py"
_DAMAGE: Final = "jobengine/engine/postgres/batch/damage.py"
_RECHECK: Final = "jobengine/engine/postgres/database/recheck.py"
_ROWS: Final = "jobengine/engine/postgres/database/rows.py"
_OF_RECOUNT: Final = "tests/engine/postgres/test_recount.py"
_OF_DAMAGE: Final = "tests/engine/postgres/database/test_damage.py"
_CLOCK: Final = "tests/engine/postgres/batch/test_clock_steps.py"
_FOLLOW_UP: Final = "jobengine/engine/postgres/batch/follow.py"
_OF_FOLLOW_UPS: Final = "tests/engine/postgres/batch/test_follow_ups.py"
_CUTS: Final = "tests/engine/postgres/database/test_cuts.py"

OF_POSTGRES: Final = (
    Mutant(
        "refusals-collected",
        "that the garbage collector sees refused commands, which hold an exception",
        "jobengine/engine/postgres/batch/plan.py",
        "class PlannedCommand(Value, frozen=True, gc=True):",
        "class PlannedCommand(Value, frozen=True):",
        ("tests/test_reference_cycles.py::test_no_struct_without_gc_can_be_part_of_a_reference_cycle",),
    ),
    Mutant(
        "one-clock-reference",
        "that all connections of a server compare the database's clock with one reference",
        "jobengine/engine/postgres/engine.py",
        "            clock_steps=self._clock_steps,\n",
        "",
        (f"{_CLOCK}::test_the_first_use_of_any_connection_after_a_restart_finds_a_clock_step",),
    ),
    Mutant(
        "clock-reference-at-start",
        "that the reference is taken at the start, from what the last server on the machine has saved",
        "jobengine/engine/postgres/engine.py",
        "begin_clock(connection, self.time, self._clock_steps)",
        "pass",
        (f"{_CLOCK}::test_a_clock_step_while_no_server_runs_is_found_at_the_start",),
    ),
    Mutant(
        "stood-still",
        "that a server accepts that other servers undo its clock correction",
        "jobengine/engine/postgres/batch/begin.py",
        "        if reading.undone != reference.undone:\n            return True\n",
        "",
        (
            "tests/engine/postgres/batch/test_clock.py::test_a_clock_reading_of_a_suspended_machine_is_corrected_within_two_seconds",
        ),
    ),
    Mutant(
        "unique-key-lock",
        "that adding a job with a unique key locks the key",
        f"{_SQL}/jobs.sql",
        "\nFOR UPDATE OF k;",
        ";",
        (f"{_RACES}::test_two_concurrent_adds_with_the_same_unique_key_add_one_job",),
    ),
    Mutant(
        "job-lock",
        "that a change locks its job before the rules are applied",
        _STATEMENTS,
        "(_LOCK_JOBS if locks else _READ_JOBS)",
        "_READ_JOBS",
        (f"{_RACES}::test_the_later_of_two_concurrent_deletions_of_a_job_gets_not_found",),
    ),
    Mutant(
        "redo-conflict",
        "that a batch is repeated if another connection was faster",
        _SESSION,
        "except (Redo, SerializationFailure, DeadlockDetected, UniqueViolation):\n                reason",
        "except (Redo, SerializationFailure, DeadlockDetected):\n                reason",
        (f"{_RACES}::test_two_concurrent_adds_with_the_same_uid_add_one_job",),
    ),
    Mutant(
        "lane-asked",
        "that after a lost answer the server reads whether its commit was made",
        _SESSION,
        "            if not batch.changes or not self._was_made():\n",
        "            if True:\n",
        (f"{_CUTS}::test_an_add_whose_database_connection_is_cut_at_any_byte_adds_one_job",),
    ),
    Mutant(
        "lane-waited-for",
        "that reading whether a commit was made waits for the backend that may still make it",
        f"{_SQL}/servers.sql",
        "INSERT INTO lane_commit VALUES (:lane, 0, :clock) "
        "ON CONFLICT (id) DO UPDATE SET at = excluded.at RETURNING batch;",
        "SELECT batch FROM lane_commit WHERE id = :lane;",
        (f"{_CUTS}::test_a_batch_is_not_repeated_while_the_database_may_still_commit_the_first_attempt",),
    ),
    Mutant(
        "queues-confirmed",
        "that no jobs are claimed by a stale copy of a queue that another server has changed",
        _LOADING,
        "if not now.confirms(guess):",
        "if False:",
        (
            "tests/contract/test_postgres.py::test_a_server_uses_the_present_settings_of_a_queue_that_another_server_changed",
        ),
    ),
    Mutant(
        "old-key-asked-again",
        "that a key that has expired since its queue was last read is refused",
        _LOADING,
        "if _has_old_keys(now):",
        "if False:",
        ("tests/engine/postgres/batch/test_old_key.py::test_an_old_key_opens_a_cached_queue_until_the_key_expires",),
    ),
    Mutant(
        "sealed-for-uid",
        "that a record is refused in the row of another job",
        "jobengine/engine/postgres/database/rows.py",
        "(fact.queue, fact.job.spec.uid) != (queue.salt, uid):",
        "fact.queue != queue.salt:",
        ("tests/contract/test_postgres.py::test_a_row_with_the_record_of_another_job_is_refused",),
    ),
    Mutant(
        "claim-start-set-back",
        "that making a job ready before the claim start moves the claim start back",
        _CLAIM_STARTS,
        "        if start is None or rank < start:\n",
        "        if False:\n",
        (f"{_OF_CLAIM_STARTS}::test_a_job_of_higher_priority_that_another_server_adds_is_claimed_first",),
    ),
    Mutant(
        "claim-start-waits",
        "that a claim start is advanced only when every transaction that may not have seen it has ended",
        _CLAIM_STARTS,
        "    if seen.oldest < start.known_from:\n",
        "    if False:\n",
        (f"{_OF_CLAIM_STARTS}::test_a_job_added_while_the_claim_start_is_advanced_is_claimed",),
    ),
    Mutant(
        "damaged-count",
        "that a damaged job that was set apart is no longer counted",
        _DAMAGE,
        "{key: -count for",
        "{key: 0 * count for",
        (f"{_OF_DAMAGE}::test_claims_skip_a_damaged_job_at_the_head",),
    ),
    Mutant(
        "damaged-place",
        "that a row counts as damaged if its records belong to another place",
        _ROWS,
        "if true != place:",
        "if False:",
        (f"{_OF_DAMAGE}::test_claims_skip_a_finished_job_whose_row_is_altered_to_ready",),
    ),
    Mutant(
        "damaged-queue",
        "that a record of one queue is refused in the row of another queue",
        _ROWS,
        " or self.name(fact.queue.name) != digest",
        "",
        (f"{_OF_DAMAGE}::test_only_commands_that_name_a_damaged_queue_fail",),
    ),
    Mutant(
        "damaged-restored",
        "that a restored row goes back only to the place that it had",
        _RECHECK,
        "if place in (had, had + MARKS_RECOUNTED) else None",
        "",
        (f"{_OF_DAMAGE}::test_a_job_row_without_its_second_record_is_damaged_and_not_claimed",),
    ),
    Mutant(
        "recounted-damage",
        "that a restored job is counted as retrying or cancelled again if a recount has left it out",
        _RECHECK,
        "mark_of(job) if set_apart <= MARKS_RECOUNTED else None",
        "None",
        (f"{_OF_RECOUNT}::test_restored_jobs_are_counted_as_before_even_after_recounts_without_them",),
    ),
    Mutant(
        "recount-of-one-moment",
        "that a recount compares rows and counts of one moment",
        "jobengine/engine/postgres/recount.py",
        '    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",\n',
        "",
        (f"{_OF_RECOUNT}::test_deleting_a_job_during_a_recount_causes_no_wrong_correction",),
    ),
    Mutant(
        "unlocked-dependency",
        "that a follow-up takes over no failure or retry of a job that it has not locked",
        _FOLLOW_UP,
        "now in (was, MET) or parent_of(self.rows, awaited) in parents",
        "True",
        (f"{_OF_FOLLOW_UPS}::test_a_follow_up_ignores_failed_dependencies_that_have_a_follow_up_of_their_own",),
    ),
    Mutant(
        "followed-up-job-lock",
        "that a follow-up locks the jobs that have ended or were retried",
        _FOLLOW_UP,
        "named_ = {*found, *ours}",
        "named_ = {*found}",
        (f"{_OF_FOLLOW_UPS}::test_an_awaited_job_does_not_change_while_its_dependants_are_updated",),
    ),
    Mutant(
        "kept-for-a-retried-dependant",
        "that a job is kept for a dependant that a follow-up queues again",
        "jobengine/engine/postgres/batch/links.py",
        "if parent is None or self.is_follow_up:",
        "if parent is None:",
        (f"{_OF_FOLLOW_UPS}::test_a_job_that_starts_while_a_follow_up_reads_it_keeps_its_time_out",),
    ),
    Mutant(
        "followed-up-twice",
        "that a follow-up is repeated if the ended job changes before it is locked",
        _FOLLOW_UP,
        "if was.end != one.end)",
        "if False)",
        (
            f"{_OF_FOLLOW_UPS}::test_a_job_is_released_if_its_dependency_completes_before_the_first_follow_up_has_locked_it",
        ),
    ),
)
