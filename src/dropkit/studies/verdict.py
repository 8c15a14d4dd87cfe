"""The decision in words, what it rests on, and what to change next."""

import math
from collections.abc import Mapping, Sequence

from dropkit.core.estimate import Estimate
from dropkit.studies.decision import Terms, best_set, decision, replicates_to_settle
from dropkit.studies.looks import ANYTIME, Look
from dropkit.studies.plan import Arm
from dropkit.studies.result import Difference, TrialRecord, Verdict
from dropkit.studies.signals.evidence import Checks, Evidence
from dropkit.studies.signals.table import next_step, signals
from dropkit.studies.statistics import joint_confidence, mean_with_interval
from dropkit.studies.words import listed

_MOST_REPLICATES = 100


def verdict(
    arms: Sequence[Arm],
    records: Mapping[str, Sequence[TrialRecord]],
    differences: Sequence[Difference],
    terms: Terms,
    look: Look,
    checks: Checks,
) -> Verdict:
    """Say what `differences` mean; `dropkit.studies.decision.decision` decides.

    Args:
        arms: The baseline first.
        records: Each arm's finished replicates, the same ones in the same order.
        differences: Each arm's difference to the baseline; empty where nothing is finished.
        terms: How the study is judged.
        look: How wide its intervals are.
        checks: What the user handed in beside the trials.
    """
    judged = [(d, d.jointly) for d in differences if d.jointly is not None]
    decided = decision(differences, terms, look)
    helping = [pair for pair in judged if pair[1].high < 0]
    candidates = helping if decided == "helps" else judged
    best, effect = min(candidates, key=lambda pair: pair[1].value, default=(None, None))
    name = None if best is None else best.arm
    evidence = Evidence(arms, records, differences, decided, name, terms, look, checks)
    found = signals(evidence)
    step = next_step(evidence, found)
    if best is None or effect is None:
        why = "no replicate was finished" if not differences else "no arm differs in dropout alone"
        sentence = f"Not enough evidence: {why}."
        return Verdict(decided, None, None, sentence, (), next_step=step, signals=found)
    values = {arm.name: evidence.values(arm.name, terms.metric) for arm in arms}
    rivals = best_set(arms, values, terms, look)
    words = _Words(evidence, best, effect, len(judged))
    rests_on = [
        words.replicates(),
        words.scope(),
        *words.watched(),
        *words.harmful(),
        *words.settling(),
        *words.best_of(rivals),
        *words.gap(),
        *words.early_stopping(),
        *words.weight_decay(),
    ]
    return Verdict(decided, name, effect, words.sentence(), tuple(rests_on), rivals, step, found)


class _Words:
    """The sentences about one best arm."""

    def __init__(
        self, evidence: Evidence, best: Difference, effect: Estimate, n_judged: int
    ) -> None:
        self.evidence, self.best, self.effect, self.n_judged = evidence, best, effect, n_judged
        self.terms, self.look = evidence.terms, evidence.look
        self.metric, self.baseline = self.terms.metric.replace("_", " "), evidence.baseline

    def sentence(self) -> str:
        arm, base, metric = self.best.arm, self.baseline, self.metric
        level = f"{self.terms.confidence:.0%}"
        allowing = f"{level} interval"
        if self.n_judged > 1:
            allowing += f" allowing for the {self.n_judged} dropout arms looked at"
        side = "below" if self.effect.value < 0 else "above"
        lies = (
            f"the {metric} of {arm} lies {abs(self.effect.value):.3f} {side} that of {base} "
            f"({allowing}: {_interval(self.effect)})"
        )
        if self.evidence.decision == "helps":
            return f"Dropout helps: {lies}."
        if self.evidence.decision == "harms":
            return f"Dropout harms: at every rate looked at; at the best, {lies}."
        if self.evidence.decision == "no practical difference":
            return (
                f"No practical difference: no dropout arm lies as far as {self.terms.margin:g} "
                f"from {base} (two one-sided tests at {self.terms.alpha:.2g}); at the best, {lies}."
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

    def watched(self) -> list[str]:
        if self.look is not ANYTIME:
            return []
        return [
            "The intervals hold however often one looked and whenever the study ended "
            "(Wang and Ramdas 2024)."
        ]

    def harmful(self) -> list[str]:
        """The rates that do harm by themselves, where the verdict is another one."""
        names = self.evidence.harmful
        if self.evidence.decision == "harms" or not names:
            return []
        does = "do" if len(names) > 1 else "does"
        return [f"{listed(names)} {does} harm: above {self.baseline}, all arms allowed for."]

    def settling(self) -> list[str]:
        """How much more would settle it, were the spread to stay as it is."""
        if self.evidence.decision != "not enough evidence" or len(self.best.pairs) < 2:
            return []
        each = joint_confidence(self.terms.confidence, self.n_judged)
        wanted = replicates_to_settle(self.best.pairs, 1.0 - each, self.look, _MOST_REPLICATES)
        if wanted is None:
            return [
                f"Were mean and spread to stay, {_MOST_REPLICATES} replicates would not settle it."
            ]
        return [f"Were mean and spread to stay as they are, {wanted} replicates would settle it."]

    def best_of(self, rivals: Sequence[str]) -> list[str]:
        """Which rates the best one cannot be told apart from."""
        if len(self.best.pairs) < 2 or not rivals:
            return []
        if len(rivals) == 1:
            return [f"{rivals[0]} is the best of these rates ({self.terms.confidence:.0%})."]
        return [
            f"The best of these rates is one of {listed(rivals)} ({self.terms.confidence:.0%}): "
            "they cannot be told apart."
        ]

    def gap(self) -> list[str]:
        base, best = (self.evidence.mean(arm, "gap") for arm in (self.baseline, self.best.arm))
        if base is None or best is None:
            return []
        return [
            f"Train-validation gap: {base:.2f} for {self.baseline}, {best:.2f} for {self.best.arm}."
        ]

    def early_stopping(self) -> list[str]:
        found = self._against(self.baseline, "best_validation_loss")
        if found is None:
            return []
        where = "" if self.terms.metric == "validation_loss" else " in validation loss"
        return [
            f"Had each run been stopped at its best step, {self.best.arm} would differ{where} by "
            f"{_signed(found.value)} ({_interval(found)}): what early stopping leaves for dropout "
            "to do."
        ]

    def weight_decay(self) -> list[str]:
        base = self.evidence.arms[0]
        rivals = [
            arm
            for arm in self.evidence.arms
            if arm.weight_decay > base.weight_decay and arm.differs_only_in(base, "weight_decay")
        ]
        said = []
        for rival in rivals:
            found = self._against(rival.name, self.terms.metric)
            if found is None:
                continue
            better = "cannot be told apart"
            if found.high < 0:
                better = f"{self.best.arm} is the better of the two"
            elif found.low > 0:
                better = f"{rival.name} is the better of the two"
            said.append(
                f"Against {rival.name}: {self.best.arm} differs by {_signed(found.value)} "
                f"({_interval(found)}); {better}."
            )
        return said

    def _against(self, rival: str, metric: str) -> Estimate | None:
        ours, theirs = (self.evidence.values(name, metric) for name in (self.best.arm, rival))
        if not ours or not theirs:
            return None
        pairs = [a - b for a, b in zip(ours, theirs, strict=True)]
        return mean_with_interval(pairs, confidence=self.terms.confidence, look=self.look)


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _interval(estimate: Estimate) -> str:
    if math.isinf(estimate.low):
        return "none from so few replicates"
    return f"{_signed(estimate.low)} to {_signed(estimate.high)}"
