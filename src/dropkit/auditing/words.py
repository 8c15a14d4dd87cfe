"""Small words of sentences."""


def counted(n: int, one: str, many: str) -> str:
    """``"1 site draws"`` or ``"3 sites draw"``."""
    return f"{n:,} {one if n == 1 else many}"


def at_rate(rate: float | None) -> str:
    """``" at rate 0.1"``; nothing where the rate cannot be seen."""
    return "" if rate is None else f" at rate {rate:g}"
