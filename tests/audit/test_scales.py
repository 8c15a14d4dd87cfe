"""What is read off a mask: its factor, its independent elements, and whether the mean shifts."""

import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit.auditing.drops import Drop
from dropkit.auditing.scales import scaling_of
from dropkit.sites.caller import Caller
from dropkit.sites.watch import Event


def drop_of(x: Tensor, y: Tensor) -> Drop:
    """A drop as a run would note it."""
    event = Event(Caller(nn.Identity(), None), "rand", 0.5, is_training=True)
    return Drop(event, 0, tuple(y.shape), x, y)


class Masked(nn.Module):
    """A mask of uniform numbers at rate `p`, and a factor."""

    def __init__(self, p: float, factor: float) -> None:
        super().__init__()
        self.keep, self.factor, self.inner = 1 - p, factor, nn.Linear(8, 32)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 8)`` to ``(batch, 32)``."""
        x = self.inner(x)
        return x * (torch.rand_like(x) < self.keep) * self.factor if self.training else x


@pytest.mark.parametrize(
    ("shape", "n"),
    [((6, 5, 4), 120), ((6, 1, 4), 24), ((6, 1, 1), 6), ((1, 5, 4), 20), ((1, 1, 4), 4)],
)
def test_independent_elements(shape: tuple[int, ...], n: int) -> None:
    """Elements that share their fate count once, along whichever dimension they do."""
    mask = torch.ones(shape)
    mask.view(-1)[:: 3 if mask.numel() > 3 else 2] = 0
    x = torch.randn(6, 5, 4)
    scaling = scaling_of(drop_of(x, x * mask * 2))
    assert (n, int(mask.sum())) == (scaling.n, scaling.n_kept)
    assert scaling.is_near(2.0)


def test_zeros_that_come_in_do_not_tell() -> None:
    """What was zero before counts neither as kept nor as dropped."""
    x = torch.tensor([[0.0, 1.0, 2.0], [3.0, 5.0, -1.0]])
    y = torch.tensor([[0.0, 2.0, 0.0], [6.0, 0.0, 0.0]])
    scaling = scaling_of(drop_of(x, y))
    assert (5, 2, 2.0) == (scaling.n, scaling.n_kept, scaling.factor)


@pytest.mark.parametrize(
    "y",
    [
        torch.tensor([2.0, 0.0, 5.0]),
        torch.tensor([2.0, 4.0, 6.0]),
        torch.zeros(3),
        torch.tensor([2.0, 0.0, torch.inf]),
        torch.tensor([-1.0, 0.0, -3.0]),
    ],
    ids=["two factors", "nothing dropped", "nothing kept", "infinite", "negative"],
)
def test_what_is_no_mask_with_a_scale(y: Tensor) -> None:
    """Only zeros and one positive factor make a scaling."""
    assert scaling_of(drop_of(torch.tensor([1.0, 2.0, 3.0]), y)) is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rounding_is_no_bias(dtype: torch.dtype) -> None:
    """In each type the scale of dropout is the factor, and the mean holds 1."""
    x = torch.randn(4096).to(dtype)
    scaling = scaling_of(drop_of(x, dropkit.functional.dropout(x, 0.3)))
    assert scaling.is_near(1 / (1 - dropkit.effective_rate(0.3)))
    assert scaling.mean.holds(1.0, scaling.slack)


@pytest.mark.parametrize("p", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("rows", [1, 4, 64])
def test_right_scales_are_silent(p: float, rows: int, seed: int) -> None:
    """Over 20 inputs and models, none with the right scale is reported, however small."""
    for number in range(20):
        torch.manual_seed(seed + number)
        found = dropkit.audit(Masked(p, 1 / (1 - p)), torch.randn(rows, 8), select=["scale"])
        assert () == found.findings, f"replay: DK_TEST_SEED={seed + number}"


@pytest.mark.parametrize(
    ("p", "factor", "code"),
    [
        (0.1, 1.0, "DRP401"),
        (0.1, 1 / 0.81, "DRP402"),
        (0.1, 1 / 0.8, "DRP402"),
        (0.1, 1 / 0.6, "DRP403"),
        (0.5, 1.2, "DRP403"),
    ],
)
def test_wrong_scales_are_found(p: float, factor: float, code: str) -> None:
    """The power twin: with 4,096 elements each wrong scale is found, under the name that fits."""
    found = dropkit.audit(Masked(p, factor), torch.randn(128, 8), select=["scale"]).findings
    assert [code] == [finding.code for finding in found]
