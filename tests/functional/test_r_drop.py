"""`dropkit.functional.r_drop_loss` is the published formula, with cross entropy's options."""

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it

import dropkit
from dropkit.errors import OptionError
from dropkit.functional import r_drop_loss


def _by_hand(one: Any, other: Any, target: int, alpha: float) -> float:
    """Equation 4 of the paper for one example, from probabilities."""
    p, q = one.double().softmax(0), other.double().softmax(0)
    kl = lambda a, b: float((a * (a / b).log()).sum())  # noqa: E731 - as the paper writes it
    return float(-p[target].log() - q[target].log() + alpha * (kl(p, q) + kl(q, p)) / 2)


def test_formula() -> None:
    """Both negative log likelihoods, and half of each divergence times alpha."""
    one, other = torch.randn(5, 7), torch.randn(5, 7)
    targets = torch.tensor([0, 6, 3, 3, 1])
    expected = [_by_hand(*row, alpha=0.7) for row in zip(one, other, targets.tolist(), strict=True)]
    found = r_drop_loss(one, other, targets, 0.7, reduction="none")
    torch.testing.assert_close(found, torch.tensor(expected))
    torch.testing.assert_close(r_drop_loss(one, other, targets, 0.7), found.mean())
    torch.testing.assert_close(r_drop_loss(one, other, targets, 0.7, reduction="sum"), found.sum())


def test_divergence_of_two_coins() -> None:
    """A closed form: the symmetric divergence of two coins is ``(p - q) * (logit p - logit q)``."""
    a, b = 1.5, -0.25
    one, other = torch.tensor([[a, 0.0]]), torch.tensor([[b, 0.0]])
    targets = torch.tensor([0])
    p, q = (torch.tensor(x).sigmoid() for x in (a, b))
    divergence = r_drop_loss(one, other, targets, 2.0) - r_drop_loss(one, other, targets, 0.0)
    torch.testing.assert_close(divergence, (p - q) * (a - b))


def test_agreement_costs_nothing() -> None:
    """Equal logits leave twice the cross entropy, whatever alpha, and its gradient."""
    logits = torch.randn(4, 3, requires_grad=True)
    targets = torch.tensor([0, 1, 2, 0])
    loss = r_drop_loss(logits, logits, targets, 1000.0)
    torch.testing.assert_close(loss, 2 * F.cross_entropy(logits, targets))
    torch.testing.assert_close(
        torch.autograd.grad(loss, logits),
        torch.autograd.grad(2 * F.cross_entropy(logits, targets), logits),
    )


def test_symmetric() -> None:
    """The two sub-networks may change places."""
    one, other = torch.randn(4, 3), torch.randn(4, 3)
    targets = torch.tensor([0, 1, 2, 0])
    assert torch.equal(r_drop_loss(one, other, targets), r_drop_loss(other, one, targets))


@pytest.mark.parametrize("shape", [(6, 5), (2, 5, 3), (2, 5, 2, 2), (5,)])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_shapes_and_reductions_are_cross_entropys(
    shape: tuple[int, ...], reduction: Any, kind: str
) -> None:
    """Without the divergence it is the sum of two cross entropies, ignored targets included."""
    one, other = torch.randn(shape), torch.randn(shape)
    if kind == "classes":
        targets: Any = torch.randint(0, 5, shape[:1] + shape[2:] if len(shape) > 1 else ())
        if targets.dim():
            targets.view(-1)[0] = 4
        options = {"reduction": reduction, "ignore_index": 4 if targets.dim() else -100}
    else:
        targets = torch.randn(shape).softmax(min(1, len(shape) - 1))
        options = {"reduction": reduction}
    expected = sum(F.cross_entropy(logits, targets, **options) for logits in (one, other))
    torch.testing.assert_close(r_drop_loss(one, other, targets, 0.0, **options), expected)


def test_ignored_positions_count_for_nothing() -> None:
    """Neither the divergence nor the mean's count sees them, and they get no gradient."""
    one, other = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    targets = torch.tensor([0, -100, 2, -100])
    loss = r_drop_loss(one, other, targets, 3.0)
    torch.testing.assert_close(loss, r_drop_loss(one[::2], other[::2], targets[::2], 3.0))
    (grad,) = torch.autograd.grad(loss, one)
    assert [[0.0] * 3] * 2 == grad[1::2].tolist()


def test_classes_that_both_rule_out() -> None:
    """Logits of -inf on both sides are no disagreement, in the loss and in its gradient."""
    one, other = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    targets = torch.tensor([0, 1, 1, 0])
    ruled_out = torch.full((4, 1), -torch.inf)
    wide = [torch.cat([x, ruled_out], 1) for x in (one, other)]
    expected, found = r_drop_loss(one, other, targets), r_drop_loss(*wide, targets)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, one), torch.autograd.grad(expected, one))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves(dtype: torch.dtype) -> None:
    """Halves are computed in float32."""
    one, other = (torch.randn(4, 3).to(dtype) for _ in range(2))
    targets = torch.tensor([0, 1, 2, 0])
    assert torch.equal(
        r_drop_loss(one, other, targets), r_drop_loss(one.float(), other.float(), targets)
    )


def test_gradcheck() -> None:
    """The gradient of both logits is right."""
    one, other = (torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    targets = torch.tensor([0, 1, -100, 0])
    assert torch.autograd.gradcheck(lambda a, b: r_drop_loss(a, b, targets, 2.0), (one, other))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"logits_2": torch.zeros(2, 4)},
            "`logits_2` must have the shape of `logits_1`, (2, 3); got (2, 4).",
        ),
        ({"alpha": -1.0}, "`alpha` must be at least 0; got -1.0."),
        ({"alpha": float("nan")}, "`alpha` must be at least 0; got nan."),
        (
            {"reduction": "average"},
            "`reduction` must be one of 'none', 'mean', 'sum'; got 'average'.",
        ),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    """A wrong argument is refused."""
    usual = {"logits_1": torch.zeros(2, 3), "logits_2": torch.zeros(2, 3)}
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        dropkit.functional.r_drop_loss(**usual | arguments, targets=torch.tensor([0, 1]))
