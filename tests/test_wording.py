"""`make lint` finds subjects of commits and identifiers that are not worded as they should be."""

import subprocess
from pathlib import Path

import pytest

from tests.wording import ALLOWED, branch_subjects, gone_words, subject_problem


@pytest.mark.parametrize(
    "subject",
    [
        "web: check the origin of a peek",
        "client, worker: list all names",
        "build: process the lock",
        "docs: x" + "y" * 64,
    ],
)
def test_a_subject_with_an_area_and_an_imperative_is_accepted(subject: str) -> None:
    assert subject_problem(subject) is None


@pytest.mark.parametrize(
    ("subject", "problem"),
    [
        ("docs: x" + "y" * 66, "it has 73 characters"),
        ("Check the origin", "it is not `area: imperative subject`"),
        ("kitchen: check the origin", "it is not `area: imperative subject`"),
        ("web,client: check the origin", "it is not `area: imperative subject`"),
        ("web: check the origin.", "it is not `area: imperative subject`"),
        ("web: Check the origin", "'Check' is not an imperative"),
        ("web: checks the origin", "'checks' is not an imperative"),
        ("web: checked the origin", "'checked' is not an imperative"),
        ("web: checking the origin", "'checking' is not an imperative"),
    ],
)
def test_a_subject_without_an_area_or_an_imperative_is_refused(subject: str, problem: str) -> None:
    assert (subject_problem(subject) or "").startswith(problem)


def _commit(folder: Path, *subjects: str) -> None:
    for subject in subjects:
        _git(folder, "-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty", "-m", subject)


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", folder, *arguments], check=True)


def test_the_commits_of_a_branch_are_those_missing_from_main(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q", "-b", "main")
    _commit(tmp_path, "Old", "Older")
    assert branch_subjects(tmp_path) == []
    _git(tmp_path, "checkout", "-q", "-b", "feature")
    _commit(tmp_path, "web: add a call", "docs: show it")
    assert branch_subjects(tmp_path) == ["docs: show it", "web: add a call"]


def test_without_a_repository_or_in_a_shallow_clone_no_commit_is_checked(tmp_path: Path) -> None:
    assert branch_subjects(tmp_path) == []
    whole, shallow = tmp_path / "whole", tmp_path / "shallow"
    whole.mkdir()
    _git(whole, "init", "-q", "-b", "main")
    _commit(whole, "Old", "web: add a call")
    _git(tmp_path, "clone", "-q", "--depth=1", f"file://{whole}", str(shallow))
    assert branch_subjects(shallow) == []


def test_an_identifier_with_a_forbidden_word_is_reported_once_in_any_case_style(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text("def _looked_at(asked):  # heard\n    return asked, ToldOnce, HTTPSaid, 'noted', basked, aside\n")
    found = [line.rpartition(": ")[2] for line in gone_words([source])]
    assert found == ["_looked_at", "asked", "ToldOnce", "HTTPSaid"]


def test_each_allowed_exception_has_a_reason() -> None:
    assert all(ALLOWED.values())
