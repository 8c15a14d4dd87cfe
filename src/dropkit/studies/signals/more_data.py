"""More data would help more than a higher rate."""

from dropkit.studies.decision import judged_arms
from dropkit.studies.plan import Arm
from dropkit.studies.result import Signal
from dropkit.studies.signals.evidence import About, Evidence
from dropkit.studies.statistics import mean_with_interval

ABOUT = About(
    name="more-data",
    kind="data",
    step="Get more training data, or augment what there is: even the highest rate leaves a wide "
    "gap, and the loss still falls with the amount of data.",
    source="Goodfellow, Bengio and Courville 2016, Deep Learning, section 11.3; the thresholds "
    "are this rule's own",
)

#: The gap of the best arm is wide from this share of its training loss on.
WIDE_GAP = 0.5


def check(evidence: Evidence) -> Signal:
    """Fires where three things hold at once.

    The gap between validation and training loss of the best arm is at least `WIDE_GAP` of its
    training loss; its rate is the highest of the grid; and an arm that differs from it in
    ``data_fraction`` alone, below 1, has the higher metric, by an interval above the margin.
    """
    arms = {arm.name: arm for arm in evidence.arms}
    if evidence.best is None:
        return ABOUT.not_measured("There is no best dropout arm yet.")
    best = arms[evidence.best]
    gap, train = (evidence.mean(best.name, name) for name in ("gap", "train_loss"))
    smaller = _with_less_data(evidence, best)
    if gap is None or train is None or smaller is None:
        lacking = "an arm like the best one with data_fraction below 1"
        if gap is None or train is None:
            lacking = "the metrics gap and train_loss"
        return ABOUT.not_measured(f"It needs {lacking}.")
    top = max(arm.highest_rate for arm in judged_arms(evidence.arms))
    metric = evidence.terms.metric
    ours, theirs = (evidence.values(arm.name, metric) for arm in (best, smaller))
    fall = mean_with_interval(
        [b - a for a, b in zip(ours, theirs, strict=True)],
        confidence=evidence.terms.confidence,
        look=evidence.look,
    )
    facts = {
        "gap": gap,
        "train_loss": train,
        "wide_gap": WIDE_GAP,
        "rate": best.highest_rate,
        "highest_rate": top,
        "fall": fall.value,
        "fall_low": fall.low,
        "data_fraction": smaller.data_fraction,
    }
    is_wide, is_top = gap >= WIDE_GAP * train, best.highest_rate == top
    still_falls = fall.low > evidence.terms.margin
    if is_wide and is_top and still_falls:
        return ABOUT.fired(
            f"At the highest rate the gap is {gap:.3g} over a training loss of {train:.3g}, and "
            f"the {metric.replace('_', ' ')} fell by {fall.value:.3g} from "
            f"{smaller.data_fraction:.0%} of the data to all of it.",
            **facts,
        )
    why = "the loss no longer falls with the amount of data"
    if not is_wide:
        why = "the gap is narrow"
    elif not is_top:
        why = "the best rate is not the highest one tried"
    return ABOUT.silent(f"No: {why}.", **facts)


def _with_less_data(evidence: Evidence, best: Arm) -> Arm | None:
    """The arm like `best` with the most data below all of it."""
    found = [
        arm
        for arm in evidence.arms
        if arm.data_fraction < best.data_fraction and arm.differs_only_in(best, "data_fraction")
    ]
    return max(found, key=lambda arm: arm.data_fraction, default=None)
