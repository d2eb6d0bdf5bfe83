"""Safeties of grouping failures by fingerprint."""

from typing import Final

from .mutant import Mutant

_INDEX: Final = "jobengine/engine/tables/failure_index.py"
_FINGERPRINTS: Final = "jobengine/core/fingerprints.py"

OF_FAILURES: Final = (
    Mutant(
        "failure-leaves",
        "that a job which is removed or fails in another way leaves its group",
        _INDEX,
        "            self._leave(was[0], (was[1], old.spec.uid))\n",
        "            pass\n",
        ("tests/core/test_failures.py::test_the_failure_index_counts_hundreds_of_added_and_removed_failures",),
    ),
    Mutant(
        "failure-retried",
        "that the first read finds the jobs which are tried again",
        _INDEX,
        "        return FailureScan(self._places, [*(_QUEUED if self.marks[Mark.RETRYING] else ()), Place.FAILED])\n",
        "        return FailureScan(self._places, [Place.FAILED])\n",
        ("tests/core/test_failures.py::test_jobs_that_wait_for_a_retry_are_found_when_failures_are_first_read",),
    ),
    Mutant(
        "failure-latest",
        "that a group shows the jobs that failed last",
        _INDEX,
        "        latest = islice(group.entries.back_from(None), UIDS)\n",
        "        latest = islice(group.entries, UIDS)\n",
        ("tests/web/test_fingerprints.py::test_failures_are_listed_by_fingerprint_with_the_largest_group_first",),
    ),
    Mutant(
        "failure-dropped",
        "that a list says how many jobs it leaves out",
        "jobengine/core/commands/failures.py",
        "            dropped=page.dropped,\n",
        "            dropped=0,\n",
        ("tests/core/test_failures.py::test_a_list_of_failures_counts_the_jobs_of_groups_left_out",),
    ),
    Mutant(
        "failure-bound",
        "that the index keeps a bounded number of groups",
        _INDEX,
        "                self._drop()\n",
        "                pass\n",
        (
            "tests/core/test_failures.py::test_the_smallest_failure_groups_are_dropped_and_of_equally_small_groups_the_earliest",
        ),
    ),
    Mutant(
        "failure-dropped-alike",
        "that the jobs which failed like one of a dropped group are counted",
        _INDEX,
        "            group = self.groups[name] = KeptGroup(not self._has_dropped)\n",
        "            group = self.groups[name] = KeptGroup(True)\n",
        (
            "tests/core/test_failures.py::test_removing_a_job_that_failed_before_the_drop_of_its_group_keeps_the_later_count",
        ),
    ),
    Mutant(
        "failure-numbers",
        "that errors which differ in a number have one fingerprint",
        _FINGERPRINTS,
        '    return _NUMBER.sub("", lower).strip(_AROUND) if _DIGIT_OR_HYPHEN.search(lower) else lower\n',
        "    return lower\n",
        ("tests/core/test_fingerprints.py::test_errors_that_differ_only_in_variable_parts_have_the_same_fingerprint",),
    ),
    Mutant(
        "failure-digits",
        "that a fingerprint does not depend on the errors that came before",
        _FINGERPRINTS,
        "        if not has_digits:\n",
        "        if True:\n",
        ("tests/core/test_failure_corpus.py::test_a_fingerprint_does_not_depend_on_errors_parsed_before",),
    ),
)
