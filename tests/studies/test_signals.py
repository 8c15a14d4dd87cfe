"""Each rule fires on its own case, stays silent on a sound one, and says when it cannot know."""

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from dropkit.studies.plan import Arm
from dropkit.studies.result import Signal, TrialRecord, Verdict
from dropkit.studies.signals.evaluation_varies import evaluation_difference
from dropkit.studies.signals.evidence import Checks, Retrieval
from dropkit.studies.signals.table import RULES
from dropkit.studies.study import Study

ARMS = (
    Arm("none"),
    Arm("low", rates=0.1),
    Arm("high", rates=0.5),
    Arm("high, half the data", rates=0.5, data_fraction=0.5),
)
NAMES = [rule.ABOUT.name for rule in RULES]

#: (validation loss, training loss) of each arm; ten replicates wobble about them.
SOUND = {
    "none": (1.0, 0.3),
    "low": (0.8, 0.4),
    "high": (0.9, 0.6),
    "high, half the data": (0.95, 0.5),
}


@dataclasses.dataclass(frozen=True)
class Found:
    """What an auditor hands in."""

    code: str
    severity: str
    message: str


def verdict(losses=SOUND, *, checks: Checks | None = None, same=False, more=None) -> Verdict:
    """The verdict of a study with these losses."""
    records = []
    for number, (arm, (validation, train)) in enumerate(losses.items()):
        for k in range(10):
            wobble = 0.0 if same else 0.01 * ((3 * k + 7 * number) % 10 - 4.5)
            shared = 0.0 if same else 0.1 * (k % 7) + 0.01 * k
            metrics = {
                "validation_loss": validation + shared + wobble,
                "train_loss": train + shared,
                "gap": validation - train + wobble,
                **(more or {}),
            }
            records.append(TrialRecord(arm, k, metrics))
    study = Study(lambda _: {}, ARMS, replicates=10, margin=0.01, checks=checks)
    return study.result(records).verdict


def signal(name: str, found: Verdict) -> Signal:
    """What the rule `name` found."""
    return next(signal for signal in found.signals if signal.name == name)


def retrieval(
    *, right: int, wrong_found: int, wrong_missed: int, neighbours: Sequence = ()
) -> Checks:
    """Scores of a system with so many right answers, all of them well retrieved."""
    answers = [True] * right + [False] * (wrong_found + wrong_missed)
    found = [True] * (right + wrong_found) + [False] * wrong_missed
    return Checks(retrieval=Retrieval(answers, found, neighbours))


FAR = {**SOUND, "low": (0.9, 0.35), "high": (0.7, 0.3), "high, half the data": (0.95, 0.3)}
UNDERFIT = {"none": (1.0, 0.95), "low": (1.2, 1.2), "high": (1.5, 1.6)} | {
    "high, half the data": (1.6, 1.7)
}
STEADY = [[[1, 2, 3], [4, 5, 6]]] * 2
CHANGED = [[[1, 2, 3], [4, 5, 6]], [[1, 2, 9], [4, 5, 6]]]

#: Rule, the case that it is for, a sound one, and what it says of the former.
CASES = [
    (
        "audit-findings",
        {"checks": Checks(findings=[Found("DRP201", "warning", "feeds a batch norm.")])},
        {"checks": Checks(findings=[Found("DRP000", "info", "all well.")])},
        "The audit found DRP201: feeds a batch norm.",
    ),
    (
        "arms-alike",
        {"losses": {**SOUND, "none": (1.0, 0.3), "low": (1.0, 0.3)}, "same": True},
        {},
        "low has the metrics of none to the bit in all 10 replicates.",
    ),
    (
        "replicates-alike",
        {"same": True},
        {},
        "Replicates 1 and 2 of none have the same metrics to the bit.",
    ),
    (
        "evaluation-varies",
        {"more": {"evaluation_difference": 0.25}},
        {"more": {"evaluation_difference": 0.0}},
        "Two passes of one model in evaluation differ by up to 0.25.",
    ),
    (
        "neighbours-change",
        {"checks": retrieval(right=0, wrong_found=0, wrong_missed=0, neighbours=CHANGED)},
        {"checks": retrieval(right=0, wrong_found=0, wrong_missed=0, neighbours=STEADY)},
        "Two passes share 75.0% of an example's neighbours.",
    ),
    (
        "retrieval-misses",
        {"checks": retrieval(right=80, wrong_found=4, wrong_missed=16)},
        {"checks": retrieval(right=80, wrong_found=16, wrong_missed=4)},
        "Of 20 wrong answers 80% had the wrong thing retrieved (p = 3.6e-15).",
    ),
    (
        "underfits",
        {"losses": UNDERFIT},
        {},
        "Without dropout the training loss is 96% of the validation loss; low and high make it "
        "worse, and no rate helps.",
    ),
    (
        "more-data",
        {"losses": FAR},
        {"losses": {**FAR, "high": (0.7, 0.6)}},
        "At the highest rate the gap is 0.4 over a training loss of 0.585, and the validation loss "
        "fell by 0.25 from 50% of the data to all of it.",
    ),
]


