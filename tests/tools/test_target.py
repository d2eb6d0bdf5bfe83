"""A long new file is synced while it is written, so that its last sync is short."""

from attrs import define, field

from jobengine.storage.files import Files
from jobengine.tools.target import NewFile

MIB = 1 << 20


@define
class RecordedCalls(Files):
    """Writes nothing, and records the calls, in MiB."""

    calls: list[tuple[str, int, int]] = field(factory=list)

    def write(self, descriptor: int, data: bytes, position: int) -> None:
        self.calls.append(("write", position // MIB, len(data) // MIB))

    def begin_sync(self, descriptor: int, position: int, length: int) -> None:
        self.calls.append(("begin", position // MIB, length // MIB))

    def sync(self, descriptor: int) -> None:
        self.calls.append(("sync", 0, 0))


def test_a_new_file_is_flushed_in_the_background_every_8_mib_and_synced_every_64_mib() -> None:
    files = RecordedCalls()
    file = NewFile(files, descriptor=7, path="copy")
    for _ in range(76):
        file.write(bytes(MIB))
    asked = [call for call in files.calls if call[0] != "write"]
    begun = [("begin", at, 8) for at in range(0, 56, 8)]
    assert asked == [*begun, ("sync", 0, 0), ("begin", 64, 8)]
