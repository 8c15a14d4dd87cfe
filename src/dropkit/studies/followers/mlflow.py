"""A study in MLflow: an experiment, with a run for each trial."""

import json

from dropkit.errors import MissingExtraError
from dropkit.studies.result import TrialRecord
from dropkit.studies.trial import Point, Trial


class MLflow:
    """Logs every report and final metric, and the choices of each arm as parameters.

    Args:
        experiment: Its name; made where it does not exist.
        uri: Of the tracking server or store; None for MLflow's own default.

    Raises:
        MissingExtraError: mlflow is not installed.
    """

    def __init__(self, experiment: str, uri: str | None = None) -> None:
        try:
            from mlflow import MlflowClient  # noqa: PLC0415 - belongs to an extra
        except ImportError as error:
            message = "logging there needs mlflow: pip install 'dropkit[mlflow]'."
            raise MissingExtraError(message) from error
        self._client = MlflowClient(uri)
        known = self._client.get_experiment_by_name(experiment)
        self._experiment = (
            self._client.create_experiment(experiment) if known is None else known.experiment_id
        )
        self._runs: dict[tuple[int, str], str] = {}

    def began(self, trial: Trial) -> None:
        """Begin a run; one that a lost attempt left open is ended."""
        key = trial.replicate, trial.arm.name
        if key in self._runs:
            self._client.set_terminated(self._runs[key], "KILLED")
        tags = {"arm": trial.arm.name, "replicate": str(trial.replicate + 1)}
        name = f"{trial.arm.name}, replicate {trial.replicate + 1}"
        run = self._client.create_run(self._experiment, tags=tags, run_name=name).info.run_id
        self._runs[key] = run
        for choice, value in trial.arm.to_dict().items():
            self._client.log_param(
                run, choice, value if isinstance(value, str) else json.dumps(value)
            )

    def reported(self, trial: Trial, point: Point) -> None:
        """A point of each curve."""
        run = self._runs[trial.replicate, trial.arm.name]
        for name, value in point.metrics.items():
            self._client.log_metric(run, name, value, step=point.step)

    def ended(self, record: TrialRecord) -> None:
        """The final metrics, or why there are none, and the end of the run."""
        run = self._runs.pop((record.replicate, record.arm), None)
        if run is None:
            return
        for name, value in record.metrics.items():
            self._client.log_metric(run, f"final_{name}", value)
        if record.error is not None:
            self._client.set_tag(run, "error", record.error)
        self._client.set_terminated(run, "FINISHED" if record.error is None else "FAILED")

    def close(self) -> None:
        """End the runs that were cut off."""
        for run in self._runs.values():
            self._client.set_terminated(run, "KILLED")
        self._runs.clear()
