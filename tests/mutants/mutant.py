"""One safety to remove."""

from attrs import frozen


@frozen
class Mutant:
    """A change of one file that removes a safety, and the tests that should fail then."""

    name: str
    #: The broken promise.
    takes_out: str
    #: The file, from the root of the checkout.
    file: str
    #: A text that occurs once in the file, and its replacement.
    old: str
    new: str
    #: The pytest ids of tests; at least one of them must fail.
    tests: tuple[str, ...]
