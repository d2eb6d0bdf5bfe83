"""The report of a check on a database, damaged or not."""

from itertools import pairwise

import pytest

from jobengine.core.fact_codec import encode
from jobengine.core.model import State
from jobengine.storage.errors import Damaged, NewerFormat, NotADatabase, Unclear, WrongSecret
from jobengine.storage.journal import Journal
from jobengine.tools.checking import Report, check
from tests.doubles import QUICK_KDF, SECRET
from tests.storage.files_of_commits import frame_starts, recovered
from tests.storage.simulated_files import SimulatedFiles

from .databases import FACTS, PATH, job, made


def checked(data: bytes) -> Report:
    return check(PATH, SECRET, files=SimulatedFiles(disk={PATH: data}))


@pytest.fixture
def data() -> bytes:
    return made().now()[PATH]


def test_check_reports_an_undamaged_file_and_does_not_change_it() -> None:
    files = made()
    before = files.now()
    report = check(PATH, SECRET, files=files)
    assert (report.version, report.commits, report.damage, report.unfinished) == ("1.0", len(FACTS), None, 0)
    assert report.size == report.good == len(before[PATH])
    assert report.closed
    assert {(state, n) for state, n in report.queues[0].jobs.items() if n} == {(State.QUEUED, 2), (State.FAILED, 1)}
    assert report.states == {"queued": 2, "inprogress": 0, "complete": 0, "failed": 1}
    assert files.now() == before


def test_a_partial_last_frame_is_not_reported_as_damage(data: bytes) -> None:
    last, end = frame_starts(data)[-3:-1]
    for length in range(last + 1, end):
        report = checked(data[:length])
        assert (report.good, report.unfinished, report.damage) == (last, length - last, None)
        assert not report.closed
        assert sum(report.states.values()) == 2


def test_a_file_with_an_incomplete_frame_after_its_closing_frame_counts_as_not_closed() -> None:
    files = made()
    journal, _ = recovered(Journal(PATH, files=files))
    journal.append([encode(job(4))])
    journal.close(orderly=False)
    report = checked(files.now()[PATH][:-5])
    assert (report.closed, report.damage, sum(report.states.values())) == (False, None, 3)


def test_damage_begins_at_the_first_bad_frame(data: bytes) -> None:
    starts = frame_starts(data)
    for begin, end in pairwise(starts[2:]):
        report = checked(data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:])
        assert isinstance(report.damage, Damaged | Unclear)
        assert str(report.damage).startswith(f"{PATH}: at byte {begin} of {len(data)}")
        assert (report.good, report.unfinished, report.closed) == (begin, 0, False)


@pytest.mark.parametrize(("data", "error"), [(b"", NotADatabase), (b"not a database", NotADatabase)])
def test_a_file_that_is_not_a_database_is_refused(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error, match=PATH):
        checked(data)


def test_a_wrong_secret_is_refused(data: bytes) -> None:
    with pytest.raises(WrongSecret, match=PATH):
        check(PATH, b"another", files=SimulatedFiles(disk={PATH: data}))


def test_check_refuses_a_record_of_an_unknown_kind_and_names_the_kind() -> None:
    files = SimulatedFiles()
    journal, _ = recovered(Journal(PATH, files=files, kdf=QUICK_KDF))
    journal.append([b'["job-teleported",1,"mail"]'])
    journal.close(orderly=True)
    with pytest.raises(NewerFormat, match=f"{PATH}: record 'job-teleported' of version 1"):
        check(PATH, SECRET, files=files)


class _Rewritten(SimulatedFiles):
    """A disk on which a server cuts off a frame and writes another, once, while the file is read."""

    later: bytes = b""
    reads = 0

    def read(self, descriptor: int, length: int, position: int) -> bytes:
        self.reads += 1
        if self.reads == 2:
            self.truncate(descriptor, 0)
            self.write(descriptor, self.later, 0)
        return super().read(descriptor, length, position)


def test_a_frame_that_is_rewritten_during_a_check_is_not_reported_as_damage(data: bytes) -> None:
    last, end = frame_starts(data)[-3:-1]
    half = (end + last) // 2
    # A server on a full disk has written only a part of the frame, and will write the frame again.
    torn = data[:half] + bytes(byte ^ 1 for byte in data[half:end])
    assert checked(torn).damage is not None
    files = _Rewritten(disk={PATH: torn})
    files.later = data
    report = check(PATH, SECRET, files=files)
    assert report.damage is None
    assert sum(report.states.values()) == 3
