"""Networks with one hidden layer, trained side by side: all splits and precisions at one rate.

A network of this size does so little in a step that its calls cost more than its arithmetic. Here
``(T, S)`` of them, `T` precisions for each of `S` splits, take each step together, in products with
two more dimensions and with the gradient written out. Masks have names, so that nothing else
changes: a split's networks draw what each would draw if it were trained alone
(``tests/uncertainty/test_uci.py`` trains it alone), whatever stands beside it.
"""

import itertools
import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from uci_data import Rows, Scale

import dropkit
from dropkit import Address, masks_at

BATCH, LENGTHSCALE = 128, 0.01


def network(n_features: int, n_hidden: int, rate: float) -> nn.Sequential:
    """One network as anybody would write it: dropout on the input and on the hidden units."""
    return nn.Sequential(
        OrderedDict(
            drop_input=dropkit.nn.Dropout(rate),
            first=nn.Linear(n_features, n_hidden),
            relu=nn.ReLU(),
            drop_hidden=dropkit.nn.Dropout(rate),
            second=nn.Linear(n_hidden, 1),
        )
    )


def l2(rate: float, tau: Tensor, n: int) -> Tensor:
    """What the sum of squared weights is multiplied by in the loss (biases are left out)."""
    return LENGTHSCALE**2 * (1 - rate) / (2 * n * tau)


def seed_of(name: str, split: int, what: str) -> int:
    """The seed of one use of chance in one split of a set."""
    return Address.from_seed(0).fold(name).fold(split).fold(what).key


class _Masks(nn.Module):
    """The masks of `network`, by its names, for inputs and hidden units that are all one."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.drop_input, self.drop_hidden = dropkit.nn.Dropout(rate), dropkit.nn.Dropout(rate)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return self.drop_input(x), self.drop_hidden(h)


@dataclass(frozen=True, eq=False)
class Networks:
    """``(T, S)`` networks of one rate.

    Attributes:
        rate: Of both their dropouts.
        taus: ``(T, S)``.
        weights: ``(T, S, D, H)``, ``(T, S, 1, H)``, ``(T, S, H, 1)``, ``(T, S, 1, 1)``: of the hidden
            layer and of the output, each with its bias.
        scale: Units of the training rows, which the networks know.
    """

    rate: float
    taus: Tensor
    weights: list[Tensor]
    scale: Scale

    def single(self, t: int, s: int) -> nn.Sequential:
        """One of them; it takes features in its own units, and answers in those of the target."""
        first, first_bias, second, second_bias = (w[t, s] for w in self.weights)
        y_std, y_mean = self.scale.y_std[s].float(), self.scale.y_mean[s].float()
        net = network(*first.shape, self.rate)
        with torch.no_grad():
            for own, found in (
                (net.first.weight, first.T),
                (net.first.bias, first_bias[0]),
                (net.second.weight, (second * y_std).T),
                (net.second.bias, (second_bias * y_std + y_mean)[0]),
            ):
                own.copy_(found)
        return net


def initial(name: str, splits: list[int], n_features: int, n_hidden: int) -> list[Tensor]:
    """Weights before training, by Glorot and Bengio 2010 as Keras draws them; biases are 0."""
    found = []
    for split in splits:
        draw = torch.Generator().manual_seed(seed_of(name, split, "weights"))
        first, second = torch.empty(n_features, n_hidden), torch.empty(n_hidden, 1)
        nn.init.xavier_uniform_(first, generator=draw)
        nn.init.xavier_uniform_(second, generator=draw)
        found.append((first, torch.zeros(1, n_hidden), second, torch.zeros(1, 1)))
    return [torch.stack(parts) for parts in zip(*found, strict=True)]


def train(
    name: str, rows: Rows, splits: list[int], rate: float, taus: Tensor, n_hidden: int, epochs: int
) -> Networks:
    """Train by Adam on batches of 128, each epoch in an order of its own.

    Networks of one split share initial weights, order and masks, also across rates: they differ in
    rate and precision alone.

    Args:
        name: Of the set; part of every seed.
        rows: Of these splits, in units of the set.
        splits: Their `S` numbers.
        rate: Of both dropouts.
        taus: ``(T, S)``.
        n_hidden: Units.
        epochs: How often each row is met.
    """
    scale = Scale.of(rows)
    now = scale.apply(rows)
    (_, n, n_features), n_taus = now.x.shape, len(taus)
    weights = [w.repeat(n_taus, 1, 1, 1) for w in initial(name, splits, n_features, n_hidden)]
    first, first_bias, second, second_bias = weights
    optimizer = torch.optim.Adam(weights)
    decay = 2 * l2(rate, taus, n).float()[..., None, None]
    kept_scale = 1 / (1 - dropkit.effective_rate(rate))
    masks, seed = _Masks(rate), Address.from_seed(0).fold(name).key
    orders = [torch.Generator().manual_seed(seed_of(name, s, "order")) for s in splits]
    names, steps = torch.tensor(splits), itertools.count()
    for _ in range(epochs):
        order = torch.stack([torch.randperm(n, generator=draw) for draw in orders])[..., None]
        x = now.x.gather(1, order.expand_as(now.x))
        y = now.y.gather(1, order)
        for at in range(0, n, BATCH):
            part, truth = x[:, at : at + BATCH], y[:, at : at + BATCH]
            size = part.shape[1]
            with masks_at(seed, step=next(steps), rows=names):
                keep, keep_hidden = masks(part, part.new_ones(len(splits), size, n_hidden))
            h = (keep @ first).add_(first_bias).relu_().mul_(keep_hidden)
            error = (h @ second).add_(second_bias).sub_(truth).mul_(2 / size)
            second.grad = torch.addcmul(h.mT @ error, second, decay)
            second_bias.grad = error.sum(2, keepdim=True)
            back = error * (second * kept_scale).mT
            back = torch.ops.aten.threshold_backward(back, h, 0)  # kept, and above 0
            first.grad = torch.addcmul(keep.mT @ back, first, decay)
            first_bias.grad = back.sum(2, keepdim=True)
            optimizer.step()
    return Networks(rate, taus, weights, scale)


def log_density(error: Tensor, tau: float | Tensor) -> Tensor:
    """Of a normal variable of precision `tau`, in nats."""
    return torch.as_tensor(tau).log() / 2 - math.log(2 * math.pi) / 2 - tau * error.square() / 2
