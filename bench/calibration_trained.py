"""Do studies of equal arms find a difference where models are really trained?

Each arm trains a small network with dropout 0.3 under masks of its own, so that the arms differ by
luck alone, and the study is watched after every replicate.
"""

import argparse
import time

import torch
from _measure import facts, say
from scipy import stats
from torch import nn

import dropkit
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial

#: By their rates they are dropout arms; the fit trains all of them alike.
ARMS = (Arm("a"), Arm("b", rates=0.3), Arm("c", rates=0.3))


def fit(trial: Trial) -> dict[str, float]:
    """Regression on 50 noisy examples; replicates draw data and weights, arms their masks."""
    generator = torch.Generator().manual_seed(trial.seed("split"))
    x = torch.randn(250, 10, generator=generator)
    y = x[:, :1] * x[:, 1:2] + torch.randn(250, 1, generator=generator)
    torch.manual_seed(trial.seed("weights"))
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), dropkit.nn.Dropout(0.3), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    masks = trial.seed(f"masks of {trial.arm.name}")
    for step in range(60):
        with dropkit.masks_at(masks, step=step):
            loss = nn.functional.mse_loss(net(x[:50]), y[:50])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return {"loss": nn.functional.mse_loss(net.eval()(x[50:]), y[50:]).item()}


def main() -> None:
    """Print how many studies found what is not there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--replicates", type=int, default=10)
    options = parser.parse_args()
    begin = time.perf_counter()
    alarms = 0
    for seed in range(options.studies):
        study = Study(
            fit,
            ARMS,
            replicates=options.replicates,
            until="decided",
            metric="loss",
            seed=seed,
        )
        alarms += study.run().verdict.decision in {"helps", "harms"}
    found = stats.binomtest(alarms, options.studies).proportion_ci(0.95, method="exact")
    print(
        f"{alarms} of {options.studies} trained studies of equal arms, watched over at most "
        f"{options.replicates} replicates, say helps or harms: {alarms / options.studies:.3f} "
        f"(95% interval {found.low:.3f} to {found.high:.3f})"
    )
    say(f"{time.perf_counter() - begin:.0f} s, commit {facts()['commit']}")


if __name__ == "__main__":
    main()
