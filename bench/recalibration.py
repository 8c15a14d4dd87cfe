"""What does recalibrating batch norm do to the loss in use of a model with dropout in front of it?

Small networks learn a made-up task, each `--replicates` times with its own data, weights and masks.
A JSON line a network: the loss in use on 4,000 fresh examples as trained, after
`dropkit.recalibrate_batch_norm` on the training data, and of a twin with each dropout moved behind
its batch norm; each a mean with its standard error, and in how many replicates it was lower.
"""

import itertools
import math
import statistics

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from _measure import emit, facts, parser
from torch import Tensor, nn

import dropkit

INPUTS, HIDDEN, CLASSES = 16, 64, 4
N_TRAIN, N_TEST, BATCH, EPOCHS = 2_000, 4_000, 100, 15


def network(depth: int, p: float, *, is_moved: bool) -> nn.Sequential:
    """Linear layers with dropout in front of each batch norm, or moved behind it."""
    layers: list[nn.Module] = []
    for level in range(depth):
        norm, drop = nn.BatchNorm1d(HIDDEN), nn.Dropout(p)
        layers += [nn.Linear(HIDDEN if level else INPUTS, HIDDEN), nn.ReLU()]
        layers += [norm, drop] if is_moved else [drop, norm]
    return nn.Sequential(*layers, nn.Linear(HIDDEN, CLASSES))


class Task:
    """A made-up task: which of some directions an input lies along most, or how far along each."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.directions = torch.randn(CLASSES, INPUTS)

    def data(self, n: int) -> tuple[Tensor, Tensor]:
        """Inputs and their answers, noisy."""
        x = torch.randn(n, INPUTS)
        scores = (x @ self.directions.T / 2).sin() + 0.3 * torch.randn(n, CLASSES)
        return x, scores.argmax(1) if self.kind == "classes" else scores

    def loss(self, output: Tensor, answer: Tensor) -> Tensor:
        """Cross-entropy or mean squared error."""
        return (F.cross_entropy if self.kind == "classes" else F.mse_loss)(output, answer)


def trained(model: nn.Sequential, task: Task, seen: tuple[Tensor, Tensor]) -> nn.Sequential:
    """`model` after some epochs of Adam."""
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(EPOCHS):
        order = torch.randperm(N_TRAIN)
        for index in order.split(BATCH):
            optimizer.zero_grad()
            task.loss(model(seen[0][index]), seen[1][index]).backward()
            optimizer.step()
    return model


def losses(kind: str, depth: int, p: float, seed: int) -> dict[str, float]:
    """Of one replicate, in use."""
    torch.manual_seed(seed)
    task = Task(kind)
    seen, fresh = task.data(N_TRAIN), task.data(N_TEST)

    def in_use(model: nn.Sequential) -> float:
        with torch.no_grad():
            return task.loss(model.eval()(fresh[0]), fresh[1]).item()

    model = trained(network(depth, p, is_moved=False), task, seen)
    found = {"as_trained": in_use(model)}
    dropkit.recalibrate_batch_norm(model, seen[0].split(BATCH))
    found["recalibrated"] = in_use(model)
    found["moved"] = in_use(trained(network(depth, p, is_moved=True), task, seen))
    return found


def main() -> None:
    """Print what was measured."""
    options = parser(__doc__)
    options.add_argument("--replicates", type=int, default=10)
    args = options.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    emit(facts())
    rates, depths = ((0.5,), (2,)) if args.quick else ((0.1, 0.5), (1, 3))
    for kind, depth, p in itertools.product(("classes", "numbers"), depths, rates):
        found = [losses(kind, depth, p, seed) for seed in range(args.replicates)]
        line: dict[str, object] = {"task": kind, "batch_norms": depth, "p": p}
        for name in found[0]:
            values = [one[name] for one in found]
            error = statistics.stdev(values) / math.sqrt(len(values))
            line[name] = [round(statistics.mean(values), 4), round(error, 4)]
        for name in ("recalibrated", "moved"):
            line[f"{name}_lower_in"] = sum(one[name] < one["as_trained"] for one in found)
        emit({**line, "of": len(found)})


if __name__ == "__main__":
    main()
