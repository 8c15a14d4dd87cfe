"""Words that several parts of a study say."""

from collections.abc import Sequence


def listed(names: Sequence[str]) -> str:
    """Names as a person lists them.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
