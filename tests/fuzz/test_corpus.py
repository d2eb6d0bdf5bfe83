"""Runs the kept inputs through their targets, without atheris."""

import pytest

from . import corpus
from .targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_every_saved_fuzz_input_passes(target: str) -> None:
    inputs = corpus.kept(target)
    assert len(inputs) > 5
    for data in inputs:
        TARGETS[target](data)
