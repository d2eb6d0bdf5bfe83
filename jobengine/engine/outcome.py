"""
The outcome of a command: an answer or an error.

Neither may be told before the changes that it reflects are on disk.
"""

from typing import Generic, NoReturn, TypeVar

from msgspec import Struct

from ..core.errors import DomainError

__all__ = ["Done", "Outcome", "Refused"]

A_co = TypeVar("A_co", covariant=True)
A = TypeVar("A")


class Done(Struct, Generic[A_co], frozen=True):
    """The command was carried out."""

    answer: A_co
    #: Whether it changed anything.
    changed: bool
    #: Whether a claim without updates got nothing because others had locked all ready jobs: it may be repeated.
    passed_over: bool = False

    def get(self) -> A_co:
        """The answer."""
        return self.answer


class Refused(Struct, frozen=True):
    """The command was refused, and nothing has changed."""

    error: DomainError
    changed: bool = False

    def get(self) -> NoReturn:
        """Raise the error."""
        raise self.error


Outcome = Done[A] | Refused
