"""The UCI example: many networks at once are each what they would be alone."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit.errors import DataError

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
TAUS = torch.tensor([[0.1, 0.1], [0.2, 0.3]], dtype=torch.float64)
SPLITS, WIDTH, EPOCHS, RATE = [0, 4], 7, 3, 0.2


@pytest.fixture(scope="module")
def uci() -> Iterator[SimpleNamespace]:
    """The modules of the example, which import each other by name."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        import uci
        import uci_arms
        import uci_data
        import uci_networks

        yield SimpleNamespace(main=uci, arms=uci_arms, data=uci_data, networks=uci_networks)
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture
def rows(uci):
    """Two splits of 300 rows: batches of 128, 128 and 44; the last feature does not vary."""
    x = torch.randn(2, 300, 3, dtype=torch.float64) * 5 + 2
    x[..., 2] = 1.0
    y = x[..., :1] * 2 + torch.randn(2, 300, 1, dtype=torch.float64)
    return uci.data.Rows(x, y)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A set of 60 rows with two splits, under the name of one of UCI's."""
    place = tmp_path / "data" / "yacht"
    place.mkdir(parents=True)
    draw = np.random.default_rng(0)
    x = draw.normal(size=(60, 2))
    np.savetxt(place / "data.txt", np.column_stack([x, x[:, :1] + 0.1 * draw.normal(size=(60, 1))]))
    for split in range(2):
        order = draw.permutation(60)
        np.savetxt(place / f"index_train_{split}.txt", order[:54])
        np.savetxt(place / f"index_test_{split}.txt", order[54:])
    for name, values in {
        "index_features": [0, 1],
        "index_target": [2],
        "dropout_rates": [0.01, 0.1],
        "tau_values": [2.0, 8.0],
        "n_hidden": [5],
        "n_epochs": [3],
    }.items():
        np.savetxt(place / f"{name}.txt", values)
    return place


def alone(uci, rows, at: int, tau: float, rate: float) -> nn.Sequential:
    """One network, trained with autograd as anybody would write it; in scaled units."""
    net = uci.networks.network(3, WIDTH, rate)
    weights = uci.networks.initial("set", [SPLITS[at]], 3, WIDTH)
    with torch.no_grad():
        net.first.weight.copy_(weights[0][0].T)
        net.second.weight.copy_(weights[2][0].T)
        net.first.bias.zero_()
        net.second.bias.zero_()
    scaled = uci.data.Scale.of(rows).apply(rows)
    x, y = scaled.x[at], scaled.y[at]
    optimizer = torch.optim.Adam(net.parameters())
    draw = torch.Generator().manual_seed(uci.networks.seed_of("set", SPLITS[at], "order"))
    seed, step = dropkit.Address.from_seed(0).fold("set").key, 0
    for _ in range(EPOCHS):
        for now in torch.randperm(len(x), generator=draw).split(uci.networks.BATCH):
            with dropkit.masks_at(seed, step=step, rows=SPLITS[at] * len(now)):
                loss = nn.functional.mse_loss(net(x[now]), y[now])
            weight = uci.networks.l2(rate, torch.tensor(tau), len(x))
            loss = loss + weight * sum(
                w.square().sum() for w in (net.first.weight, net.second.weight)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return net


@pytest.mark.parametrize("lengthscale", [0.01, 30.0])  # with the published one L2 hardly acts
def test_networks_side_by_side_are_what_each_is_alone(
    uci, rows, monkeypatch, lengthscale: float
) -> None:
    """Any of ``(T, S)`` networks ends as one that autograd and Adam trained under its masks."""
    monkeypatch.setattr(uci.networks, "LENGTHSCALE", lengthscale)
    networks = uci.networks.train("set", rows, SPLITS, RATE, TAUS, WIDTH, EPOCHS)
    scale = uci.data.Scale.of(rows)
    x = scale.apply(rows).x
    for t, at in ((0, 0), (1, 0), (1, 1)):
        net = alone(uci, rows, at, float(TAUS[t, at]), RATE).eval()
        expected = net(x[at]).double() * scale.y_std[at] + scale.y_mean[at]
        found = networks.single(t, at).eval()(x[at]).double()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_other_masks_give_another_network(uci, rows) -> None:
    """The check above can fail: a neighbouring split's masks lead elsewhere."""
    networks = uci.networks.train("set", rows, SPLITS, RATE, TAUS, WIDTH, EPOCHS)
    others = uci.networks.train("set", rows, [0, 5], RATE, TAUS, WIDTH, EPOCHS)
    assert torch.equal(networks.weights[0][:, 0], others.weights[0][:, 0])
    assert not torch.allclose(networks.weights[0][:, 1], others.weights[0][:, 1], atol=1e-2)
