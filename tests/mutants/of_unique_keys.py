"""Safeties of unique keys."""

from typing import Final

from .mutant import Mutant

_HOLDERS: Final = "jobengine/core/key_holders.py"
_TAKING: Final = "jobengine/core/commands/key_taking.py"
_CORE: Final = "tests/core/test_unique_keys.py::"
_RACES: Final = "tests/engine/postgres/batch/test_unique_races.py::"

OF_UNIQUE_KEYS: Final = (
    Mutant(
        "key-held-by-rule",
        "that a key until started is held again once its job is queued again",
        _HOLDERS,
        "    return standing.state is QUEUED or rule.until is Until.FINISHED\n",
        "    return rule.until is Until.FINISHED or not standing.attempts\n",
        (f"{_CORE}test_a_job_that_is_queued_again_holds_its_key_again",),
    ),
    Mutant(
        "key-after-finish",
        "that a finished job holds its key for its seconds",
        _HOLDERS,
        "        return until is not None and until > now\n",
        "        return False\n",
        (f"{_CORE}test_a_unique_key_with_seconds_stays_taken_after_its_job_is_finished",),
    ),
    Mutant(
        "kept-with-key",
        "that a finished job is kept while it holds its key",
        "jobengine/core/retention.py",
        "    minutes = -(-seconds // 60)\n",
        "    minutes = seconds // 60\n",
        (f"{_CORE}test_a_finished_job_is_kept_while_the_job_holds_its_unique_key",),
    ),
    Mutant(
        "never-replaced-in-progress",
        "that a job in progress is never replaced",
        _HOLDERS,
        "max((job for job in holders if job.state is QUEUED), key",
        "max((job for job in holders if job.state not in FINISHED), key",
        (f"{_CORE}test_a_job_in_progress_is_never_replaced",),
    ),
    Mutant(
        "newer-replaced",
        "that of two queued jobs with a key the one that runs last is replaced",
        _HOLDERS,
        "    return max((job for job in holders if",
        "    return min((job for job in holders if",
        (f"{_CORE}test_of_two_queued_holders_of_a_key_keep_returns_the_older_and_replace_changes_the_newer",),
    ),
    Mutant(
        "key-lost-once",
        "that an add has not to look at every finished job that has ever held its key",
        _TAKING,
        "                self._without_key.append(one)\n",
        "                pass\n",
        (f"{_CORE}test_a_new_job_takes_the_key_from_finished_jobs_permanently",),
    ),
    Mutant(
        "debounce-ends",
        "that adds can't delay a job for ever",
        "jobengine/core/unique_rule.py",
        "min(now + self.seconds * 1_000, created + self.at_most_seconds * 1_000)",
        "now + self.seconds * 1_000",
        (f"{_CORE}test_each_add_delays_a_debounced_job_again",),
    ),
    Mutant(
        "replaced-in-its-request",
        "that a job which is replaced in the request that adds it has the last content",
        "jobengine/core/commands/adding.py",
        "            self.new[index] = job\n",
        "            pass\n",
        (f"{_CORE}test_adds_in_one_request_give_the_same_jobs_as_separate_requests",),
    ),
    Mutant(
        "replace-others-job",
        "that a producer's key replaces no job of another key",
        "jobengine/core/commands/adding.py",
        "        if not may_read(there, self.grant):\n            raise UniqueKeyTaken\n",
        "        if replaces is None and not may_read(there, self.grant):\n            raise UniqueKeyTaken\n",
        (f"{_CORE}test_a_producer_may_add_beside_a_job_of_another_producer_but_may_not_replace_the_job",),
    ),
    Mutant(
        "key-locked-for-replacing",
        "that connections which replace a job by its key wait for each other",
        "jobengine/engine/postgres/batch/load.py",
        "        others = {*keys, *self.keys,",
        "        others = {*self.keys,",
        (f"{_RACES}test_at_most_one_job_is_queued_however_many_connections_add",),
    ),
)
