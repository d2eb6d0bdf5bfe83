"""Safeties of jobs that depend on others, and of batches."""

from typing import Final

from .mutant import Mutant

_RULES: Final = "jobengine/core/dependants.py"
_INDEX: Final = "jobengine/engine/tables/dependants.py"
_JUDGE: Final = (
    "tests/core/test_dependency_model.py::test_jobs_run_when_their_dependencies_are_met_and_no_job_waits_without_reason"
)

OF_DEPENDENCIES: Final = (
    Mutant(
        "dependency-met",
        "that a job is not released before all that it depends on have ended",
        _RULES,
        "    if waits_for(ended):\n        return replace(standing, ended=ended)\n    return replace(standing, ended=",
        '    if "c" not in ended:\n        return replace(standing, ended=ended)\n    return replace(standing, ended=',
        (_JUDGE,),
    ),
    Mutant(
        "dependency-healed",
        "that a retry also retries the jobs that failed because of the retried job",
        _RULES,
        "    return is_failed and dependencies.on_failure is OnDependencyFailure.FAIL\n",
        "    return False\n",
        ("tests/core/test_dependencies.py::test_retrying_a_failed_job_makes_its_failed_dependants_wait_again",),
    ),
    Mutant(
        "dependency-looked-up",
        "that a job which begins to wait counts jobs that have ended before",
        _INDEX,
        "            # The awaited jobs and batches may have ended already.\n            self._to_check[its] = None\n",
        "            pass\n",
        (_JUDGE,),
    ),
    Mutant(
        "dependency-kept",
        "that a finished job is kept while an unfinished one depends on it",
        "jobengine/engine/tables/batch_index.py",
        "(spec.uid in self.needed or (spec.rare.batch is not None and not standing.shift))",
        "spec.rare.batch is not None and not standing.shift",
        ("tests/core/test_dependencies.py::test_a_finished_job_is_kept_until_its_dependants_are_finished",),
    ),
    Mutant(
        "dependency-retried",
        "that retrying all failed jobs runs no job before its dependencies",
        "jobengine/core/transitions.py",
        "        ended = ended.replace(UNMET, WAITED_FOR)\n",
        '        ended = ""\n',
        ("tests/core/test_dependencies.py::test_retrying_all_failed_jobs_runs_no_job_before_its_dependencies",),
    ),
    Mutant(
        "batch-lost",
        "that a job removed from a batch counts as failed",
        "jobengine/core/batches.py",
        "    return batch.lost > 0 or counts",
        "    return counts",
        ("tests/core/test_batches.py::test_the_job_at_the_batch_end_fails_if_any_job_of_the_batch_failed",),
    ),
    Mutant(
        "batch-open",
        "that an open batch does not end",
        "jobengine/core/batches.py",
        "    return not batch.open and not counts.unfinished\n",
        "    return not counts.unfinished\n",
        ("tests/core/test_batches.py::test_the_job_at_the_batch_end_is_ready_when_the_batch_is_closed_and_finished",),
    ),
)
