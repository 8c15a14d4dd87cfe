"""One network asked in three ways: without dropout, in one stochastic pass, and many times.

Precision and rate are chosen on the last fifth of the training rows, as published; the test rows are
seen by the final networks alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from uci_data import Benchmark, Rows
from uci_networks import log_density, train

import dropkit

ARMS = ("deterministic", "one pass", "Monte Carlo")
#: Sub-networks that a choice of rate and precision is made by, and that a test begins with.
FEW = 256
#: As published; no test takes more.
MOST = 10_000
#: What the choice of sub-networks may add to the spread over splits.
SHARE = 0.1


@dataclass(frozen=True)
class Score:
    """Of one network on some rows.

    Attributes:
        rmse: By arm, in units of the target.
        ll: By arm: mean log likelihood in nats.
        rmse_error: Of the Monte Carlo arm's, over the choice of sub-networks.
        ll_error: Likewise.
        ll_bias: By how much its log likelihood is too low, since a mean over finitely many
            sub-networks is under the logarithm.
    """

    rmse: dict[str, float]
    ll: dict[str, float]
    rmse_error: float
    ll_error: float
    ll_bias: float


@dataclass(frozen=True)
class Choice:
    """What the search found for a split: a rate and a precision."""

    rate: float
    tau: float


@torch.no_grad()
def score(model: nn.Module, x: Tensor, y: Tensor, tau: float, samples: int) -> Score:
    """Ask `model` in all three ways.

    Args:
        model: In the units of the target.
        x: ``(n, D)`` as it takes them.
        y: ``(n, 1)`` float64.
        tau: Precision of the noise.
        samples: How many sub-networks.
    """
    prediction = dropkit.mc_predict(model, x, samples=samples, kind="regression")
    answers = (model.eval()(x).double(), prediction.answers[0], prediction.mean)
    off = [answer - y for answer in answers]
    rmse = [float(e.square().mean().sqrt()) for e in off]
    likely = prediction.log_likelihood(y, 1 / tau)
    lls = [float(log_density(e, tau).mean()) for e in off[:2]] + [float(likely.value.mean())]
    # examples have masks of their own: their errors are independent
    n, own = len(y), prediction.standard_error["mean"]
    return Score(
        rmse=dict(zip(ARMS, rmse, strict=True)),
        ll=dict(zip(ARMS, lls, strict=True)),
        rmse_error=float((off[-1] * own).square().sum().sqrt() / (n * rmse[-1])),
        ll_error=float(likely.standard_error.square().sum().sqrt() / n),
        ll_bias=float(likely.standard_error.square().mean() / 2),  # by Taylor, of log of a mean
    )


def search(data: Benchmark, epochs: int) -> dict[str, list[Choice]]:
    """Choose rate and precision of each split by the log likelihood of its validation rows.

    Returns:
        A choice a split, for the Monte Carlo arm and for the deterministic one.
    """
    n_splits, n = data.train.x.shape[:2]
    n_fit = int(0.8 * n)
    fit, held_out = data.train.part(0, n_fit), data.train.part(n_fit)
    splits = list(range(n_splits))
    grid = torch.tensor(data.taus, dtype=torch.float64)[:, None].expand(-1, n_splits)
    best = {arm: [(-math.inf, Choice(0, 0))] * n_splits for arm in ("Monte Carlo", "deterministic")}
    for rate in data.rates:
        networks = train(data.name, fit, splits, rate, grid, data.hidden, epochs)
        scaled = networks.scale.apply(held_out)
        for t, tau in enumerate(data.taus):
            for s in splits:
                found = score(networks.single(t, s), scaled.x[s], held_out.y[s], tau, FEW)
                for arm, choices in best.items():
                    choices[s] = max(choices[s], (found.ll[arm], Choice(rate, tau)), key=_first)
    return {arm: [choice for _, choice in choices] for arm, choices in best.items()}


def _first(pair: tuple[float, Choice]) -> float:
    return pair[0]


def final(data: Benchmark, choices: list[Choice], epochs: int) -> list[tuple[nn.Module, Rows]]:
    """Train on all training rows of each split; with each network the test rows as it takes them."""
    found: dict[int, tuple[nn.Module, Rows]] = {}
    for rate in sorted({choice.rate for choice in choices}):
        splits = [s for s, choice in enumerate(choices) if choice.rate == rate]
        taus = torch.tensor([[choices[s].tau for s in splits]], dtype=torch.float64)
        own = Rows(data.train.x[splits], data.train.y[splits])
        networks = train(data.name, own, splits, rate, taus, data.hidden, epochs)
        test = Rows(data.test.x[splits], data.test.y[splits])
        scaled = networks.scale.apply(test)
        for at, s in enumerate(splits):
            found[s] = networks.single(0, at), Rows(scaled.x[at], test.y[at])
    return [found[s] for s in range(len(choices))]


def scores(
    tests: list[tuple[nn.Module, Rows]],
    choices: list[Choice],
    say: Callable[[str], None] = lambda _: None,
) -> tuple[list[Score], int]:
    """Score each split, with more sub-networks until their choice no longer matters.

    It matters while, for RMSE or log likelihood, a split's standard error over sub-networks is
    above `SHARE` of the standard deviation over splits, or the bias above `SHARE` of the standard
    error of their mean.

    Returns:
        A score a split, and how many sub-networks that took, at most `MOST`.
    """
    samples = FEW
    while True:
        found = [
            score(model, rows.x, rows.y, choice.tau, samples)
            for (model, rows), choice in zip(tests, choices, strict=True)
        ]
        share = luck(found)
        say(f"{samples} sub-networks: luck is {share:.3f} of the spread")
        if share <= SHARE or samples == MOST:
            return found, samples
        samples = min(MOST, math.ceil(1.2 * samples * (share / SHARE) ** 2))


def luck(found: list[Score]) -> float:
    """How much the choice of sub-networks matters, as a share of the spread over splits."""
    rmse_std, ll_std = (
        float(torch.tensor([getattr(x, name)["Monte Carlo"] for x in found]).std())
        for name in ("rmse", "ll")
    )
    shares = [x.rmse_error / rmse_std for x in found] + [x.ll_error / ll_std for x in found]
    bias = sum(x.ll_bias for x in found) / len(found)
    return max(*shares, bias / (ll_std / len(found) ** 0.5))
