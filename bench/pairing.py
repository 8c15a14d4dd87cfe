"""What does pairing save? Variance of a paired difference over that of an unpaired one.

Two real tasks, trained at rates 0, 0.3 and 0.5: with the split drawn anew in each replicate or one
for all, and with masks nested across the rates or independent of each other. A ratio of 1 is what
arms that share nothing would have; a ratio of 0.25 saves three replicates in four.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from _measure import facts, say
from torch import nn

import dropkit
from dropkit.demo.fit import RouterFit
from dropkit.demo.questions import chatbot_questions
from dropkit.studies.plan import Arm
from dropkit.studies.result import StudyResult
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
from digits import digits, measure, split

SPLITS = {"anew": "a split anew in each replicate", "fixed": "one split for all"}
MASKS = {"nested": "nested", "own": "independent"}
PAIRS = (("0.3", "0.5"), ("0", "0.3"), ("0", "0.5"))
RESAMPLES = 10_000

#: Nested masks belong to the replicate; "own" ones to one arm of it.
ARMS = tuple(
    Arm(f"{rate} {split} {masks}", rates=float(rate), model_change={"split": split, "masks": masks})
    for split in SPLITS
    for rate, masks in (("0", "nested"), ("0.3", "nested"), ("0.5", "nested"), ("0.5", "own"))
)


@dataclass(frozen=True)
class Chance(Trial):
    """A trial whose arm says what it shares with the others, and with other replicates."""

    def seed(self, purpose: str) -> int:
        """The replicate's seed, but for a split that all share and masks that nobody does."""
        change = self.arm.model_change
        if purpose == "split" and change["split"] == "fixed":
            return Trial(self.arm, 0, self.study_seed).seed("split")
        if purpose == "masks" and change["masks"] == "own":
            return super().seed(f"masks of {self.arm.name}")
        return super().seed(purpose)


def fit_digits(trial: Trial) -> dict[str, float]:
    """A hidden layer of 128 on 300 images of handwritten digits; measured on 2,000 others."""
    chance = Chance(trial.arm, trial.replicate, trial.study_seed)
    images, labels = digits()
    train, validation = split(chance, 300, 2000)
    torch.manual_seed(chance.seed("weights"))
    model = nn.Sequential(
        nn.Linear(784, 128), nn.ReLU(), dropkit.nn.Dropout(0.0), nn.Linear(128, 10)
    )
    chance.apply(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    order = torch.Generator().manual_seed(chance.seed("order"))
    for step in range(200):
        now = train[torch.randint(len(train), (50,), generator=order)]
        with chance.masks(step):
            loss = nn.functional.cross_entropy(model(images[now]), labels[now])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    validation_loss, error = measure(model, images[validation], labels[validation])
    return {"validation_loss": validation_loss, "error": error}


def fit_router(trial: Trial) -> dict[str, float]:
    """The transformer of ``dropkit demo``, for half as long."""
    chance = Chance(trial.arm, trial.replicate, trial.study_seed)
    return RouterFit(chatbot_questions(), steps=120, n_points=1)(chance)


TASKS: dict[str, tuple[Callable[[Trial], dict[str, float]], int]] = {
    "digits": (fit_digits, 40),
    "router": (fit_router, 30),
}


def ratio(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Variance of ``left - right`` over the sum of their variances, along the last axis."""
    apart = left.var(-1, ddof=1) + right.var(-1, ddof=1)
    found: np.ndarray = (left - right).var(-1, ddof=1) / apart
    return found


def interval(left: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """95% of the ratio: percentiles of a bootstrap over replicates."""
    drawn = np.random.default_rng(0).integers(0, len(left), (RESAMPLES, len(left)))
    low, high = np.percentile(ratio(left[drawn], right[drawn]), [2.5, 97.5])
    return float(low), float(high)


def table(task: str, values: Mapping[str, np.ndarray]) -> list[str]:
    """One row for each pair of rates and each way to share chance.

    Args:
        task: Its name.
        values: The validation losses of each arm, a replicate each.
    """
    rows = []
    for data, said in SPLITS.items():
        for low, high in PAIRS:
            for masks in ("nested",) if high == "0.3" else MASKS:
                left, right = values[f"{low} {data} nested"], values[f"{high} {data} {masks}"]
                begin, end = interval(left, right)
                rows.append(
                    f"| {task} | {said} | {low} and {high} | {MASKS[masks]} | "
                    f"{ratio(left, right):.2f} ({begin:.2f} to {end:.2f}) |"
                )
    return rows


def losses(result: StudyResult) -> dict[str, np.ndarray]:
    """The validation losses of each arm, in the order of its replicates."""
    return {
        arm.name: np.array(
            [t.metrics["validation_loss"] for t in result.trials if t.arm == arm.name]
        )
        for arm in ARMS
    }


def main() -> None:
    """Train, or go on from the files that are there, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--replicates", type=int, help="default: 40 for digits, 30 for router")
    parser.add_argument("--folder", type=Path, default=Path(), help="of the files of trials")
    options = parser.parse_args()
    begin = time.perf_counter()
    print("| task | data | rates | masks | paired over unpaired variance (95%) |")
    print("| --- | --- | --- | --- | --- |")
    for task in options.tasks:
        fit, replicates = TASKS[task]
        study = Study(
            fit,
            ARMS,
            replicates=options.replicates or replicates,
            db=options.folder / f"pairing-{task}.db",
        )
        print("\n".join(table(task, losses(study.run()))), flush=True)
    say(f"{time.perf_counter() - begin:.0f} s, commit {facts()['commit']}")


if __name__ == "__main__":
    main()
