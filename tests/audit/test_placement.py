"""What the rules of placement measure, against numbers computed apart."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit.auditing.correlation import neighbour_correlation
from dropkit.auditing.observations import Observations
from dropkit.auditing.variance import closed_form, shift_at


def _by_numpy(x: Tensor) -> float:
    """The same correlation, pair by pair of columns and of rows."""
    found = []
    for channel in x.transpose(0, 1).numpy():
        right = np.corrcoef(channel[..., 1:].ravel(), channel[..., :-1].ravel())[0, 1]
        down = np.corrcoef(channel[..., 1:, :].ravel(), channel[..., :-1, :].ravel())[0, 1]
        found.append((right + down) / 2)
    return float(np.mean(found))


@pytest.mark.parametrize("shape", [(3, 2, 12, 9), (2, 3, 4, 8, 8)])
def test_correlation_is_numpys(shape: tuple[int, ...]) -> None:
    """Of maps in two and three dimensions."""
    x = torch.randn(shape, dtype=torch.float64).cumsum(-1)
    assert _by_numpy(x) == pytest.approx(neighbour_correlation(x), abs=1e-12)


def test_a_checkerboard_is_opposite() -> None:
    """Neighbours that are each other's opposite correlate at -1; channels that do not vary are left out."""
    board = (-1.0) ** torch.arange(16).add(torch.arange(16)[:, None])
    x = torch.stack([board, torch.ones(16, 16)]).expand(2, 2, 16, 16)
    assert neighbour_correlation(x) == pytest.approx(-1.0)


@pytest.mark.parametrize("shape", [(1, 1, 3, 3), (64, 2, 1, 16), (64, 2, 16, 1)])
def test_too_few_neighbours(shape: tuple[int, ...]) -> None:
    """Maps without enough neighbours tell nothing."""
    assert neighbour_correlation(torch.randn(shape)) is None


def test_closed_form_by_enumeration() -> None:
    """It is the variance over all masks and all elements, counted out for p = 1/4."""
    x = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64)
    outcomes = torch.cat([torch.zeros(3, dtype=x.dtype), *[x / 0.75] * 3])  # one of four is dropped
    expected = outcomes.var(correction=0) / x.var(correction=0)
    torch.testing.assert_close(closed_form(0.25, x.mean(), x.var(correction=0)), expected)


def test_shift_is_measured_channel_by_channel() -> None:
    """Both variances are those of what the batch norm is given, with the same batch statistics before it."""
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 6), nn.Dropout(0.5), nn.BatchNorm1d(6))
    x = torch.randn(200, 4) + 1
    seen = Observations(model, x)
    shift = shift_at(seen, model[3], 0.5)
    with torch.no_grad(), torch.random.fork_rng():
        inner = model[:2](x).double()
        torch.manual_seed(0)  # as the runs of an audit begin
        dropped = model[2](model[:2](x)).double()
    ratio = dropped.var(0, correction=0) / inner.var(0, correction=0)
    assert ratio.median().item() == pytest.approx(shift.median)
    assert (ratio.min().item(), ratio.max().item()) == pytest.approx((shift.low, shift.high))
    expected = closed_form(0.5, inner.mean(0), inner.var(0, correction=0)).median().item()
    assert expected == pytest.approx(shift.expected)
    assert (6, 200) == (shift.channels, shift.count)


def test_a_batch_norm_is_reported_once() -> None:
    """Of several sites that reach a batch norm, the nearest is named, and how many there are."""
    model = nn.Sequential(
        nn.Linear(8, 32), nn.Dropout(0.5), nn.Linear(32, 32), nn.Dropout(0.5), nn.BatchNorm1d(32)
    )
    found = dropkit.audit(model, torch.randn(64, 8), select=["dropout-before-batch-norm"]).findings
    assert [("3", ["1"])] == [(one.site, one.evidence["other_sites"]) for one in found]
    assert "with 1 other site:" in found[0].message


def test_rules_cost_one_forward_at_most() -> None:
    """Without a batch norm behind dropout the rules of both families add no run, else one."""
    counts = []
    for norm in (nn.LayerNorm(8), nn.BatchNorm1d(8)):
        model, n = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), norm), []
        model[0].register_forward_hook(lambda *_, n=n: n.append(1))
        dropkit.audit(model, torch.randn(16, 8), select=["placement", "scale"])
        counts.append(len(n))
    assert [2, 3] == counts
