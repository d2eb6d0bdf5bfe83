import subprocess
import sys
from uuid import RFC_4122, UUID

import pytest

from jobengine.engine.ids import new_uuid, ordered_uuid


def test_a_new_id_is_a_random_uuid_in_its_usual_form() -> None:
    for _ in range(1000):
        text = new_uuid()
        parsed = UUID(text)
        assert (parsed.version, parsed.variant, str(parsed)) == (4, RFC_4122, text)


def random_bits(ids: set[int]) -> int:
    """The number of bits that are 0 in some of these ids and 1 in others."""
    ones, zeros = 0, 0
    for number in ids:
        ones |= number
        zeros |= ~number
    return (ones & zeros & ((1 << 128) - 1)).bit_count()


def test_ids_are_unique_and_every_random_bit_takes_both_values() -> None:
    ids = {UUID(new_uuid()).int for _ in range(1000)}
    assert len(ids) == 1000
    # Six bits, always the same, say that the id is a random UUID.
    assert random_bits(ids) == 122


def test_a_forked_process_makes_other_ids() -> None:
    # Both processes print an id: the parent, which waits, and its child.
    script = (
        "import os; from jobengine.engine.ids import new_uuid; new_uuid(); os.fork() and os.wait(); print(new_uuid())"
    )
    made = subprocess.check_output([sys.executable, "-c", script], timeout=60).split()
    assert len(made) == len(set(made)) == 2


def test_an_ordered_id_begins_with_the_time_and_the_rest_is_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of RFC 9562, A.6: 0x017F22E279B0 are the milliseconds of its time."""
    monkeypatch.setattr("time.time_ns", lambda: 0x017F22E279B0 * 1_000_000 + 999_999)
    texts = {ordered_uuid() for _ in range(1000)}
    assert len(texts) == 1000
    assert all(text.startswith("017f22e2-79b0-7") for text in texts)
    assert {(UUID(text).version, UUID(text).variant, str(UUID(text)) == text) for text in texts} == {
        (7, RFC_4122, True)
    }
    assert random_bits({UUID(text).int for text in texts}) == 74
