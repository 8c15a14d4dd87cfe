"""Batch norm behind dropout: how far its statistics are off, and that recalibration mends it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit.auditing.variance import closed_form
from dropkit.errors import OptionError


class Named(nn.Module):
    """Dropout and a batch norm, called by a name."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 3)`` to the same."""
        return self.norm(self.drop(x))


def _net(p: float, channels: int = 8) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(p), nn.BatchNorm1d(channels, momentum=None))


def _inputs(n: int, channels: int = 8) -> Tensor:
    """Channels whose means and spreads differ."""
    ramp = torch.linspace(0.0, 3.0, channels)
    return torch.randn(n, channels) * (1.0 + ramp / 2) + ramp


def _state(model: nn.Module) -> list[Any]:
    norms = nn.modules.batchnorm._BatchNorm
    return [
        [module.training for module in model.modules()],
        [module.momentum for module in model.modules() if isinstance(module, norms)],
        [x.clone() for x in model.state_dict().values()],
        torch.get_rng_state(),
    ]


def _same(a: list[Any], b: list[Any]) -> bool:
    tensors = zip([*a[2], a[3]], [*b[2], b[3]], strict=True)
    return a[:2] == b[:2] and all(torch.equal(x, y) for x, y in tensors)


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_shift_is_the_closed_form(p: float, false_alarm: float) -> None:
    """Behind dropout at p the variance in training is (1 + p mu^2/s^2)/(1 - p) times that in use.

    Given the inputs, each channel's sums over examples are sums of independent terms of known
    range; Bernstein's inequality bounds how far they stray.
    """
    x = _inputs(40_000)
    mean, variance = x.mean(0), x.var(0, unbiased=False)
    predicted = variance * closed_form(p, mean, variance)
    measured = _net(p).train()[0](x)
    spread = (_bound(x**2, p, false_alarm) + 2 * mean.abs() * _bound(x, p, false_alarm)) * 1.01
    off = (measured.var(0, unbiased=False) - predicted).abs()
    assert (off <= spread).all(), f"{off / spread}; p={p}"
    assert (spread < 0.2 * predicted).all()


def _bound(terms: Tensor, p: float, false_alarm: float) -> Tensor:
    """How far a column's mean of ``terms * mask / keep**k`` strays, with a union over 32 columns.

    Of a first moment k is 1 and of a second 2; the second's bound serves both.
    """
    keep, n = 1 - p, len(terms)
    depth = torch.tensor(64 / false_alarm).log()
    variance = (terms**2).sum(0) * p / keep**3
    reach = terms.abs().amax(0) / keep**2
    return (depth * reach / 3 + ((depth * reach / 3) ** 2 + 2 * variance * depth).sqrt()) / n


def test_shift_check_can_fail(false_alarm: float) -> None:
    """It tells the closed form from the one without the mean."""
    x, p = _inputs(40_000), 0.5
    mean, variance = x.mean(0), x.var(0, unbiased=False)
    measured = _net(p).train()[0](x).var(0, unbiased=False)
    spread = (_bound(x**2, p, false_alarm) + 2 * mean.abs() * _bound(x, p, false_alarm)) * 1.01
    assert not ((measured - variance / (1 - p)).abs() <= spread).all()


def test_statistics_are_those_in_use() -> None:
    """After recalibration the running statistics are the mean and variance of what comes in eval."""
    model, x = _net(0.5), _inputs(2_000)
    for batch in x.split(100):
        model(batch)
    shifted = model[1].running_var.clone()
    dropkit.recalibrate_batch_norm(model, x.split(2_000))
    torch.testing.assert_close(model[1].running_mean, x.mean(0))
    torch.testing.assert_close(model[1].running_var, x.var(0))
    assert (shifted > 1.5 * model[1].running_var).all()


def test_each_batch_counts_alike() -> None:
    """The statistics are the plain mean over batches, whatever the momentum was."""
    model = nn.Sequential(nn.BatchNorm1d(8, momentum=0.1))
    batches = _inputs(300).split(100)
    dropkit.recalibrate_batch_norm(model, batches)
    torch.testing.assert_close(
        model[0].running_var, torch.stack([batch.var(0) for batch in batches]).mean(0)
    )
    assert (0.1, 3) == (model[0].momentum, int(model[0].num_batches_tracked))


