"""The header: parameters are checked before they are used, and each kind of damage has its own error."""

import struct
from zlib import crc32

import pytest
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from jobengine.storage import frames
from jobengine.storage.errors import Damaged, NewerFormat, NotADatabase, WrongSecret
from jobengine.storage.frames import HEADER_SIZE, BadFrame, Kind, Lock, box_length, new_file, open_header
from tests.doubles import QUICK_KDF, SECRET


def header() -> bytes:
    return new_file(Lock.derive(SECRET, QUICK_KDF))[0]


def sealed_again(data: bytes) -> bytes:
    """The header with its checksum corrected."""
    return data[:-4] + crc32(data[:-4]).to_bytes(4, "big")


def with_kdf(passes: int, kib: int) -> bytes:
    data = header()
    return sealed_again(data[:28] + struct.pack(">II", passes, kib) + data[36:])


def with_version(major: int, minor: int) -> bytes:
    data = header()
    return data[:8] + struct.pack(">HH", major, minor) + data[12:]


@pytest.fixture
def derivations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replaces key derivation by a function that only records the memory limit of each call."""
    begun: list[int] = []
    keys = (bytes([number]) * 32 for number in range(256))

    def kdf(_size: int, _secret: bytes, _salt: bytes, *, opslimit: int, memlimit: int) -> bytes:
        begun.append(memlimit * opslimit)
        return next(keys)

    monkeypatch.setattr(argon2id, "kdf", kdf)
    return begun


@pytest.mark.parametrize(
    ("passes", "kib"),
    [(1, 0xFFFFFFFF), (0xFFFFFFFF, 8), (11, 8), (0, 8), (1, 7), (1, 0), (1, (1 << 20) + 1)],
)
def test_key_derivation_parameters_out_of_bounds_are_refused_before_derivation(
    passes: int, kib: int, derivations: list[int]
) -> None:
    data = with_kdf(passes, kib)
    derivations.clear()
    with pytest.raises(Damaged, match="out of bounds"):
        open_header(data, SECRET)
    assert derivations == []


@pytest.mark.parametrize(("passes", "kib"), [(1, 8), (10, 1 << 20), (3, 65536)])
def test_key_derivation_parameters_within_bounds_are_accepted(passes: int, kib: int, derivations: list[int]) -> None:
    data = with_kdf(passes, kib)
    derivations.clear()
    with pytest.raises(WrongSecret):
        open_header(data, SECRET)
    assert derivations == [passes * kib * 1024]


def test_a_header_with_replaced_key_derivation_parameters_is_refused() -> None:
    with pytest.raises(WrongSecret):
        open_header(with_kdf(2, 8), SECRET)


def test_a_header_with_a_changed_file_id_is_refused() -> None:
    data = header()
    other_id = sealed_again(data[:12] + bytes(16) + data[28:])
    with pytest.raises(Damaged, match="sealed with"):
        open_header(other_id, SECRET)


def test_a_wrong_secret_is_distinguished_from_damage() -> None:
    with pytest.raises(WrongSecret):
        open_header(header(), b"another")
    for at in range(12, HEADER_SIZE):
        data = bytearray(header())
        data[at] ^= 1
        with pytest.raises(Damaged):
            open_header(bytes(data), b"another")


@pytest.mark.parametrize("version", [(2, 0), (0xFFFF, 0)])
def test_a_newer_major_version_is_refused_with_any_header(version: tuple[int, int]) -> None:
    with pytest.raises(NewerFormat, match=f"version {version[0]}"):
        open_header(with_version(*version), SECRET)


def test_a_newer_minor_version_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(frames, "_MINOR", 7)
        data = header()
    assert data[8:12] == bytes([0, 1, 0, 7])
    lock, chain = open_header(data, SECRET)
    assert lock.kdf == QUICK_KDF
    assert chain.file_id == data[12:28]


def test_a_header_cut_short_is_refused() -> None:
    data = header()
    for length in range(HEADER_SIZE):
        with pytest.raises((NotADatabase, Damaged)):
            open_header(data[:length], SECRET)


def test_no_two_files_share_an_id_a_key_or_a_nonce() -> None:
    lock = Lock.derive(SECRET, QUICK_KDF)
    seen = {(data[12:28], data[52:76]) for data, _ in (new_file(lock) for _ in range(50))}
    assert len(seen) == 50
    assert len({file_id for file_id, _ in seen}) == len({nonce for _, nonce in seen}) == 50
    _, chain = new_file(lock)
    assert len({chain.seal(Kind.COMMIT, [b"x"], 0)[0][12:36] for _ in range(50)}) == 50


def test_the_repr_of_a_value_hides_its_key() -> None:
    lock = Lock.derive(SECRET, QUICK_KDF)
    _, chain = new_file(lock)
    assert repr(lock.key)[2:10] not in repr(lock)
    assert "SecretBox" not in repr(chain)
    assert "content" not in repr(frames.Frame(kind=Kind.COMMIT, records=(b"content",)))


def test_a_frame_of_an_unknown_kind_is_refused_as_a_newer_format() -> None:
    _, chain = new_file(Lock.derive(SECRET, QUICK_KDF))
    data, _ = chain.seal(9, [], 0)  # type: ignore[arg-type]  # not a member of Kind
    with pytest.raises(NewerFormat, match="kind 9"):
        chain.open(data[12:])


def test_a_frame_can_be_decrypted_only_at_its_own_place_in_the_file() -> None:
    _, chain = new_file(Lock.derive(SECRET, QUICK_KDF))
    first, after_first = chain.seal(Kind.COMMIT, [b"a", b""], 160)
    second, _ = after_first.seal(Kind.COMMIT, [b"b"], 160 + len(first))
    frame, followed = chain.open(first[12:])
    assert frame.records == (b"a", b"")
    assert followed == after_first
    with pytest.raises(BadFrame):
        chain.open(second[12:])
    with pytest.raises(BadFrame):
        after_first.open(first[12:])


@pytest.mark.parametrize(
    ("length", "tail"),
    [(0, b""), (40, b""), (41, b"\0"), (41, b"\0\0\0"), (41, b"\0\0\0\2x"), (41, b"\0\0\0\1x\xff")],
    ids=["nothing", "no-kind", "half-a-length", "no-record", "half-a-record", "more-than-the-records"],
)
def test_a_frame_with_a_valid_tag_but_incomplete_contents_is_refused(length: int, tail: bytes) -> None:
    box = SecretBox(bytes(32))
    chain = frames.Chain(box=box, file_id=bytes(16))
    clear = bytes(16 + 8 + 16) + bytes([Kind.COMMIT])
    with pytest.raises(BadFrame):
        chain.open(bytes(box.encrypt(clear[:length] + tail)))
    assert chain.is_frame(bytes(box.encrypt(clear[:length] + tail))) is (length == 41)


def test_sealing_a_frame_that_is_too_long_raises_value_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_BOX", 1000)
    _, chain = new_file(Lock.derive(SECRET, QUICK_KDF))
    data, _ = chain.seal(Kind.COMMIT, [bytes(1000 - 24 - 16 - 41 - 4)], 0)
    assert box_length(data[:12], 0) == 1000
    with pytest.raises(ValueError, match="too long"):
        chain.seal(Kind.COMMIT, [bytes(1000 - 24 - 16 - 41 - 3)], 0)
