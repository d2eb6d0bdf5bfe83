"""A file with a job in each line, in a form that can be added twice and is there once."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import IO, Any, Final, NamedTuple

from jobengine.client import NewJob

from .parameters import parse_content

__all__ = ["BadLine", "JobFile"]

#: Bytes that are hashed at a time.
_CHUNK: Final = 1 << 20
#: The longest name of a batch, in bytes.
LONGEST_BATCH: Final = 64


class BadLine(Exception):
    """A line that is no job."""


class JobFile(NamedTuple):
    """
    Jobs in lines of JSON.

    Each has a uid that follows from the batch, the number of its line and its text. So the same file makes the same
    jobs each time it is added, and the same line twice in a file makes two jobs.
    """

    file: IO[bytes]
    #: Names the batch.
    batch: str
    #: How many lines have a job in them.
    jobs: int

    @classmethod
    def read(cls, file: IO[bytes], batch: str | None) -> "JobFile":
        """A file that is all good; `batch` follows from its bytes if it is left out. Raises BadLine."""
        digest, jobs = blake2b(digest_size=16), 0
        for number, line in _lines(file):
            digest.update(line)
            _parsed(number, line)
            jobs += 1
        return cls(file, batch or digest.hexdigest(), jobs)

    def new_jobs(self, names: list[int]) -> Iterator[NewJob]:
        """The jobs, read as they are asked for; `names` is filled with the numbers of their lines."""
        key = self.batch.encode()
        for number, line in _lines(self.file):
            names.append(number)
            yield NewJob(_parsed(number, line), uid=uid_of(key, number, line))


def uid_of(batch: bytes, number: int, line: bytes) -> str:
    """A UUID of version 8, in which the bits are one's own."""
    digest = blake2b(b"%d %b" % (number, line.strip()), key=batch, digest_size=16).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-a{digest[17:20]}-{digest[20:]}"


def _lines(file: IO[bytes]) -> Iterable[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers from 1 on."""
    file.seek(0)
    return ((number, line) for number, line in enumerate(file, 1) if line.strip())


def _parsed(number: int, line: bytes) -> Any:
    try:
        return parse_content(line.decode())
    except UnicodeDecodeError:
        raise BadLine(f"line {number}: It is not UTF-8.") from None
    except ValueError as error:
        raise BadLine(f"line {number}: {error}") from None
