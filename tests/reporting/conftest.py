"""A realistic study result, made by a formula instead of by training."""

import dataclasses
import math
import statistics
from collections.abc import Callable

import pytest

from dropkit.studies.plan import Arm
from dropkit.studies.result import ArmResult, Difference, StudyResult, TrialRecord, Verdict
from dropkit.studies.statistics import joint_confidence, mean_with_interval
from dropkit.studies.trial import Point

ARMS = (
    Arm("no dropout"),
    Arm("dropout 0.1", 0.1),
    Arm("dropout 0.3", 0.3),
    Arm("dropout 0.5", 0.5),
    Arm("weight decay", 0.0, 0.01),
    Arm("dropout 0.3 + weight decay", 0.3, 0.01),
)
BASELINE = ARMS[0].name
RATIO = 0.25
STEPS = range(100, 1001, 100)

MakeResult = Callable[..., StudyResult]


def _losses(arm: Arm, replicate: int, step: int) -> tuple[float, float]:
    """Training and validation loss: dropout slows the first and holds back the second's rise."""
    rate = arm.rates if isinstance(arm.rates, float) else max(arm.rates.values())
    held = 1.0 - math.exp(-6.0 * rate) + 8.0 * arm.weight_decay
    luck = 0.05 * math.sin(2.1 * replicate + 0.4)
    own = 0.012 * math.sin(5.3 * replicate + 17.0 * rate + 300.0 * arm.weight_decay)
    train = 0.35 + 2.4 * math.exp(-step / (240.0 + 180.0 * rate)) + 0.45 * rate
    overfit = (0.55 - 0.3 * min(held, 1.0)) * (step / 1000.0) ** 2
    return train + luck, train + 0.32 + overfit - 0.30 * rate + luck + own


def _record(arm: Arm, replicate: int) -> TrialRecord:
    points = []
    for step in STEPS:
        train, validation = _losses(arm, replicate, step)
        points.append(Point(step, {"train_loss": train, "validation_loss": validation}))
    train, validation = points[-1].metrics.values()
    metrics = {
        "validation_loss": validation,
        "accuracy": 0.93 - 0.21 * validation,
        "train_loss": train,
        "gap": validation - train,
        "ece": 0.03 + 0.06 * (validation - train),
        "best_validation_loss": min(point.metrics["validation_loss"] for point in points),
    }
    return TrialRecord(arm.name, replicate, metrics, points, wall_s=12.5 + replicate)


def _arm_result(arm: Arm, records: list[TrialRecord]) -> ArmResult:
    means = {
        key: statistics.fmean(record.metrics[key] for record in records)
        for key in records[0].metrics
    }
    curve = [
        Point(
            step,
            {
                key: statistics.fmean(record.points[at].metrics[key] for record in records)
                for key in ("train_loss", "validation_loss")
            },
        )
        for at, step in enumerate(STEPS)
    ]
    return ArmResult(arm, len(records), means, curve)


@pytest.fixture(scope="session")
def make_result() -> MakeResult:
    """Builds a result with `n_replicates` replicates; further arguments replace its fields."""

    def make(n_replicates: int = 5, **changes: object) -> StudyResult:
        records = {arm.name: [_record(arm, r) for r in range(n_replicates)] for arm in ARMS}
        level = joint_confidence(0.95, 3)
        differences = []
        for arm in ARMS[1:]:
            pairs = [
                one.metrics["validation_loss"] - other.metrics["validation_loss"]
                for one, other in zip(records[arm.name], records[BASELINE], strict=True)
            ]
            alone = mean_with_interval(pairs, confidence=0.95)
            joint = mean_with_interval(pairs, confidence=level)
            elsewhere = mean_with_interval(pairs, confidence=level, resample_ratio=RATIO)
            is_judged = arm.has_dropout and arm.weight_decay == 0.0
            differences.append(
                Difference(
                    arm.name,
                    alone,
                    joint if is_judged else None,
                    elsewhere if is_judged else None,
                    pairs,
                )
            )
        best = min(differences[:3], key=lambda difference: difference.estimate.value)
        baseline_gap, best_gap = (
            statistics.fmean(record.metrics["gap"] for record in records[name])
            for name in (BASELINE, best.arm)
        )
        result = StudyResult(
            title="Dropout on a small question-answering model",
            metric="validation_loss",
            baseline=BASELINE,
            margin=0.02,
            confidence=0.95,
            resample_ratio=RATIO,
            n_replicates=n_replicates,
            n_complete=n_replicates,
            was_stopped=False,
            arms=[_arm_result(arm, records[arm.name]) for arm in ARMS],
            differences=differences,
            verdict=Verdict(
                decision="helps" if n_replicates > 1 else "not enough evidence",
                best=best.arm,
                effect=best.jointly,
                sentence=f"{'Dropout helps' if n_replicates > 1 else 'Not enough evidence'}: "
                f"{best.arm} changes the validation loss of {BASELINE} by "
                f"{best.estimate.value:+.3f}.",
                rests_on=[
                    f"{n_replicates} paired replicates: each drew its own split and weights.",
                    "It speaks for this data set, model and training, not for other data sets.",
                    f"Train-validation gap: {baseline_gap:.2f} without, {best_gap:.2f} with it.",
                    "Against weight decay: the two cannot be told apart by these replicates.",
                ],
            ),
            trials=[record for arm in ARMS for record in records[arm.name]],
            about={
                "data": "chatterbot-corpus, English, 2,000 pairs",
                "model": "two-layer transformer, 0.4 M weights",
                "seed": 7,
                "machine": "x86_64, 2 cores, AVX2",
                "dropkit": "0.1.0",
                "torch": "2.13.0",
                "wall_s": 437.5,
            },
        )
        return dataclasses.replace(result, **changes)  # type: ignore[arg-type]

    return make
