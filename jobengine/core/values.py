"""The base of those values of which there is one for each job, fact or request."""

from typing import Final

from msgspec import Struct

__all__ = ["Value"]

#: Fields that are secret, or a client's own: they are in no repr, so in no log or traceback.
_HIDDEN: Final = frozenset({"access_key", "new_access_key", "content", "meta", "result", "lease", "claims", "rank"})


class Value(Struct, frozen=True, gc=False):
    """
    A frozen value; compares by its fields. A changed copy is made by msgspec.structs.replace.

    An attrs class would do as well, but for its price: a Spec takes 1.1 microseconds to make and this 0.3, a changed
    Standing 1.6 and 0.12. And the garbage collector passes these over: a million jobs do not make it slow. So none may
    be part of a cycle of references; text, numbers, bytes and tuples of them can't be.
    """

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in _HIDDEN)
        return f"{type(self).__name__}({shown})"
