"""Answers are wrong where retrieval was wrong."""

from dropkit.studies.result import Signal
from dropkit.studies.signals.evidence import About, Evidence
from dropkit.studies.special import fisher_greater

ABOUT = About(
    name="retrieval-misses",
    kind="retrieval",
    step="Mend the retrieval first (chunks, encoder, number of neighbours): the model cannot "
    "answer from what it is not shown.",
    source="Fisher 1922, J. Royal Statistical Society 85 (exact test); Barnett et al. 2024, "
    "arXiv:2401.05856 (failure points of such systems); the thresholds are this rule's own",
)

#: Share of the wrong answers that had the wrong thing retrieved, from which on it is the cause
#: to begin with.
MOST = 0.5

#: Chance of such a table, or a more telling one, were answers and retrieval independent.
CHANCE = 0.01


def check(evidence: Evidence) -> Signal:
    """Fires where most wrong answers had a wrong retrieval, and that is no accident."""
    retrieval = evidence.checks.retrieval
    if retrieval is None or not len(retrieval.answer_right):
        return ABOUT.not_measured("It needs, for each example, whether answer and retrieval held.")
    table = [[0, 0], [0, 0]]
    for answer, found in zip(retrieval.answer_right, retrieval.retrieval_right, strict=True):
        table[not found][not answer] += 1
    wrong = table[0][1] + table[1][1]
    share = table[1][1] / wrong if wrong else 0.0
    chance = fisher_greater(table)
    facts = {"share": share, "most": MOST, "p_value": chance, "chance": CHANCE, "n_wrong": wrong}
    said = f"Of {wrong} wrong answers {share:.0%} had the wrong thing retrieved (p = {chance:.2g})."
    is_cause = share >= MOST and chance < CHANCE
    return ABOUT.fired(said, **facts) if is_cause else ABOUT.silent(said, **facts)
