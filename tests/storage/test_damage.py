"""Recovery of a damaged file yields the exact state of an earlier commit, or refuses the file."""

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from jobengine.storage.errors import Damaged, Locked, NotADatabase, StorageError, Unclear, WrongSecret
from jobengine.storage.frames import FRAME_HEAD, HEADER_SIZE
from tests.doubles import SECRET
from tests.storage.files_of_commits import Commit, frame_starts, listing, opened, read, write

#: Short commits, so that each byte can be damaged in turn; a frame may still span two sectors.
COMMITS: list[Commit] = [(b"one",), (b"two", b"and more"), (b"three",)]
#: The states of the file, one for each number of commits.
EARLIER = [COMMITS[:n] for n in range(len(COMMITS) + 1)]
NOISE = bytes((at * 151 + 7) % 251 + 1 for at in range(2000))


def outcome(path: Path, data: bytes) -> list[Commit] | None:
    """The commits read from a file of these bytes, or None if it is refused; a refusal changes nothing."""
    path.write_bytes(data)
    before = listing(path.parent)
    try:
        return read(path)
    except StorageError as error:
        told = str(error)
    finally:
        after, left = path.read_bytes(), listing(path.parent)
        for name in left:
            os.remove(path.parent / name)
    assert str(path) in told
    assert (after, left) == (data, before)
    return None


def refusal(path: Path, data: bytes) -> type[Exception] | None:
    path.write_bytes(data)
    try:
        read(path)
    except StorageError as error:
        return type(error)
    return None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db"


@pytest.fixture
def whole(path: Path) -> bytes:
    return write(path, COMMITS)


@pytest.fixture
def frames(whole: bytes) -> list[bytes]:
    """The header, then each frame: the end of the snapshot, then the commits."""
    starts = frame_starts(whole)
    return [whole[:HEADER_SIZE], *(whole[a:b] for a, b in pairwise(starts))]


def test_a_file_cut_at_any_byte_yields_its_whole_commits(path: Path, whole: bytes) -> None:
    starts = frame_starts(whole)
    for length in range(len(whole)):
        found = outcome(path, whole[:length])
        commits = sum(end <= length for end in starts[2:])
        expected = EARLIER[commits] if length >= starts[1] else None
        assert found == expected, length


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF, 0x55])
def test_a_file_with_any_byte_changed_yields_an_earlier_commit_or_is_refused(
    path: Path, whole: bytes, mask: int
) -> None:
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= mask
        found = outcome(path, bytes(changed))
        assert found is None or found in EARLIER, at
        if at < frame_starts(whole)[-2]:
            assert found is None, at


