"""Where trials run makes no difference to their numbers, and what hangs is ended."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch

from dropkit.errors import MissingExtraError, OptionError
from dropkit.studies.plan import Arm
from dropkit.studies.result import StudyResult, TrialRecord
from dropkit.studies.runners.processes import Processes
from dropkit.studies.study import Study
from dropkit.studies.trial import Point, Trial
from support_fits import PidFit, WaitingFit, diverging_fit, late_fit, told_fit

ARMS = (Arm("none"), Arm("half", rates=0.5))


def numbers(result: StudyResult) -> list[tuple[object, ...]]:
    """All that a trial is, but for how long it took."""
    return [(r.arm, r.replicate, r.metrics, r.points, r.error) for r in result.trials]


def test_workers_give_the_same_numbers() -> None:
    """Two processes agree with this one on every bit of metrics and reports."""
    here, there = (
        Study(told_fit, ARMS, replicates=2, metric="loss", workers=workers).run()
        for workers in (0, 2)
    )
    assert numbers(here) == numbers(there)


def test_workers_stay(tmp_path) -> None:
    """What runs in a second call runs in the processes of the first."""
    log = Everything()
    with Processes(2).opened(PidFit(tmp_path)) as run:
        for replicate in range(3):
            run([Trial(arm, replicate) for arm in ARMS], log)
    assert 6 == len(log.records)
    assert len(list(tmp_path.iterdir())) <= 2


def test_trial_that_hangs_is_ended() -> None:
    """One that hangs is killed, one that asks stops by itself; both fail, the others go on."""
    arguments = {"replicates": 3, "metric": "loss", "workers": 2, "timeout_s": 0.5}
    result = Study(late_fit, ARMS, **arguments).run()
    errors = {(r.arm, r.replicate): r.error for r in result.trials if r.error is not None}
    assert errors == dict.fromkeys((("half", 0), ("half", 1)), "its time of 0.5 s was over")
    assert 1 == result.n_complete


class Everything:
    """A log that wants all there is."""

    is_over = False

    def __init__(self) -> None:
        self.records: list[TrialRecord] = []

    def began(self, trial: Trial) -> None:
        """Nothing to do."""

    def reported(self, trial: Trial, point: Point) -> None:
        """Nothing to do."""

    def ended(self, record: TrialRecord) -> None:
        """Keep it."""
        self.records.append(record)


class OverAtOnce(Everything):
    """A log that wants no more after the first record."""

    @property
    def is_over(self) -> bool:
        """Whether there is a record."""
        return bool(self.records)


def test_what_runs_when_the_study_is_over_is_told_to_stop(tmp_path: Path) -> None:
    """A trial hears that the study was stopped, may end by itself, and is ended in any case."""
    log = OverAtOnce()
    with Processes(2).opened(WaitingFit(tmp_path)) as run:
        run([Trial(arm, 0) for arm in ARMS], log)
    assert (tmp_path / "stopped").exists()
    assert ["none"] == [record.arm for record in log.records]


def test_diverging_trial_may_stop() -> None:
    """After a report that is not finite the fit is told to stop, and the record says why."""
    result = Study(diverging_fit, ARMS, replicates=2, metric="loss").run()
    errors = [r.error for r in result.trials]
    assert errors == ["it reported train_loss = nan at step 1"] * 2 + [None, None]
    assert [2, 2, 5, 5] == [len(r.points) for r in result.trials]


def test_missing_metric_is_a_failure() -> None:
    """A fit that does not return what is compared is told so, trial by trial."""
    result = Study(diverging_fit, ARMS, replicates=2, metric="perplexity").run()
    assert "the fit returned no perplexity; got loss" == result.trials[2].error


def test_each_trial_has_the_threads_it_was_given() -> None:
    """Torch's threads are the study's within a trial, and what they were after it."""
    seen = []

    def fit(trial: Trial) -> dict[str, float]:
        del trial
        seen.append(torch.get_num_threads())
        return {"loss": 1.0}

    before = torch.get_num_threads()
    Study(fit, ARMS, replicates=1, metric="loss", threads=3).run()
    assert ([3, 3], before) == (seen, torch.get_num_threads())


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"threads": 0}, "`threads` must be at least 1; got 0."),
        ({"workers": -1}, "`workers` must be >= 0; got -1."),
        ({"workers": 1, "timeout_s": 0.0}, "`timeout_s` must be above 0; got 0.0."),
        ({"until": "bored"}, "`until` must be 'all' or 'decided'; got 'bored'."),
    ],
)
def test_refusals(choice, message) -> None:
    """A choice that cannot be is refused in one sentence."""
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        Study(told_fit, ARMS, **choice)


def test_fit_that_cannot_travel_is_refused() -> None:
    """A function that worker processes cannot import is refused before any is started."""

    def fit(trial: Trial) -> dict[str, float]:
        return {"loss": float(trial.replicate)}

    message = (
        f"`fit` must be picklable where there are workers; got {fit!r}. Define it at the top "
        "level of a module, or run it with 0 workers."
    )
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        Study(fit, ARMS, metric="loss", workers=2).run()


def test_missing_ray_names_the_extra(monkeypatch) -> None:
    """Without ray the error says what to install."""
    monkeypatch.setitem(sys.modules, "ray", None)
    message = "a cluster needs ray: pip install 'dropkit[ray]'."
    with pytest.raises(MissingExtraError, match="^" + re.escape(message) + "$"):
        Study(told_fit, ARMS, ray="local").run()


RAY = """
import sys, pathlib
sys.path.insert(0, sys.argv[1])
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
import support_fits

arms = [Arm("none"), Arm("half", rates=0.5)]
def run(fit, **more):
    result = Study(fit, arms, metric="loss", **more).run()
    return [(r.arm, r.replicate, r.metrics, r.points, r.error) for r in result.trials]

told = dict(replicates=2)
assert run(support_fits.told_fit, **told) == run(
    support_fits.told_fit, ray="local", workers=2, db=sys.argv[2], **told
)
failing = run(support_fits.failing_fit, ray="local", workers=2, replicates=4)
print([error for *_, error in failing if error])
late = run(support_fits.late_fit, ray="local", workers=2, replicates=3, timeout_s=1.0)
print([(arm, k, error) for arm, k, _, _, error in late if error])
"""


@pytest.mark.long
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed: dropkit[ray]"
)
def test_ray_gives_the_same_numbers(run_python, tmp_path) -> None:
    """Two workers of a local Ray agree with this process to the bit; what fails is recorded."""
    support = str(Path(__file__).parent.parent / "support")
    script = tmp_path / "script.py"
    script.write_text(RAY, encoding="utf-8")
    call = f"import runpy, sys; sys.argv = ['script', {support!r}, {str(tmp_path / 'study.db')!r}]"
    done = run_python(
        f"import warnings; warnings.simplefilter('default'); {call}; "
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    assert 0 == done.returncode, done.stderr
    failed, late = done.stdout.splitlines()[-2:]
    assert failed == (
        "['ValueError: a line and another', 'the cluster lost it: WorkerCrashedError', "
        "'metrics are not finite: loss']"
    )
    over = "its time of 1 s was over"
    assert late == str([("half", 0, over), ("half", 1, over)])
