"""
A file system in memory that can list the states in which a power cut may leave it.

Data that was not synced may be written in part: up to some byte, or with some sectors still zeros. Of the renames in a
directory that was not synced, maybe only the first have reached the disk.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import count

from attrs import define, field, frozen

from jobengine.storage.files import Files

SECTOR = 512
#: The contents of a disk: bytes by path.
Disk = Mapping[str, bytes]


@frozen
class _Write:
    data: bytes
    position: int

    def done(self, content: bytes) -> bytes:
        content = content.ljust(self.position, b"\0")
        return content[: self.position] + self.data + content[self.position + len(self.data) :]

    def torn(self, content: bytes) -> Iterator[bytes]:
        """Possible contents if only a part of the write has reached the disk."""
        borders = [at for at in range(len(self.data)) if (self.position + at) % SECTOR == 0]
        for length in {0, 1, 3, 11, 13, len(self.data) - 1, *borders}:
            if length < len(self.data):
                yield _Write(self.data[:length], self.position).done(content)
        starts = sorted({0, *borders})
        pieces = list(zip(starts, [*starts[1:], len(self.data)], strict=True))
        for lost in [*([piece] for piece in pieces), pieces, pieces[1:], pieces[:-1], pieces[::2], pieces[1::2]]:
            data = bytearray(self.data)
            for begin, end in lost:
                # A sector that the disk has not written yet keeps its old bytes.
                was = content[self.position + begin : self.position + end]
                data[begin:end] = was.ljust(end - begin, b"\0")
            yield _Write(bytes(data), self.position).done(content)


@frozen
class _Truncate:
    length: int

    def done(self, content: bytes) -> bytes:
        return content[: self.length]

    def torn(self, content: bytes) -> Iterator[bytes]:
        yield content


@define
class _Inode:
    durable: bytes = b""
    content: bytes = b""
    pending: list[_Write | _Truncate] = field(factory=list)

    def do(self, step: _Write | _Truncate) -> None:
        self.content = step.done(self.content)
        self.pending.append(step)

    def sync(self) -> None:
        for step in self.pending:
            self.durable = step.done(self.durable)
        self.pending = []

    def after_a_crash(self) -> Iterator[bytes]:
        """The possible contents on disk: without the pending writes, with all of them, or with a part."""
        content = self.durable
        yield content
        for step in self.pending:
            yield from step.torn(content)
            content = step.done(content)
            yield content


@define
class SimulatedFiles(Files):
    """Files in memory; `moment` is called after each step that changes something."""

    disk: Disk = field(factory=dict)
    moment: Callable[[], None] = lambda: None
    #: Whether syncs have an effect; tests switch them off to show that the code needs them.
    syncs: bool = True
    directory_syncs: bool = True
    _names: dict[str, _Inode] = field(init=False)
    _durable_names: dict[str, _Inode] = field(init=False)
    _name_steps: list[dict[str, _Inode]] = field(factory=list, init=False)
    _open: dict[int, _Inode] = field(factory=dict, init=False)
    _numbers: Iterator[int] = field(factory=lambda: count(3), init=False)

    def __attrs_post_init__(self) -> None:
        self._names = {path: _Inode(content, content) for path, content in self.disk.items()}
        self._durable_names = dict(self._names)

    def after_a_crash(self) -> Iterator[Disk]:
        """Yield possible disks: each state of the names, combined with each state of each file in turn."""
        for names in [self._durable_names, *self._name_steps]:
            for whole in (False, True):
                base = {path: inode.content if whole else inode.durable for path, inode in names.items()}
                yield base
                for path, inode in names.items():
                    for content in dict.fromkeys(inode.after_a_crash()):
                        yield {**base, path: content}

    def fail_to_sync(self) -> None:
        """Behave like a kernel whose disk fails: regard unwritten pages as written, and report no error later."""
        for inode in self._names.values():
            inode.pending = []

    def now(self) -> Disk:
        """The disk as a new process sees it, without a power cut."""
        return {path: inode.content for path, inode in self._names.items()}

    def create(self, path: str) -> int:
        if path in self._names:
            raise FileExistsError(path)
        self._rename_all({**self._names, path: _Inode()})
        return self.open(path)

    def open(self, path: str) -> int:
        number = next(self._numbers)
        self._open[number] = self._names[path]
        return number

    def open_to_read(self, path: str) -> int:
        return self.open(path)

    def is_regular(self, descriptor: int) -> bool:
        return True

    def keep_owner(self, descriptor: int, path: str) -> None:
        assert path in self._names

    def has_name(self, descriptor: int, path: str) -> bool:
        return self._names.get(path) is self._open[descriptor]

    def open_again(self, descriptor: int) -> int:
        number = next(self._numbers)
        self._open[number] = self._open[descriptor]
        return number

    def lock(self, path: str) -> int:
        return next(self._numbers)

    def lock_open(self, descriptor: int) -> None:
        assert descriptor in self._open

    def close(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)

    def discard(self, descriptor: int) -> None:
        self.close(descriptor)

    def exists(self, path: str) -> bool:
        return path in self._names

    def size(self, descriptor: int) -> int:
        return len(self._open[descriptor].content)

    def read(self, descriptor: int, length: int, position: int) -> bytes:
        return self._open[descriptor].content[position : position + length]

    def write(self, descriptor: int, data: bytes, position: int) -> None:
        self._open[descriptor].do(_Write(bytes(data), position))
        self.moment()

    def truncate(self, descriptor: int, length: int) -> None:
        self._open[descriptor].do(_Truncate(length))
        self.moment()

    def sync(self, descriptor: int) -> None:
        if self.syncs:
            self._open[descriptor].sync()
        self.moment()

    def begin_sync(self, descriptor: int, position: int, length: int) -> None:
        """Do nothing: data that is not synced may reach the disk at any time."""

    def open_directory(self, path: str) -> int:
        return next(self._numbers)

    def sync_directory(self, descriptor: int) -> None:
        if self.directory_syncs:
            self._durable_names, self._name_steps = self._names, []
        self.moment()

    def rename(self, old: str, new: str) -> None:
        names = dict(self._names)
        names[new] = names.pop(old)
        self._rename_all(names)

    def link(self, old: str, new: str) -> None:
        if new in self._names:
            raise FileExistsError(new)
        self._rename_all({**self._names, new: self._names[old]})

    def remove(self, path: str) -> None:
        if path in self._names:
            self._rename_all({name: inode for name, inode in self._names.items() if name != path})

    def _rename_all(self, names: dict[str, _Inode]) -> None:
        self._names = names
        self._name_steps.append(names)
        self.moment()


@define
class FaultyFiles(Files):
    """The real file system, except for the calls that are set to fail."""

    #: By method: for each of the next calls, the error to raise, or None to let the call through.
    faults: dict[str, list[OSError | None]] = field(factory=dict)
    #: Bytes that a failing write still puts into the file.
    short: int = 0
    #: Every call that changes something, in order.
    calls: list[str] = field(factory=list)

    def create(self, path: str) -> int:
        self._maybe_fail("create")
        return super().create(path)

    def write(self, descriptor: int, data: bytes, position: int) -> None:
        try:
            self._maybe_fail("write")
        except OSError:
            super().write(descriptor, data[: self.short], position)
            raise
        super().write(descriptor, data, position)

    def truncate(self, descriptor: int, length: int) -> None:
        self._maybe_fail("truncate")
        super().truncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        self._maybe_fail("sync")
        super().sync(descriptor)

    def sync_directory(self, descriptor: int) -> None:
        self._maybe_fail("sync_directory")
        super().sync_directory(descriptor)

    def link(self, old: str, new: str) -> None:
        self._maybe_fail("link")
        super().link(old, new)

    def rename(self, old: str, new: str) -> None:
        self._maybe_fail("rename")
        super().rename(old, new)

    def _maybe_fail(self, method: str) -> None:
        self.calls.append(method)
        plan = self.faults.get(method)
        if plan and (error := plan.pop(0)) is not None:
            raise error