def test_every_rule_has_a_case() -> None:
    """The list of rules and the list of cases are one; names are unique."""
    assert NAMES == [name for name, *_ in CASES]
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize(("name", "case", "sound", "message"), CASES, ids=NAMES)
def test_rule_fires_on_its_case_alone(name, case, sound, message) -> None:
    """It fires with its evidence where it should, and is silent where all is well."""
    found = signal(name, verdict(**case))
    assert ("fired", message) == (found.state, found.message)
    assert found.evidence
    assert found.source
    assert "silent" == signal(name, verdict(**sound)).state


@pytest.mark.parametrize("losses", [SOUND])
def test_sound_study_fires_nothing(losses) -> None:
    """Nothing fires, and the next step is the rate that the study found."""
    found = verdict(losses)
    assert {"silent", "not measured"} == {signal.state for signal in found.signals}
    assert found.next_step is not None
    assert ("rate", "Train with low.", ()) == dataclasses.astuple(found.next_step)


def test_what_was_not_measured_is_named() -> None:
    """A rule without its numbers says which it would need."""
    found = verdict()
    for name in ("audit-findings", "evaluation-varies", "neighbours-change", "retrieval-misses"):
        assert "not measured" == signal(name, found).state
        assert {} == signal(name, found).evidence
    bare = Study(lambda _: {}, ARMS[:2], replicates=2, metric="loss").result(
        [TrialRecord(arm.name, k, {"loss": k + len(arm.name)}) for arm in ARMS[:2] for k in (0, 1)]
    )
    assert "not measured" == signal("underfits", bare.verdict).state
    assert "It needs the metrics gap and train_loss." == signal("more-data", bare.verdict).message


def test_workflow_comes_first() -> None:
    """Where several signals fire, a broken workflow is mended before anything else."""
    checks = Checks(findings=[Found("DRP201", "error", "wrong")])
    found = verdict(UNDERFIT, checks=checks).next_step
    assert found is not None
    assert ("workflow", ("audit-findings",)) == (found.kind, found.because)
    alone = verdict(UNDERFIT).next_step
    assert alone is not None
    assert ("model", ("underfits",)) == (alone.kind, alone.because)


def test_nothing_known_is_said_so() -> None:
    """Without evidence there is no next step but to get some."""
    losses = dict.fromkeys(SOUND, (1.0, 0.5))
    found = verdict(losses).next_step
    assert found is not None
    assert "not enough evidence" == found.kind


def test_evaluation_difference_sees_dropout_left_on() -> None:
    """A functional dropout without the training flag differs between passes; modes come back."""

    class Careless(nn.Module):
        def forward(self, x):
            return nn.functional.dropout(x, 0.5)

    model = nn.Sequential(nn.Linear(8, 8), Careless())
    model[0].eval()
    assert evaluation_difference(model, lambda: model(torch.ones(4, 8))) > 0.0
    assert [True, False, True] == [module.training for module in model.modules()]
    assert evaluation_difference(model, lambda: model[0](torch.ones(4, 8))) == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ([True], [True, False]),
            "`answer_right` and `retrieval_right` must have an entry for each example; "
            "got 1 and 2.",
        ),
        (
            ((), (), [[[1]], [[1], [2]]]),
            "`neighbours` must list the same examples in each pass; got [1, 2].",
        ),
    ],
)
def test_refusals(arguments, message) -> None:
    """Scores that do not fit together are refused in one sentence."""
    with pytest.raises(ValueError, match="^" + message.replace("[", r"\[") + "$"):
        Retrieval(*arguments)
