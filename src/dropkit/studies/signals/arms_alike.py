"""An arm does nothing: its rates never reach the model, or the rate of another arm does."""

from dropkit.studies.decision import judged_arms
from dropkit.studies.result import Signal
from dropkit.studies.signals.evidence import About, Evidence

ABOUT = About(
    name="arms-alike",
    kind="workflow",
    step="See that the fit calls trial.apply(model) on the model that it trains, and that "
    "dropkit.find_sites(model) lists the sites that you mean.",
    source="transformers issue 25854 and pytorch-openai-transformer-lm issues 19 and 49: rates in "
    "a config that no layer reads",
)


def check(evidence: Evidence) -> Signal:
    """Fires where a dropout arm's metrics equal the baseline's to the bit in every replicate."""
    judged = judged_arms(evidence.arms)
    if not judged or not evidence.n_replicates:
        return ABOUT.not_measured("No arm differs from the baseline in dropout alone.")
    base = [record.metrics for record in evidence.records[evidence.baseline]]
    for arm in judged:
        if [record.metrics for record in evidence.records[arm.name]] == base:
            return ABOUT.fired(
                f"{arm.name} has the metrics of {evidence.baseline} to the bit in all "
                f"{len(base)} replicates.",
                n_replicates=len(base),
            )
    return ABOUT.silent("Every dropout arm differs from the baseline.", n_arms=len(judged))
