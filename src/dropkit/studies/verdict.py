"""From differences to a decision in words, and what it rests on."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from dropkit.studies.plan import Arm
from dropkit.studies.result import Decision, Difference, TrialRecord, Verdict
from dropkit.studies.looks import student_quantile
from dropkit.studies.statistics import (
    Estimate,
    joint_confidence,
    mean_with_interval,
)

_MOST_REPLICATES = 100

Records = Mapping[str, Sequence[TrialRecord]]


def judged_arms(arms: Sequence[Arm]) -> list[Arm]:
    """The arms that differ from the baseline in nothing but dropout: the verdict is on these."""
    base = arms[0]
    return [arm for arm in arms[1:] if arm.has_dropout and arm.weight_decay == base.weight_decay]


def decide(
    arms: Sequence[Arm],
    records: Records,
    differences: Sequence[Difference],
    *,
    metric: str,
    margin: float,
    confidence: float,
) -> Verdict:
    """Judge dropout by the joint intervals of the arms that differ in nothing else.

    - *no practical difference*: all of them lie within +-`margin`;
    - *helps*: one lies below 0;
    - *harms*: all lie above 0;
    - *not enough evidence*: none of these.

    The intervals hold jointly, so that arms without any effect are called anything but
    "not enough evidence" or "no practical difference" in at most ``1 - confidence`` of studies.

    Args:
        arms: The baseline first.
        records: Each arm's finished replicates, the same ones in the same order.
        differences: Each arm's difference to the baseline; empty where nothing is finished.
        metric: Name of the compared metric; lower is better.
        margin: Differences up to this are of no practical interest.
        confidence: Of the joint intervals.
    """
    judged = [(d, d.jointly) for d in differences if d.jointly is not None]
    if not judged:
        why = "no replicate was finished" if not differences else "no arm differs in dropout alone"
        sentence = f"Not enough evidence: {why}."
        return Verdict("not enough evidence", None, None, sentence, ())
    decision = _decision([joint for _, joint in judged], margin)
    helping = [pair for pair in judged if pair[1].high < 0]
    candidates = helping if decision == "helps" else judged
    best, effect = min(candidates, key=lambda pair: pair[1].value)
    words = _Words(metric.replace("_", " "), arms[0].name, best, effect, len(judged), confidence)
    rests_on = [
        words.replicates(),
        words.scope(),
        *_settling(decision, best, confidence, len(judged)),
        *_gap(records, words),
        *_early_stopping(records, words, confidence),
        *_weight_decay(arms, records, words, metric, confidence),
    ]
    return Verdict(decision, best.arm, effect, words.sentence(decision, margin), tuple(rests_on))


def _decision(joint: Sequence[Estimate], margin: float) -> Decision:
    if all(-margin < e.low and e.high < margin for e in joint):
        return "no practical difference"
    if any(e.high < 0 for e in joint):
        return "helps"
    if all(e.low > 0 for e in joint):
        return "harms"
    return "not enough evidence"


class _Words:
    """The sentences about one best arm."""

    def __init__(
        self,
        metric: str,
        baseline: str,
        best: Difference,
        effect: Estimate,
        n_judged: int,
        confidence: float,
    ) -> None:
        self.metric, self.baseline, self.best, self.effect = metric, baseline, best, effect
        self.n_judged, self.confidence = n_judged, confidence

    def sentence(self, decision: Decision, margin: float) -> str:
        arm, base, metric = self.best.arm, self.baseline, self.metric
        allowing = f"{self.confidence:.0%} interval"
        if self.n_judged > 1:
            allowing += f" allowing for the {self.n_judged} dropout arms looked at"
        side = "below" if self.effect.value < 0 else "above"
        lies = (
            f"the {metric} of {arm} lies {abs(self.effect.value):.3f} {side} that of {base} "
            f"({allowing}: {_interval(self.effect)})"
        )
        if decision == "helps":
            return f"Dropout helps: {lies}."
        if decision == "harms":
            return f"Dropout harms: at every rate looked at; at the best, {lies}."
        if decision == "no practical difference":
            return (
                f"No practical difference: no dropout arm lies as far as {margin:g} from {base}; "
                f"at the best, {lies}."
            )
        return f"Not enough evidence: dropout may help or harm; at the best rate, {lies}."

    def replicates(self) -> str:
        n = len(self.best.pairs)
        lower = sum(pair < 0 for pair in self.best.pairs)
        return (
            f"{n} paired replicate{'s' * (n != 1)}: each drew its own data split, initial weights, "
            f"data order and masks, shared by all its arms. "
            f"{self.best.arm} had the lower {self.metric} in {lower} of {n}."
        )

    def scope(self) -> str:
        elsewhere = self.best.elsewhere
        if elsewhere is None:
            return "It speaks for new data of this kind, with this model and this training."
        holds = "leaves the sign open" if elsewhere.low <= 0 <= elsewhere.high else "holds as well"
        return (
            "It speaks for this data set, model and training: for other splits, weights, orders "
            f"and masks. For another data set of this kind the interval is {_interval(elsewhere)} "
            f"(Nadeau and Bengio 2003), which {holds}."
        )


def _settling(decision: Decision, best: Difference, confidence: float, n_judged: int) -> list[str]:
    """How much more would settle it, were the spread to stay as it is."""
    n = len(best.pairs)
    if decision != "not enough evidence" or n < 2:
        return []
    each = joint_confidence(confidence, n_judged)
    mean, spread = abs(fmean(best.pairs)), stdev(best.pairs)
    for wanted in range(n + 1, _MOST_REPLICATES + 1):
        if student_quantile(0.5 + each / 2, wanted - 1) * spread / math.sqrt(wanted) < mean:
            return [
                f"Were mean and spread to stay as they are, {wanted} replicates would settle it."
            ]
    return [f"Were mean and spread to stay, {_MOST_REPLICATES} replicates would not settle it."]


def _gap(records: Records, words: _Words) -> list[str]:
    base, best = (_means(records, arm, "gap") for arm in (words.baseline, words.best.arm))
    if not base:
        return []
    return [
        f"Train-validation gap: {fmean(base):.2f} for {words.baseline}, "
        f"{fmean(best):.2f} for {words.best.arm}."
    ]


def _early_stopping(records: Records, words: _Words, confidence: float) -> list[str]:
    name = "best_validation_loss"
    base, best = (_means(records, arm, name) for arm in (words.baseline, words.best.arm))
    if not base:
        return []
    pairs = [a - b for a, b in zip(best, base, strict=True)]
    found = mean_with_interval(pairs, confidence=confidence)
    return [
        f"Had each run been stopped at its best step, {words.best.arm} would differ by "
        f"{_signed(found.value)} ({_interval(found)}): what early stopping leaves for dropout to do."
    ]


def _weight_decay(
    arms: Sequence[Arm], records: Records, words: _Words, metric: str, confidence: float
) -> list[str]:
    base = arms[0]
    rivals = [a for a in arms if not a.has_dropout and a.weight_decay > base.weight_decay]
    said = []
    for rival in rivals:
        ours, theirs = (_means(records, name, metric) for name in (words.best.arm, rival.name))
        pairs = [a - b for a, b in zip(ours, theirs, strict=True)]
        found = mean_with_interval(pairs, confidence=confidence)
        better = "cannot be told apart"
        if found.high < 0:
            better = f"{words.best.arm} is the better of the two"
        elif found.low > 0:
            better = f"{rival.name} is the better of the two"
        said.append(
            f"Against {rival.name}: {words.best.arm} differs by {_signed(found.value)} "
            f"({_interval(found)}); {better}."
        )
    return said


def _means(records: Records, arm: str, metric: str) -> list[float]:
    return [record.metrics[metric] for record in records[arm] if metric in record.metrics]


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _interval(estimate: Estimate) -> str:
    if math.isinf(estimate.low):
        return "none from one replicate"
    return f"{_signed(estimate.low)} to {_signed(estimate.high)}"
