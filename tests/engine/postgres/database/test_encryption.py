"""The data key of a database on PostgreSQL."""

from typing import Any

import pytest
from attrs import evolve

from jobengine.engine.postgres.database.encryption import SealedKey, new_key, open_key
from jobengine.storage.errors import Damaged, WrongSecret
from jobengine.storage.frames import Kdf
from tests.doubles import QUICK_KDF, SECRET


def test_the_right_secret_opens_the_data_key_and_a_wrong_secret_does_not() -> None:
    kept = new_key(SECRET, QUICK_KDF)
    seal = open_key(kept, SECRET)
    assert open_key(kept, SECRET).open(seal.seal(b"record")) == b"record"
    with pytest.raises(WrongSecret):
        open_key(kept, b"another")


@pytest.mark.parametrize(
    "changes",
    [
        {"sealed": b""},
        {"sealed": b"short"},
        {"sealed": bytes(73)},
        {"salt": b""},
        {"salt": bytes(17)},
        {"kdf": Kdf(passes=0, kib=8)},
        {"kdf": Kdf(passes=1, kib=1 << 30)},
        {"kdf": Kdf(passes=1 << 30, kib=8)},
    ],
    ids=str,
)
def test_a_key_row_with_invalid_lengths_or_parameters_is_damaged(changes: dict[str, Any]) -> None:
    kept: SealedKey = evolve(new_key(SECRET, QUICK_KDF), **changes)
    with pytest.raises(Damaged, match="meta was altered"):
        open_key(kept, SECRET)
