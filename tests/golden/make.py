"""
Writes the golden files of the format as it is now: `python -m tests.golden.make`.

Run it once for each new version of the format or of a record; released golden files are never written again.
"""

from pathlib import Path

from jobengine.core.fact_codec import encode
from jobengine.storage.journal import Journal
from tests.doubles import QUICK_KDF, SECRET
from tests.golden.facts import COMMITS, RECORDS, SLICES

HERE = Path(__file__).parent
DATABASE = HERE / "format-1.0-records-7.db"


def make_database() -> None:
    """A snapshot, commits, an orderly end, and one more commit after it."""
    journal = Journal(str(DATABASE), kdf=QUICK_KDF)
    assert not journal.lock()
    journal.make(SECRET)
    journal.start_copy()
    for facts in SLICES:
        journal.append([], [encode(fact) for fact in facts])
    assert journal.finish_copy()
    for facts in COMMITS[:-1]:
        journal.append([encode(fact) for fact in facts])
    journal.close(orderly=True)
    assert journal.lock()
    journal.open(SECRET)
    assert list(journal.recover(0))
    journal.append([encode(fact) for fact in COMMITS[-1]])
    journal.close(orderly=True)


def make_new_files() -> None:
    """Make the files that do not exist."""
    if not DATABASE.exists():
        make_database()
        DATABASE.with_name(DATABASE.name + ".lock").unlink()
    for name, fact in RECORDS.items():
        if not (HERE / name).exists():
            (HERE / name).write_bytes(encode(fact))


if __name__ == "__main__":
    make_new_files()
