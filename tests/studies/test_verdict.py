"""From differences to a decision."""

import pytest
from scipy import stats

from dropkit.studies.plan import Arm
from dropkit.studies.result import TrialRecord
from dropkit.studies.study import Study

ARMS = (
    Arm("none"),
    Arm("low", rates=0.1),
    Arm("high", rates=0.5),
    Arm("decay", weight_decay=1.0),
    Arm("both", rates=0.5, weight_decay=1.0),
)


def judge(losses, *, arms=ARMS, **options):
    """The result of a study whose trials had these losses: {arm: [one a replicate]}."""
    n = len(next(iter(losses.values())))
    study = Study(lambda _: {}, arms, replicates=n, metric="loss", **options)
    records = [
        TrialRecord(arm, k, {"loss": value})
        for arm, values in losses.items()
        for k, value in enumerate(values)
    ]
    return study.result(records)


def losses(**shifts):
    """A baseline that varies much between replicates, and arms that follow it closely."""
    base = [1.0, 1.4, 0.8, 1.2, 1.1]
    wobble = {"low": 0.01, "high": -0.01, "decay": 0.02, "both": -0.02}
    made = {"none": base}
    for arm, size in wobble.items():
        made[arm] = [b + shifts.get(arm, 0.0) + size * (k - 2) for k, b in enumerate(base)]
    return made


def test_helps_at_the_best_rate() -> None:
    """A joint interval below 0 helps, and the lowest such arm is the best."""
    verdict = judge(losses(low=-0.2, high=-0.5)).verdict
    assert ("helps", "high") == (verdict.decision, verdict.best)
    assert verdict.effect is not None
    assert verdict.effect.value == pytest.approx(-0.5)
    assert verdict.sentence.startswith(
        "Dropout helps: the loss of high lies 0.500 below that of none (95% interval allowing "
        "for the 2 dropout arms looked at: "
    )


def test_harms_only_where_every_rate_does() -> None:
    """Dropout harms where all joint intervals lie above 0."""
    assert judge(losses(low=0.2, high=0.5)).verdict.decision == "harms"
    verdict = judge(losses(low=0.0, high=0.5)).verdict
    assert verdict.decision == "not enough evidence"
    assert "high does harm: above none, all arms allowed for." in verdict.rests_on


def test_no_practical_difference_needs_every_interval_inside_the_margin() -> None:
    """Equivalence is shown, not assumed: without a margin the same data leave it open."""
    near = losses(low=0.001, high=-0.001)
    assert judge(near, margin=0.1).verdict.decision == "no practical difference"
    assert judge(near).verdict.decision == "not enough evidence"


def test_other_differences_do_not_count_as_dropout_s() -> None:
    """An arm that also changes the weight decay cannot make dropout help."""
    result = judge(losses(both=-0.5, decay=-0.5))
    assert result.verdict.decision == "not enough evidence"
    assert [d.arm for d in result.differences if d.jointly is not None] == ["low", "high"]


def test_not_enough_evidence_says_what_would_settle_it() -> None:
    """The number of replicates that the same mean and spread would need is named."""
    base = losses()
    base["high"] = [b - 0.1 + 0.12 * (k - 2) for k, b in enumerate(base["none"])]
    settling = [s for s in judge(base).verdict.rests_on if "would settle it" in s]
    assert settling == ["Were mean and spread to stay as they are, 22 replicates would settle it."]


def test_scope_is_said() -> None:
    """Re-splits of one data set speak for it; for another one the wider interval is given."""
    plain = judge(losses(high=-0.5)).verdict.rests_on[1]
    assert plain == "It speaks for new data of this kind, with this model and this training."
    resplit = judge(losses(high=-0.5), resample_ratio=3 / 7)
    assert resplit.verdict.decision == "helps"
    assert "For another data set of this kind the interval is" in resplit.verdict.rests_on[1]
    best = next(d for d in resplit.differences if d.arm == "high")
    assert best.elsewhere.low < best.jointly.low


def test_weight_decay_is_weighed_against_dropout() -> None:
    """The best rate is compared with the arm that has weight decay in its place."""
    said = judge(losses(high=-0.5, decay=-0.2)).verdict.rests_on[-1]
    assert said.startswith("Against decay: high differs by -0.300")
    assert said.endswith("high is the better of the two.")


def test_nothing_finished_is_not_enough_evidence() -> None:
    """Without a whole replicate there is a sentence and no number."""
    study = Study(lambda _: {}, ARMS)
    verdict = study.result([]).verdict
    assert ("not enough evidence", None) == (verdict.decision, verdict.effect)
    assert verdict.sentence == "Not enough evidence: no replicate was finished."


def test_equal_arms_are_rarely_told_apart(rng, false_alarm) -> None:
    """Studies of arms without any effect say "helps" or "harms" in at most 5%."""
    studies, alarms = 400, 0
    for _ in range(studies):
        draws = rng.normal(0.0, 1.0, size=(5, 6))
        made = dict(zip((arm.name for arm in ARMS), draws.tolist(), strict=True))
        alarms += judge(made).verdict.decision in {"helps", "harms"}
    assert stats.binomtest(alarms, studies, 0.05, alternative="greater").pvalue > false_alarm


def test_false_alarm_check_can_fail(rng, false_alarm) -> None:
    """The check above rejects a verdict that calls the best of three rates by its sign."""
    studies, alarms = 400, 0
    for _ in range(studies):
        draws = rng.normal(0.0, 1.0, size=(5, 6))
        made = dict(zip((arm.name for arm in ARMS), draws.tolist(), strict=True))
        alarms += judge(made, confidence=0.5).verdict.decision in {"helps", "harms"}
    assert stats.binomtest(alarms, studies, 0.05, alternative="greater").pvalue < false_alarm