@pytest.mark.parametrize(
    ("norm", "shape"),
    [
        (nn.BatchNorm1d, (6, 3)),
        (nn.BatchNorm1d, (6, 3, 5)),
        (nn.BatchNorm2d, (6, 3, 4, 4)),
        (nn.BatchNorm3d, (6, 3, 2, 2, 2)),
        (nn.SyncBatchNorm, (6, 3, 4, 4)),
    ],
)
def test_every_kind(norm: type[nn.Module], shape: tuple[int, ...]) -> None:
    """Each kind of batch norm gets the mean of its input."""
    model = nn.Sequential(nn.Dropout(0.5), norm(3)).train()
    x = torch.randn(shape) + 2
    dropkit.recalibrate_batch_norm(model, [x])
    torch.testing.assert_close(model[1].running_mean, x.transpose(0, 1).flatten(1).mean(1))


def test_every_kind_of_batch() -> None:
    """A tensor, a tuple of arguments and a mapping give the same."""
    x, found = _inputs(10, 3), []
    for batch in (x, (x,), [x], {"x": x}):
        model = dropkit.recalibrate_batch_norm(Named(), [batch])
        found.append(model.norm.running_mean)
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_nothing_else_changes() -> None:
    """Modes, momenta, gradients, generators and all other numbers are as before to the bit."""
    model = nn.Sequential(
        nn.Linear(8, 8),
        nn.Dropout(0.5),
        nn.BatchNorm1d(8),
        nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)),
        nn.BatchNorm1d(8, track_running_stats=False),
        nn.Unflatten(1, (8, 1)),
        nn.Upsample(scale_factor=4.0),
        nn.InstanceNorm1d(8, track_running_stats=True),
    )
    model[0].eval()
    x = _inputs(20)
    model(x).sum().backward()
    grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    before = _state(model)
    assert dropkit.recalibrate_batch_norm(model, iter([x])) is model
    after = _state(model)
    changed = [
        name
        for name, a, b in zip(model.state_dict(), before[2], after[2], strict=True)
        if not torch.equal(a, b)
    ]
    assert ["2.running_mean", "2.running_var"] == changed
    assert _same([*before[:2], [], before[3]], [*after[:2], [], after[3]])
    now = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(grads, now, strict=True))


def test_a_norm_that_nothing_reaches() -> None:
    """Its statistics stay as they were."""
    model = Named()
    model.spare = nn.BatchNorm1d(3)
    model.spare.running_mean.fill_(7.0)
    dropkit.recalibrate_batch_norm(model, [_inputs(10, 3)])
    assert [7.0] * 3 == model.spare.running_mean.tolist()


def test_nothing_changes_when_a_batch_fails() -> None:
    """An error on the second batch leaves the model as it was to the bit."""
    model, batches = _net(0.5), [_inputs(10), torch.ones(10, 3)]
    before = _state(model)
    with pytest.raises(RuntimeError, match="running_mean should contain"):
        dropkit.recalibrate_batch_norm(model, batches)
    assert _same(before, _state(model))


PAIR = (
    "`loader` must yield what the model is called with; got a tuple of 2, which its forward does "
    "not take. Of pairs of inputs and targets pass the inputs: `(inputs for inputs, _ in loader)`."
)


@pytest.mark.parametrize(
    ("model", "loader", "message"),
    [
        (
            nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False)),
            [torch.ones(2, 2)],
            "`model` must have a batch norm with running statistics; got none.",
        ),
        (_net(0.1), [], "`loader` must yield at least one batch; got none."),
        (_net(0.1), [(torch.ones(2, 8), torch.ones(2))], PAIR),
        (
            _net(0.1),
            ["text"],
            "`batch` must be a tensor, a tuple of arguments, or a mapping of names to arguments; "
            "got a str.",
        ),
        (
            nn.Sequential(nn.LazyBatchNorm1d()),
            [torch.ones(2, 2)],
            "`model` must have statistics to recalibrate; got a lazy batch norm that has seen no "
            "input yet. Train it first.",
        ),
    ],
    ids=["no batch norm", "no batch", "pairs", "text", "lazy"],
)
def test_misuse(model: nn.Module, loader: list[Any], message: str) -> None:
    """What cannot be done is said in one sentence."""
    with pytest.raises(OptionError) as caught:
        dropkit.recalibrate_batch_norm(model, loader)
    assert message == str(caught.value)
