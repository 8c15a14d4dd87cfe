"""Which numbers of a site are signs of risk, and how bad they are."""

import math
from dataclasses import dataclass

from dropkit.tracing.result import SiteTrace

#: Names of the levels, from none to most.
LEVELS = ("calm", "watch", "high")
_DEVIATIONS = 5.0


@dataclass(frozen=True)
class Sign:
    """One reason for care: its level, 1 or 2, and a sentence."""

    level: int
    text: str


def signs_of(row: SiteTrace) -> tuple[Sign, ...]:
    """Everything about a site that asks for care, the worst first."""
    found = [*_variance(row), *_flips(row), *_rate(row), *_units(row)]
    return tuple(sorted(found, key=lambda sign: -sign.level))


def level_of(row: SiteTrace) -> str:
    """The worst level of a site."""
    return LEVELS[max((sign.level for sign in signs_of(row)), default=0)]


def _variance(row: SiteTrace) -> list[Sign]:
    ratio = row.variance_ratio
    if ratio is None or 0.95 <= ratio <= 1.05:
        return []
    text = (
        f"The next batch norm meets {ratio:.2f} times the variance in training that it meets in "
        "use, and keeps the wrong one (Li et al. 2019)."
    )
    return [Sign(2 if not 0.8 <= ratio <= 1.25 else 1, text)]


def _flips(row: SiteTrace) -> list[Sign]:
    if row.flips is None or row.flips < 0.05:
        return []
    text = f"Another mask at this site alone changes {row.flips:.0%} of the predictions."
    return [Sign(2 if row.flips >= 0.25 else 1, text)]


def _rate(row: SiteTrace) -> list[Sign]:
    rate, measured, n = row.rate, row.measured_rate, row.site.elements
    if rate is None or measured is None or not n:
        return []
    reach = _DEVIATIONS * math.sqrt(max(rate * (1.0 - rate), 1e-12) / n)
    if row.site.kind != "Dropout" or abs(measured - rate) <= reach:
        return []
    return [Sign(1, f"It was asked to drop {rate:.3g} and dropped {measured:.3g}.")]


def _units(row: SiteTrace) -> list[Sign]:
    found = []
    if row.never_kept is not None and row.never_kept > 0.1:
        text = f"No sample of the batch kept {row.never_kept:.0%} of the units."
        found.append(Sign(1, f"{text} They learn nothing from it."))
    if row.saturation is not None and row.saturation > 0.9:
        found.append(
            Sign(1, f"{row.saturation:.0%} of what it drops is on the flat part of an activation.")
        )
    if row.correlation is not None and row.correlation > 0.5:
        text = f"Units move together (mean absolute correlation {row.correlation:.2f})."
        found.append(Sign(1, f"{text} What one loses the others still tell."))
    return found
