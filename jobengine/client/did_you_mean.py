"""The message for a mistyped name."""

from collections.abc import Collection


def unknown(name: str, known: Collection[str]) -> str:
    """Says that `name` is not known, and which name was meant or, if none is near, which are known."""
    from difflib import get_close_matches  # only needed after a mistake

    # The unit may be missing: delay stands for delay_seconds.
    near = sorted(one for one in known if one.startswith(f"{name}_")) or get_close_matches(name, known, 1)
    return f"{name!r} is not known; " + (
        f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
    )
