"""TensorBoard and MLflow show what a study reports while it runs."""

import re
import sys

import pytest

from dropkit.errors import MissingExtraError
from dropkit.studies.followers.mlflow import MLflow
from dropkit.studies.followers.tensorboard import TensorBoard
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study

ARMS = (Arm("none"), Arm("half", rates=0.5))


def fit(trial):
    """Two reports, and a failure in the second replicate of one arm."""
    for step in range(2):
        trial.report(10 * step, loss=1.0 - 0.25 * step)
    if trial.replicate == 1 and trial.arm.name == "half":
        raise ValueError("unlucky")
    return {"loss": 0.5}


def run(follower, tmp_path) -> None:
    """A study of four trials; a second time, from its file, nothing is shown again."""
    for _ in range(2):
        db = tmp_path / "study.db"
        Study(fit, ARMS, replicates=2, metric="loss", db=db, followers=[follower]).run()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_has_a_run_for_each_trial(tmp_path) -> None:
    """Curves and final metrics lie under arm and replicate."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(TensorBoard(tmp_path / "board"), tmp_path)
    folders = sorted(
        str(p.parent.relative_to(tmp_path / "board")) for p in tmp_path.rglob("event*")
    )
    assert [
        "half/replicate-1",
        "half/replicate-2",
        "none/replicate-1",
        "none/replicate-2",
    ] == folders
    events = EventAccumulator(str(tmp_path / "board" / "none" / "replicate-1"))
    events.Reload()
    assert [(0, 1.0), (10, 0.75)] == [(e.step, e.value) for e in events.Scalars("loss")]
    assert [(10, 0.5)] == [(e.step, e.value) for e in events.Scalars("final/loss")]


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_a_run_for_each_trial(tmp_path, monkeypatch) -> None:
    """Runs carry the arm's choices, the curves, and how they ended."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a server is beside the point here
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    uri = (tmp_path / "tracking").as_uri()
    run(MLflow("mine", uri), tmp_path)
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("mine").experiment_id
    runs = {r.info.run_name: r for r in client.search_runs([experiment])}
    assert 4 == len(runs)
    good, bad = runs["half, replicate 1"], runs["half, replicate 2"]
    assert ("FINISHED", "FAILED") == (good.info.status, bad.info.status)
    assert ("0.5", "ValueError: unlucky") == (good.data.params["rates"], bad.data.tags["error"])
    history = client.get_metric_history(good.info.run_id, "loss")
    assert [(0, 1.0), (10, 0.75)] == [(m.step, m.value) for m in history]
    assert 0.5 == good.data.metrics["final_loss"]


@pytest.mark.parametrize(
    ("package", "make"),
    [
        ("tensorboard", lambda: TensorBoard("x")),
        ("mlflow", lambda: MLflow("x")),
    ],
)
def test_missing_package_names_the_extra(package, make, monkeypatch) -> None:
    """Without the package the error says what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    message = f"logging there needs {package}: pip install 'dropkit[{package}]'."
    with pytest.raises(MissingExtraError, match="^" + re.escape(message) + "$"):
        make()
