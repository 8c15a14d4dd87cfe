"""Numbers of things."""

from dropkit.errors import OptionError


def check_count(count: object, name: str, least: int = 1) -> None:
    """Raise OptionError unless `count` is a whole number from `least` on."""
    if not isinstance(count, int) or isinstance(count, bool) or count < least:
        raise OptionError(f"`{name}` must be a whole number from {least} on; got {count!r}.")
