"""All rules, and the next step that they amount to."""

from collections.abc import Sequence

from dropkit.studies.result import Kind, NextStep, Signal
from dropkit.studies.signals import (
    arms_alike,
    audit_findings,
    evaluation_varies,
    more_data,
    neighbours_change,
    replicates_alike,
    retrieval_misses,
    underfits,
)
from dropkit.studies.signals.evidence import Evidence

#: The only list of them, in the order in which they are shown.
RULES = (
    audit_findings,
    arms_alike,
    replicates_alike,
    evaluation_varies,
    neighbours_change,
    retrieval_misses,
    underfits,
    more_data,
)

#: What is mended first: a broken workflow makes all other numbers doubtful.
_FIRST: tuple[Kind, ...] = ("workflow", "retrieval", "model", "data")


def signals(evidence: Evidence) -> tuple[Signal, ...]:
    """What each rule found."""
    return tuple(rule.check(evidence) for rule in RULES)


def next_step(evidence: Evidence, found: Sequence[Signal]) -> NextStep:
    """What to change next: the first kind of which a signal fired, or what the decision says."""
    for kind in _FIRST:
        fired = [signal for signal in found if signal.kind == kind and signal.state == "fired"]
        if fired:
            return NextStep(kind, fired[0].step, tuple(signal.name for signal in fired))
    if evidence.decision == "helps":
        return NextStep("rate", f"Train with {evidence.best}.")
    if evidence.decision == "harms":
        return NextStep("rate", f"Stay with {evidence.baseline}.")
    if evidence.decision == "no practical difference":
        return NextStep(
            "rate", f"Leave dropout as it is in {evidence.baseline}: it hardly matters."
        )
    return NextStep(
        "not enough evidence", "Not enough evidence to name one: no signal fired. More replicates."
    )
