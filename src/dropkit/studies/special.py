"""Functions of scipy, which belongs to an extra and is imported where it is used."""

import importlib
from collections.abc import Sequence
from typing import Any

from dropkit.errors import MissingExtraError


def student_cdf(x: float, degrees: int) -> float:
    """Distribution function of Student's t distribution."""
    return float(_scipy("special").stdtr(degrees, x))


def student_quantile(probability: float, degrees: int) -> float:
    """Its inverse."""
    return float(_scipy("special").stdtrit(degrees, probability))


def fisher_greater(table: Sequence[Sequence[int]]) -> float:
    """Chance of a 2 x 2 table as far on the diagonal as this one, its margins given."""
    return float(_scipy("stats").fisher_exact(table, alternative="greater").pvalue)


def _scipy(part: str) -> Any:
    try:
        return importlib.import_module(f"scipy.{part}")
    except ImportError as error:
        message = "statistics need scipy: pip install 'dropkit[study]'."
        raise MissingExtraError(message) from error