def test_a_changed_last_frame_is_refused_and_not_treated_as_a_torn_write(path: Path, whole: bytes) -> None:
    begin = frame_starts(whole)[-2]
    for at in range(begin, len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 0xFF
        assert refusal(path, bytes(changed)) in (Unclear, Damaged), at


def test_a_damaged_length_before_the_last_frame_is_refused(path: Path, whole: bytes) -> None:
    for start in frame_starts(whole)[1:-2]:
        longer = whole[: start + 4] + (1 << 20).to_bytes(4, "big") + whole[start + 8 :]
        assert refusal(path, longer) is Damaged


def test_a_frame_head_moved_from_another_position_is_refused(path: Path, frames: list[bytes]) -> None:
    header, end, one, two, three = frames
    moved = header + end + one + two[:FRAME_HEAD] + one[FRAME_HEAD:] + three
    assert refusal(path, moved) is Damaged


@pytest.mark.parametrize(
    "arrange",
    [
        lambda h, e, a, b, c: [h, e, a, c],
        lambda h, e, a, b, c: [h, e, b, c],
        lambda h, e, a, b, c: [h, a, b, c],
        lambda h, e, a, b, c: [h, e, a, a, b, c],
        lambda h, e, a, b, c: [h, e, a, b, c, c],
        lambda h, e, a, b, c: [h, e, e, a, b, c],
        lambda h, e, a, b, c: [h, e, b, a, c],
        lambda h, e, a, b, c: [h, e, a, c, b],
    ],
    ids=[
        *["middle-dropped", "first-dropped", "snapshot-dropped", "doubled", "last-doubled", "snapshot-doubled"],
        *["swapped", "last-swapped"],
    ],
)
def test_frames_that_are_not_in_their_order_are_refused(
    path: Path, frames: list[bytes], arrange: Callable[..., list[bytes]]
) -> None:
    assert refusal(path, b"".join(arrange(*frames))) is Damaged


def test_exchanged_frames_of_equal_length_are_refused(path: Path) -> None:
    """Their heads are valid at the new positions too; only the boxes reveal the exchange."""
    header, end, a, b, c = _split(write(path, [(b"aa",), (b"bb",), (b"cc",)]))
    assert len(a) == len(b) == len(c)
    swapped = a[:FRAME_HEAD] + b[FRAME_HEAD:] + b[:FRAME_HEAD] + a[FRAME_HEAD:]
    assert refusal(path, header + end + swapped + c) is Damaged
    again = a + b[:FRAME_HEAD] + a[FRAME_HEAD:]
    assert refusal(path, header + end + again + c) is Damaged
    assert refusal(path, header + end + again) is Damaged


def test_a_frame_of_another_file_is_refused(path: Path, frames: list[bytes], tmp_path: Path) -> None:
    others = _split(write(tmp_path / "other", COMMITS))
    for place in range(1, len(frames)):
        spliced = [*frames]
        spliced[place] = others[place]
        assert outcome(path, b"".join(spliced)) is None
    assert outcome(path, b"".join([frames[0], *others[1:]])) is None


def test_an_older_frame_after_newer_frames_of_the_same_file_is_refused(path: Path) -> None:
    """For example after a backup was restored and used: the same key, but other frames."""
    backup = write(path, COMMITS[:1])
    first = _split(write(path, [(b"x1",), (b"y",)]))
    path.write_bytes(backup)
    second = _split(write(path, [(b"x2",), (b"z",)]))
    assert len(first[-1]) == len(second[-1])
    assert refusal(path, b"".join([*second[:-1], first[-1]])) is not None


@pytest.mark.parametrize("length", [1, 3, 11, 12, 100, 512, 5000])
def test_zeros_after_the_last_frame_are_treated_as_a_torn_write(path: Path, whole: bytes, length: int) -> None:
    assert outcome(path, whole + bytes(length)) == COMMITS


@pytest.mark.parametrize("length", [1, 3, 11, 12, 100, 512, 2000])
@pytest.mark.parametrize("fill", [b"\xff" * 2000, NOISE], ids=["0xff", "noise"])
def test_bytes_other_than_zeros_after_the_last_frame_are_refused(
    path: Path, whole: bytes, fill: bytes, length: int
) -> None:
    assert refusal(path, whole + fill[:length]) is Unclear


def test_a_sector_of_zeros_in_the_last_frame_is_treated_as_a_torn_write(path: Path) -> None:
    data = write(path, [*COMMITS, (b"." * 2000,)])
    start = frame_starts(data)[-2]
    sector = (start // 512 + 2) * 512
    assert outcome(path, data[:sector] + bytes(512) + data[sector + 512 :]) == COMMITS


def test_a_sector_of_zeros_in_an_earlier_frame_is_treated_as_damage(path: Path) -> None:
    data = write(path, [(b"." * 2000,), *COMMITS])
    sector = (frame_starts(data)[1] // 512 + 2) * 512
    assert refusal(path, data[:sector] + bytes(512) + data[sector + 512 :]) is Damaged


def test_a_torn_tail_is_kept_beside_the_file(path: Path, whole: bytes) -> None:
    cut = whole[:-5]
    path.write_bytes(cut)
    journal, commits = opened(path)
    assert commits == COMMITS[:-1]
    assert not journal.clean
    assert journal.torn is not None
    kept = Path(journal.torn.copy)
    start = frame_starts(whole)[-2]
    assert kept.name == "db.torn-1800000000000"
    assert kept.read_bytes() == cut[start:]
    assert journal.torn.length == len(cut) - start
    assert kept.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == whole[:start]
    journal.close(orderly=False)


@pytest.mark.parametrize("secret", [b"another", b"", SECRET + b"\n"])
def test_opening_with_a_wrong_secret_changes_no_file(path: Path, whole: bytes, secret: bytes) -> None:
    os.utime(path, (1, 1))
    path.with_name("db.new").write_bytes(b"left over")
    before, info = listing(path.parent), path.stat()
    with pytest.raises(WrongSecret, match="db: "):
        opened(path, secret=secret)
    assert listing(path.parent) == before
    assert path.read_bytes() == whole
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (info.st_mtime_ns, info.st_ino)


def test_the_lock_is_released_when_the_file_is_refused(path: Path, whole: bytes) -> None:
    assert whole
    with pytest.raises(WrongSecret):
        opened(path, secret=b"another")
    assert read(path) == COMMITS


def test_a_second_journal_on_a_file_is_refused_and_changes_nothing(path: Path, whole: bytes) -> None:
    first, _ = opened(path)
    before, info = listing(path.parent), path.stat()
    with pytest.raises(Locked, match="another JobEngine"):
        opened(path)
    assert listing(path.parent) == before
    assert path.read_bytes() == whole
    assert path.stat().st_mtime_ns == info.st_mtime_ns
    first.append([b"goes on"])
    first.close(orderly=False)
    assert read(path) == [*COMMITS, (b"goes on",)]


@pytest.mark.parametrize("data", [b"", b"\x89JEDB", b"SQLite format 3\0" + bytes(500), NOISE])
def test_a_file_of_another_format_is_refused(path: Path, data: bytes) -> None:
    assert refusal(path, data) is NotADatabase
    assert path.read_bytes() == data


def test_a_file_that_is_only_a_header_is_refused(path: Path, whole: bytes) -> None:
    assert refusal(path, whole[:HEADER_SIZE]) is Damaged


def _split(data: bytes) -> list[bytes]:
    starts = frame_starts(data)
    return [data[:HEADER_SIZE], *(data[a:b] for a, b in pairwise(starts))]
