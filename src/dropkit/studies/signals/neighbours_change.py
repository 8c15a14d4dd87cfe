"""The encoder finds other neighbours each time it is asked."""

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

from dropkit.studies.result import Signal
from dropkit.studies.signals.evidence import About, Evidence

ABOUT = About(
    name="neighbours-change",
    kind="retrieval",
    step="Embed with dropout off (model.eval(), or dropkit.freeze) and build the index again.",
    source="Gao, Yao and Chen 2021, EMNLP, arXiv:2104.08821: two passes with dropout embed one "
    "text in two places; the threshold is this rule's own",
)

#: Mean overlap of two passes' neighbours below which they count as changed; 1 is the same ones.
STEADY = 0.99


def check(evidence: Evidence) -> Signal:
    """Fires where the mean Jaccard overlap of an example's neighbours in two passes is low."""
    retrieval = evidence.checks.retrieval
    if retrieval is None or len(retrieval.neighbours) < 2 or not retrieval.neighbours[0]:
        return ABOUT.not_measured("It needs the neighbours of the same examples in two passes.")
    overlap = fmean(
        _jaccard(a, b)
        for one, other in combinations(retrieval.neighbours, 2)
        for a, b in zip(one, other, strict=True)
    )
    facts = {"overlap": overlap, "steady": STEADY, "n_passes": len(retrieval.neighbours)}
    said = f"Two passes share {overlap:.1%} of an example's neighbours."
    return ABOUT.fired(said, **facts) if overlap < STEADY else ABOUT.silent(said, **facts)


def _jaccard(a: Sequence[int], b: Sequence[int]) -> float:
    union = set(a) | set(b)
    return len(set(a) & set(b)) / len(union) if union else 1.0
