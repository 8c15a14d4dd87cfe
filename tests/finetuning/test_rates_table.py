"""The table of paired differences that the page on rates shows."""

import runpy
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "finetune_rates.py"


def _trial(arm: str, replicate: int, loss: float, error: str | None = None) -> dict[str, object]:
    metrics = {"validation_loss": loss} if error is None else {}
    return {"arm": arm, "replicate": replicate, "metrics": metrics, "error": error}


def test_differences_are_paired() -> None:
    """Each replicate against its own baseline; one that lacks an arm counts nowhere."""
    report = {
        "arms": [{"name": "no dropout"}, {"name": "dropout 0.1"}],
        "study": {
            "trials": [
                _trial("no dropout", 0, 2.0),
                _trial("no dropout", 1, 4.0),
                _trial("no dropout", 2, 90.0),
                _trial("dropout 0.1", 0, 1.5),
                _trial("dropout 0.1", 1, 3.5),
                _trial("dropout 0.1", 2, 0.0, "it raised"),
            ]
        },
    }
    table = runpy.run_path(str(EXAMPLE))["table"]
    assert [
        "| | held-out loss |",
        "| --- | ---: |",
        "| no dropout | 3.000 |",
        "| dropout 0.1 | -0.5000 (-0.5000 to -0.5000) |",
    ] == list(table(report))
