"""`make audit` fails for vulnerabilities, and does not report an audit that did not happen as clean."""

import json

import pytest

from tests.audit import verdict

CLEAN = {"name": "attrs", "version": "26.1.0", "vulns": []}
VULNERABLE = {"name": "twisted", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.0"]}]}
UNKNOWN = {"name": "klein", "skip_reason": "Dependency not found on PyPI and could not be audited: klein (24.8.0)"}


@pytest.mark.parametrize(
    ("packages", "said", "code"),
    [
        ([CLEAN], "no known vulnerabilities in the 1 packages", 0),
        ([CLEAN, VULNERABLE], "twisted 1.0: PYSEC-1", 1),
        ([UNKNOWN, VULNERABLE], "twisted 1.0: PYSEC-1", 1),
        ([CLEAN, UNKNOWN], "not audited", 0),
    ],
)
def test_a_report_fails_if_and_only_if_it_names_a_vulnerability(packages: list[object], said: str, code: int) -> None:
    message, exit_code = verdict(json.dumps({"dependencies": packages, "fixes": []}), "")
    assert (said in message, exit_code) == (True, code)


def test_an_audit_that_can_not_reach_the_vulnerability_service_reports_that_nothing_was_audited() -> None:
    errors = "requests.exceptions.ConnectionError: Max retries exceeded"
    assert verdict("", errors) == ("not audited: the service can't be reached", 0)


def test_an_audit_of_an_unreadable_lock_file_fails() -> None:
    message, code = verdict("", "ERROR:pip_audit._cli:requirement foo does not contain a hash")
    assert ("does not contain a hash" in message, code) == (True, 1)
