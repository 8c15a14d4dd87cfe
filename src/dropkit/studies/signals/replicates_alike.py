"""Two replicates are one: a seed is shared by accident."""

from dropkit.studies.costs import without_costs
from dropkit.studies.result import Signal
from dropkit.studies.signals.evidence import About, Evidence

ABOUT = About(
    name="replicates-alike",
    kind="workflow",
    step="Draw split, weights and order from trial.seed(...) in the fit: replicates that repeat "
    "each other make every interval too narrow.",
    source="Replicates are independent draws: the assumption of every interval here",
)


def check(evidence: Evidence) -> Signal:
    """Fires where any arm has two replicates whose metrics agree to the bit: threshold one pair."""
    if evidence.n_replicates < 2:
        return ABOUT.not_measured("It takes two replicates to compare.")
    for arm in evidence.arms:
        seen: dict[tuple[tuple[str, float], ...], int] = {}
        for record in evidence.records[arm.name]:
            key = tuple(sorted(without_costs(record.metrics).items()))
            if key in seen:
                return ABOUT.fired(
                    f"Replicates {seen[key] + 1} and {record.replicate + 1} of {arm.name} have "
                    "the same metrics to the bit.",
                    first=seen[key] + 1,
                    second=record.replicate + 1,
                )
            seen[key] = record.replicate
    return ABOUT.silent("No two replicates are alike.", n_replicates=evidence.n_replicates)
