"""One safety that is taken out."""

from attrs import frozen

__all__ = ["Mutant"]


@frozen
class Mutant:
    """A change of one file that takes a safety out, and the tests that are to fail then."""

    name: str
    #: What is no longer so.
    takes_out: str
    #: The file, from the root of the checkout.
    file: str
    #: What stands there once, and what takes its place.
    old: str
    new: str
    #: The ids, as pytest has them, of tests of which at least one must fail.
    tests: tuple[str, ...]
