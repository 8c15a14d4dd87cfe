"""A study that ends when it is decided: the same verdict however it ran, and honest throughout."""

import numpy as np
from scipy import stats

from dropkit.studies.plan import Arm
from dropkit.studies.result import TrialRecord, Verdict
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial

ARMS = (Arm("none"), Arm("low", rates=0.1), Arm("high", rates=0.5))
MOST = 20


class DrawnFit:
    """Losses drawn from normal distributions: replicates share a part, arms have their effect."""

    def __init__(self, **effects: float) -> None:
        self.effects = effects

    def __call__(self, trial: Trial) -> dict[str, float]:
        """Draw the loss of a trial."""
        shared = np.random.default_rng(trial.seed("split")).normal(2.0, 1.0)
        own = np.random.default_rng([trial.seed("order"), *trial.arm.name.encode()]).normal(0, 0.1)
        return {"loss": shared + own + self.effects.get(trial.arm.name, 0.0)}


def watched(fit, *, arms=ARMS, **options) -> Study:
    """A watched study of `fit`."""
    options = {"replicates": MOST, "metric": "loss", "until": "decided", **options}
    return Study(fit, arms, **options)


def test_clear_effect_ends_early() -> None:
    """The study stops at the first look that decides, and says so; nothing is run for nothing."""
    seen: list[Verdict] = []
    result = watched(DrawnFit(low=-0.5, high=-1.0)).run(on_verdict=seen.append)
    assert ("helps", "high") == (result.verdict.decision, result.verdict.best)
    assert result.is_decided
    assert not result.was_stopped
    assert result.is_anytime
    assert 4 <= result.n_complete < 10
    assert 3 * result.n_complete == len(result.trials)
    assert ["not enough evidence"] * (len(seen) - 1) + ["helps"] == [v.decision for v in seen]
    assert result.verdict == seen[-1]
    assert "none" not in result.verdict.best_set


def test_verdict_does_not_depend_on_the_order_of_ending() -> None:
    """What ends before its turn waits for it, as it does with many workers."""
    fit = DrawnFit(low=-0.5, high=-1.0)
    study = watched(fit)
    expected = study.run()
    records = [
        TrialRecord(t.arm.name, t.replicate, fit(t))
        for t in sorted(study.trials(), key=lambda t: (t.arm.name, -t.replicate))
    ]
    found = study.result(records)
    assert (expected.verdict, expected.n_complete) == (found.verdict, found.n_complete)
    assert [r.metrics for r in expected.trials] == [r.metrics for r in found.trials]


def test_later_replicates_do_not_change_a_decision() -> None:
    """A study that is decided stays so, were it given more replicates."""
    few, many = (
        watched(DrawnFit(low=-0.5, high=-1.0), replicates=replicates).run()
        for replicates in (12, 60)
    )
    assert few.verdict == many.verdict


def test_equal_arms_within_a_margin_end_too() -> None:
    """With a margin, the absence of an effect is a finding."""
    result = watched(DrawnFit(), margin=0.5).run()
    assert "no practical difference" == result.verdict.decision
    assert result.n_complete < MOST


def test_study_judged_once_shows_no_verdict_on_the_way() -> None:
    """Student's interval is for one look; nobody gets to see another one."""
    seen: list[Verdict] = []
    result = watched(DrawnFit(high=-1.0), until="all", replicates=6).run(on_verdict=seen.append)
    assert [] == seen
    assert (6, False, False) == (result.n_complete, result.is_anytime, result.is_decided)


def test_study_stopped_before_its_look_has_wider_intervals() -> None:
    """A study that was to be judged at its end, and was stopped, is judged as a watched one."""
    study = watched(DrawnFit(high=-1.0), until="all", replicates=6)
    records = study.run().trials
    part = study.result([r for r in records if r.replicate < 5])
    whole = watched(DrawnFit(high=-1.0), until="all", replicates=5).result(
        [r for r in records if r.replicate < 5]
    )
    assert part.is_anytime
    assert not whole.is_anytime
    assert part.differences[1].estimate.low < whole.differences[1].estimate.low


def test_best_set_names_what_cannot_be_told_apart() -> None:
    """Two rates alike and a clearly worse baseline: the set holds the two."""
    result = watched(DrawnFit(low=-1.0, high=-1.0), until="all", replicates=8).run()
    assert ("low", "high") == result.verdict.best_set
    said = "The best of these rates is one of low and high (95%): they cannot be told apart."
    assert said in result.verdict.rests_on


def drawn_result(draws, **options):
    """A study of three arms with these losses, ``(arms, replicates)``."""
    records = [
        TrialRecord(arm.name, k, {"loss": value})
        for arm, row in zip(ARMS, draws.tolist(), strict=True)
        for k, value in enumerate(row)
    ]
    return watched(lambda _: {}, replicates=draws.shape[1], **options).result(records)


def share_pvalue(count: int, studies: int) -> float:
    """How likely at least as many of them would err, were each to err in 5%."""
    return float(stats.binomtest(count, studies, 0.05, alternative="greater").pvalue)


def _without_the_best(rng, **options) -> int:
    """In how many of 400 studies the truly best arm, by a hair, is not in the set."""
    shift = np.array([[0.0], [0.0], [-0.01]])
    draws = rng.normal(0.0, 1.0, size=(400, 3, 6)) + shift
    sets = [drawn_result(one, until="all", **options).verdict.best_set for one in draws]
    return sum("high" not in found for found in sets)


def test_best_set_holds_the_best(rng, false_alarm) -> None:
    """The best arm is left out in at most 5% of studies."""
    assert share_pvalue(_without_the_best(rng), 400) > false_alarm


def test_best_set_check_can_fail(rng, false_alarm) -> None:
    """The check above rejects a set that is right half of the time."""
    assert share_pvalue(_without_the_best(rng, confidence=0.5), 400) < false_alarm


def _alarms(rng, **options) -> int:
    """How many of 400 studies of equal arms, looked at after each replicate, say there is one."""
    draws = rng.normal(0.0, 1.0, size=(400, 3, 15))
    decisions = [drawn_result(one, **options).verdict.decision for one in draws]
    return sum(decision in {"helps", "harms"} for decision in decisions)


def test_watched_equal_arms_are_rarely_told_apart(rng, false_alarm) -> None:
    """Watched after every replicate, A/A studies say "helps" or "harms" in at most 5%."""
    assert share_pvalue(_alarms(rng), 400) > false_alarm


def test_watched_check_can_fail(rng, false_alarm) -> None:
    """The check above rejects intervals that hold in one study of ten."""
    assert share_pvalue(_alarms(rng, confidence=0.1), 400) < false_alarm


def _called_alike(rng, distance: float) -> int:
    """How many of 200 studies say that nothing differs by 0.5, where one arm lies off."""
    draws = rng.normal(0.0, 0.3, size=(200, 3, 15)) + np.array([[0.0], [0.0], [distance]])
    decisions = [drawn_result(one, margin=0.5).verdict.decision for one in draws]
    return decisions.count("no practical difference")


def test_equivalence_is_rarely_declared_falsely(rng, false_alarm) -> None:
    """Where one arm lies as far as the margin, "no practical difference" comes in at most 5%."""
    assert share_pvalue(_called_alike(rng, 0.5), 200) > false_alarm


def test_equivalence_check_can_fail(rng, false_alarm) -> None:
    """The check above sees studies of arms that are alike, which say so."""
    assert share_pvalue(_called_alike(rng, 0.0), 200) < false_alarm
