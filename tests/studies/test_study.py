"""Studies: paired trials, run here or in workers, whatever becomes of them."""

import os
import re
from pathlib import Path

import pytest
import torch

import dropkit
from dropkit.errors import OptionError, RateError
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial
from support_fits import PidFit, failing_fit, seeds_fit

ARMS = (Arm("none"), Arm("half", rates=0.5))


def interrupted_fit(trial: Trial) -> dict[str, float]:
    """The user presses Ctrl-C in the second replicate."""
    if trial.replicate == 1:
        raise KeyboardInterrupt
    return {"loss": 1.0}


def test_arms_of_a_replicate_share_all_chance() -> None:
    """Split, weights, order and masks are those of the replicate, and differ between them."""
    first, second = (Trial(arm, 0, study_seed=4) for arm in ARMS)
    other = Trial(ARMS[0], 1, study_seed=4)
    for purpose in ("split", "weights", "order", "masks"):
        assert first.seed(purpose) == second.seed(purpose)
        assert first.seed(purpose) != other.seed(purpose)
    assert first.seed("split") != first.seed("weights")
    assert first.seed("split") != Trial(ARMS[0], 0, study_seed=5).seed("split")


def test_masks_of_a_replicate_are_nested() -> None:
    """What is dropped at one rate is dropped at every higher one."""
    with Trial(ARMS[0], 0).masks(step=1):
        low = dropkit.functional.dropout(torch.ones(1000), 0.1) == 0
    with Trial(ARMS[1], 0).masks(step=1):
        high = dropkit.functional.dropout(torch.ones(1000), 0.5) == 0
    assert low.any()
    assert bool((high | ~low).all())


@pytest.mark.parametrize("workers", [0, 2])
def test_every_trial_gets_its_arm_and_its_chance(workers) -> None:
    """Each arm's rate reaches its model, here and in worker processes, with the same numbers."""
    result = Study(seeds_fit, ARMS, replicates=2, metric="loss", workers=workers).run()
    assert [(r.arm, r.replicate) for r in result.trials] == [
        ("none", 0),
        ("half", 0),
        ("none", 1),
        ("half", 1),
    ]
    expected = [seeds_fit(Trial(arm, k)) for k in range(2) for arm in ARMS]
    assert expected == [r.metrics for r in result.trials]
    assert [0.0, 0.5] == [arm.means["rate"] for arm in result.arms]
    assert result.differences[0].pairs == (0.0, 0.0)
    assert result.arms[0].curve[0].metrics == {"loss": 1.0}


def test_a_trial_that_fails_leaves_the_others_standing() -> None:
    """What raises, dies or returns nan is recorded so, and its replicate does not count."""
    result = Study(failing_fit, ARMS, replicates=4, metric="loss", workers=2).run()
    errors = {r.replicate: r.error for r in result.trials if r.error is not None}
    assert errors == {
        0: "ValueError: a line and another",
        1: "its worker process ended with exit code -9",
        2: "metrics are not finite: loss",
    }
    assert (1, False) == (result.n_complete, result.was_stopped)
    assert result.differences[0].pairs == (0.0,)


def test_ctrl_c_ends_early_with_what_is_finished() -> None:
    """An interrupted study judges its whole replicates and says that it was stopped."""
    result = Study(interrupted_fit, ARMS, replicates=3, metric="loss").run()
    assert (True, 1, 2) == (result.was_stopped, result.n_complete, len(result.trials))


def test_no_worker_outlives_the_study(tmp_path: Path) -> None:
    """When the run is over, so are its processes."""
    Study(PidFit(tmp_path), ARMS, replicates=2, workers=2).run()
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert 1 <= len(pids) <= 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: Study(seeds_fit, ARMS[:1]),
            OptionError,
            "`arms` must be at least two with different names; got 1.",
        ),
        (
            lambda: Study(seeds_fit, ARMS + ARMS[:1]),
            OptionError,
            "`arms` must be at least two with different names; got 'none' twice.",
        ),
        (
            lambda: Study(seeds_fit, ARMS, replicates=0),
            OptionError,
            "`replicates` must be at least 1; got 0.",
        ),
        (
            lambda: Study(seeds_fit, ARMS, margin=-1.0),
            OptionError,
            "`margin` must be >= 0; got -1.0.",
        ),
        (
            lambda: Arm("x", weight_decay=-0.1),
            OptionError,
            "`weight_decay` must be >= 0; got -0.1 in arm 'x'.",
        ),
        (
            lambda: Arm("x", rates={"*": 20.0}),
            RateError,
            "`rates` must be a drop rate in [0, 1]; got 20.0 at site 'x'. Did you mean 0.2?",
        ),
    ],
)
def test_refusals(make, error, message) -> None:
    """A study that cannot be is refused in one sentence."""
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        make()
