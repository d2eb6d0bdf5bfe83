"""Every text and every test of the catalogue of mutants exists."""

import ast
from functools import lru_cache

import pytest

from .catalogue import MUTANTS
from .mutant import Mutant
from .trying import ROOT, NotFound, mutated


@lru_cache
def _functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_the_text_that_each_mutant_replaces_and_the_tests_that_detect_the_mutant_exist() -> None:
    for mutant in MUTANTS:
        text = mutated(mutant)
        if mutant.file.endswith(".py"):
            ast.parse(text)
        assert mutant.tests, mutant.name
        for test in mutant.tests:
            file, _, name = test.partition("::")
            assert name in _functions_of(file), test


def test_no_two_mutants_have_the_same_name_or_make_the_same_change() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)


def test_only_a_text_that_occurs_exactly_once_is_replaced() -> None:
    for old in ("there is no such text", "import "):
        with pytest.raises(NotFound):
            mutated(Mutant("name", "", "jobengine/storage/files.py", old, "", ()))
