"""What each drop rate changed in a fine-tuning, against the lowest rate, replicate by replicate.

    dropkit finetune --model FOLDER --data chats.jsonl --rates 0,0.05,0.1,0.2 --out once ...
    python examples/finetune_rates.py once/report.json

The replicates of a fine-tuning differ much more than its arms, so the plain mean of an arm says
little. Its arms share a replicate's split, weights, order and masks: the differences say more. The
table has their mean and a 95% interval (Student's) of each; a row of its own has the plain means
without dropout.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dropkit.studies.statistics import mean_with_interval

#: Of a trial's metrics, by their heads in the table.
COLUMNS = {
    "validation_loss": "held-out loss",
    "best_validation_loss": "at the best epoch",
    "train_loss": "training loss",
    "gap": "gap",
    "membership_auc": "membership AUC",
    "extracted_train": "said verbatim",
    "forgotten": "forgotten",
}


def table(report: Mapping[str, Any]) -> Iterator[str]:
    """Lines of Markdown."""
    metrics = {
        (trial["arm"], trial["replicate"]): trial["metrics"]
        for trial in report["study"]["trials"]
        if trial["error"] is None
    }
    names = [arm["name"] for arm in report["arms"]]
    every = sorted({replicate for _, replicate in metrics})
    replicates = [k for k in every if all((name, k) in metrics for name in names)]
    shown = [c for c in COLUMNS if all(c in found for found in metrics.values())]
    yield "| | " + " | ".join(COLUMNS[c] for c in shown) + " |"
    yield "| --- |" + " ---: |" * len(shown)
    first = [sum(metrics[names[0], k][c] for k in replicates) / len(replicates) for c in shown]
    yield f"| {names[0]} | " + " | ".join(f"{mean:.3f}" for mean in first) + " |"
    for name in names[1:]:
        cells = [
            _change([metrics[name, k][c] - metrics[names[0], k][c] for k in replicates])
            for c in shown
        ]
        yield f"| {name} | " + " | ".join(cells) + " |"


def _change(differences: Sequence[float]) -> str:
    found = mean_with_interval(differences)
    return f"{found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit("usage: python examples/finetune_rates.py OUT/report.json")
    for line in table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))):
        print(line)
