"""An arm does nothing: what it changes never reaches the model."""

from dropkit.studies.costs import without_costs
from dropkit.studies.result import Signal
from dropkit.studies.signals.evidence import About, Evidence

ABOUT = About(
    name="arms-alike",
    kind="workflow",
    step="See that the fit calls trial.apply(model) on the model that it trains, that "
    "dropkit.find_sites(model) lists the sites that you mean, and that every other change of an "
    "arm is read.",
    source="transformers issue 25854 and pytorch-openai-transformer-lm issues 19 and 49: rates in "
    "a config that no layer reads",
)


def check(evidence: Evidence) -> Signal:
    """Fires where two arms have the same metrics to the bit in every replicate."""
    if not evidence.n_replicates:
        return ABOUT.not_measured("No replicate is whole.")
    seen: dict[tuple[tuple[tuple[str, float], ...], ...], str] = {}
    for arm in evidence.arms:
        key = tuple(
            tuple(sorted(without_costs(r.metrics).items())) for r in evidence.records[arm.name]
        )
        if key in seen:
            return ABOUT.fired(
                f"{arm.name} has the metrics of {seen[key]} to the bit in all "
                f"{evidence.n_replicates} replicates.",
                n_replicates=evidence.n_replicates,
            )
        seen[key] = arm.name
    return ABOUT.silent("No two arms are alike.", n_arms=len(evidence.arms))
