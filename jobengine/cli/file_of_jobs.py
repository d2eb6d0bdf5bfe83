"""A file with one job per line; adding it again adds no job twice."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import IO, Any, Final, NamedTuple

from msgspec.json import decode

from jobengine.client import NewJob
from jobengine.client.jobs import JobOptions

from .parameters import parse_content

#: The longest name of an import, in bytes.
LONGEST_NAME: Final = 64
#: The names of a job's fields.
_FIELDS: Final = {"content", *JobOptions.__annotations__}


class BadLine(Exception):
    """A line that is not a job."""


class JobFile(NamedTuple):
    """
    Jobs as lines of JSON.

    The uid of each job is derived from the import's name, the line's number and its text. So the same file always makes
    the same jobs, and a line that occurs twice makes two jobs.
    """

    file: IO[bytes]
    #: The name of the import.
    name: str
    #: The number of lines with a job.
    jobs: int
    #: Whether each line looks like a job with its fields, instead of a job's content.
    has_fields: bool

    @classmethod
    def read(cls, file: IO[bytes], name: str | None, batch: str | None = None) -> "JobFile":
        """Check a whole file; by default `name` is derived from its bytes and the batch of its jobs. Raises BadLine."""
        key = b"" if batch is None else blake2b(batch.encode()).digest()
        digest, jobs, has_fields = blake2b(digest_size=16, key=key), 0, True
        for number, line in _lines(file):
            digest.update(line)
            content = _parsed(number, line)
            has_fields = has_fields and isinstance(content.get("content"), dict) and content.keys() <= _FIELDS
            jobs += 1
        return cls(file, name or digest.hexdigest(), jobs, has_fields and jobs > 0)

    def new_jobs(self, numbers: list[int]) -> Iterator[NewJob]:
        """Yield the jobs, and append their line numbers to `numbers`."""
        key = self.name.encode()
        for number, line in _lines(self.file):
            numbers.append(number)
            yield NewJob(_parsed_again(number, line), uid=uid_of(key, number, line))


def uid_of(name: bytes, number: int, line: bytes) -> str:
    """The uid of a job, as a UUID of version 8: RFC 9562 leaves its bits to the application."""
    digest = blake2b(b"%d %b" % (number, line.strip()), key=name, digest_size=16).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-a{digest[17:20]}-{digest[20:]}"


def _lines(file: IO[bytes]) -> Iterable[tuple[int, bytes]]:
    """The line numbers, from 1, and the lines of a file, without empty lines."""
    file.seek(0)
    return ((number, line) for number, line in enumerate(file, 1) if line.strip())


def _parsed_again(number: int, line: bytes) -> Any:
    """Like `_parsed`, but for a line that was already checked: takes 0.5 microseconds instead of 2."""
    try:
        return decode(line, type=dict[str, Any])
    except ValueError:  # the file was changed after the check
        return _parsed(number, line)


def _parsed(number: int, line: bytes) -> Any:
    try:
        return parse_content(line.decode().rstrip("\r\n"))
    except UnicodeDecodeError:
        raise BadLine(f"line {number}: It is not UTF-8.") from None
    except ValueError as error:
        raise BadLine(f"line {number}: {error}") from None
