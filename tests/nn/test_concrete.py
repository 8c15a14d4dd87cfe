"""`dropkit.nn.ConcreteDropout` learns its rate: the relaxed mask, its law, its regularizer."""

import copy
import gc
import math
import re
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from dropkit import Address, masks_at
from dropkit.core import ops
from dropkit.core.words import drawn_words
from dropkit.errors import OptionError, RateError
from dropkit.functional import concrete_dropout
from dropkit.nn import ConcreteDropout

ADDRESS = Address.from_seed(5)
N = 1 << 16


def _logit(p: float) -> Tensor:
    return torch.tensor(math.log(p / (1 - p)))


def _kept(p: float, temperature: float, n: int = N, address: Address | None = None) -> Tensor:
    """The relaxed mask without its scale, in float64."""
    ones = torch.ones(n, dtype=torch.float64)
    return concrete_dropout(ones, _logit(p).double(), temperature, address=address) * (1 - p)


def test_formula() -> None:
    """It is the published formula on uniform numbers: the core's words over 2**32."""
    x, p, t = torch.randn(6, 5, dtype=torch.float64), 0.2, 0.3
    words = drawn_words(ops.mask_tensor(ADDRESS.key, ADDRESS.stream, 1), (6, 5), x, None)
    u = (words.double() + 0.5) / 2**32
    drop = (math.log(p) - math.log(1 - p) + u.log() - (1 - u).log()) / t
    expected = x * (1 - drop.sigmoid()) / (1 - p)
    found = concrete_dropout(x, _logit(p).double(), t, address=ADDRESS)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_law(p: float, temperature: float, seed: int, false_alarm: float) -> None:
    """The logit of the mask is logistic, at minus the rate's logit over the temperature."""
    kept = _kept(p, temperature)
    drawn = (kept.log() - (1 - kept).log()) * temperature
    p_value = stats.kstest(drawn.numpy(), stats.logistic(loc=-float(_logit(p))).cdf).pvalue
    assert p_value > false_alarm, f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"


def test_law_check_can_fail(false_alarm: float) -> None:
    """The check sees a rate of 0.12 instead of 0.1."""
    kept = _kept(0.12, 1.0)
    law = stats.logistic(loc=-float(_logit(0.1)))
    assert stats.kstest((kept.log() - (1 - kept).log()).numpy(), law.cdf).pvalue < false_alarm


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0, 3.0])
def test_share_below_a_half(p: float, temperature: float, seed: int, false_alarm: float) -> None:
    """At any temperature the share `p` is nearer to dropped than to kept: a binomial draw."""
    dropped = int((_kept(p, temperature) < 0.5).sum())
    p_value = stats.binomtest(dropped, N, p).pvalue
    assert p_value > false_alarm, f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"


@pytest.mark.parametrize("p", [0.1, 0.5001, 0.8])
def test_expectation(p: float, seed: int, false_alarm: float) -> None:
    """At temperature 1 the mean is ``1/b + a log(a) / b**2`` with a = p/(1-p), b = 1 - a."""
    a = p / (1 - p)
    b = 1 - a
    expected = 1 / b + a * math.log(a) / b**2
    # Hoeffding: a mean of N numbers in [0, 1] is this far off with a chance of at most the alarm
    allowed = math.sqrt(math.log(2 / false_alarm) / (2 * N))
    assert abs(float(_kept(p, 1.0).mean()) - expected) < allowed, f"replay: DK_TEST_SEED={seed}"


def test_limit_is_dropout() -> None:
    """As the temperature goes to 0, it becomes dropout of what it drops more than half."""
    soft, hard = _kept(0.3, 1.0, address=ADDRESS), _kept(0.3, 1e-4, address=ADDRESS)
    is_clear = (soft - 0.5).abs() > 0.01
    assert torch.equal((soft > 0.5).double()[is_clear], hard.round(decimals=6)[is_clear])


def test_gradients() -> None:
    """For `x` and for the logit they are right, to the second order, and draw the noise again."""
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    logit = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)

    def call(x: Tensor, logit: Tensor) -> Tensor:
        return concrete_dropout(x, logit, 0.5, address=ADDRESS)

    assert torch.autograd.gradcheck(call, (x, logit))
    assert torch.autograd.gradgradcheck(call, (x, logit))


def test_gradient_of_the_logit() -> None:
    """A closed form: ``sum(y * (p - (1 - k) / t))`` with k the mask."""
    p, t, x = 0.2, 0.5, torch.randn(100, dtype=torch.float64)
    logit = _logit(p).double().requires_grad_()
    y = concrete_dropout(x, logit, t, address=ADDRESS)
    k = y.detach() / x * (1 - p)
    (found,) = torch.autograd.grad(y.sum(), logit)
    torch.testing.assert_close(found, (y * (p - (1 - k) / t)).sum().detach())


def test_nothing_drawn_is_stored() -> None:
    """What hangs in the graph between forward and backward is the input, and some numbers."""
    x, logit = torch.ones(50, 40, requires_grad=True), _logit(0.2).requires_grad_()
    y = concrete_dropout(x, logit)
    gc.collect()
    large = [t for t in gc.get_objects() if type(t) is Tensor and t.shape == x.shape]
    assert 2 == len({t.data_ptr() for t in large})
    assert {x.data_ptr(), y.data_ptr()} == {t.data_ptr() for t in large}


def test_dropped_is_plus_zero() -> None:
    """Where the mask rounds to 0 the output is +0, infinite or not, and so is the gradient."""
    x = torch.full((1000,), torch.inf, requires_grad=True)
    y = concrete_dropout(x, _logit(0.5), 0.01, address=ADDRESS)
    assert 0.0 in y.tolist()
    assert not y.isnan().any()


def test_noise_shape() -> None:
    """Elements that share their noise share their number."""
    y = concrete_dropout(torch.ones(4, 3, 5), _logit(0.5), 3.0, noise_shape=(None, None, 1))
    assert torch.equal(y[:, :, :1].expand(4, 3, 5), y)
    assert 12 == len(y.unique())


def test_layer_drops_the_input() -> None:
    """The layer is its module on the function's output; convolutions lose whole channels."""
    linear = nn.Linear(6, 2)
    layer, x = ConcreteDropout(linear, 0.3), torch.randn(4, 6)
    with masks_at(1):
        y = layer(x)
    with masks_at(1):
        assert torch.equal(linear(concrete_dropout(x, layer.p_logit)), y)
    conv = nn.Conv2d(3, 2, 1)
    layer, x = ConcreteDropout(conv, 0.3, temperature=0.2), torch.randn(4, 3, 5, 5)
    with masks_at(1):
        y = layer(x)
    with masks_at(1):
        dropped = concrete_dropout(x, layer.p_logit, 0.2, noise_shape=(None, None, 1, 1))
    torch.testing.assert_close(conv(dropped), y)


def _regularized(p: float, **options: Any) -> tuple[ConcreteDropout, Tensor]:
    layer = ConcreteDropout(nn.Linear(3, 2), p, **options)
    return layer, layer.regularization()


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_regularization(p: float) -> None:
    """It is the published formula, and its gradients are those of pencil and paper."""
    layer, term = _regularized(p, weight_regularizer=0.7, dropout_regularizer=0.3)
    weight = layer.module.weight
    squares = float(weight.detach().square().sum())
    negative_entropy = p * math.log(p) + (1 - p) * math.log(1 - p)
    expected = 0.7 * squares / (1 - p) + 0.3 * 3 * negative_entropy
    torch.testing.assert_close(term.detach(), torch.tensor(expected))
    term.backward()
    torch.testing.assert_close(weight.grad, 2 * 0.7 * weight.detach() / (1 - p))
    assert layer.module.bias.grad is None
    # d/dlogit: squares * p / (1 - p), and logit * p * (1 - p) of the entropy
    expected = 0.7 * squares * p / (1 - p) + 0.3 * 3 * float(_logit(p)) * p * (1 - p)
    torch.testing.assert_close(layer.p_logit.grad, torch.tensor(expected))


def test_entropy_alone_pulls_to_one_half() -> None:
    """Without weights to pay for, the rate that is best is 1/2."""
    layer = ConcreteDropout(nn.Linear(3, 2), 0.1, weight_regularizer=0.0, dropout_regularizer=1.0)
    optimizer = torch.optim.Adam([layer.p_logit], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        layer.regularization().backward()
        optimizer.step()
    assert pytest.approx(0.5, abs=1e-3) == layer.p


def test_set_to_zero() -> None:
    """A rate that is set to 0 acts so, and stays there: nothing becomes nan."""
    layer, x = ConcreteDropout(nn.Linear(3, 2)), torch.ones(2, 3)
    layer.p = 0
    assert torch.equal(layer.module(x), layer(x))
    (layer(x).sum() + layer.regularization()).backward()
    assert (0.0, 0.0) == (layer.p, float(layer.p_logit.grad))


def test_state_dict_and_copies() -> None:
    """The learned rate is part of the state; a copy learns for itself."""
    layer = ConcreteDropout(nn.Linear(3, 2), 0.3)
    assert ["p_logit", "module.weight", "module.bias"] == list(layer.state_dict())
    other = copy.deepcopy(layer)
    layer.p = 0.6
    assert pytest.approx(0.3) == other.p
    other.load_state_dict(layer.state_dict())
    assert pytest.approx(0.6) == other.p


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: ConcreteDropout(nn.Linear(2, 2), 0),
            RateError,
            "`p` must be above 0 to be learned; got 0.",
        ),
        (
            lambda: setattr(ConcreteDropout(nn.Linear(2, 2)), "p", 1.0),
            RateError,
            "`p` must be a drop rate below 1 for concrete dropout; got 1.0.",
        ),
        (
            lambda: ConcreteDropout(nn.Linear(2, 2), temperature=0),
            OptionError,
            "`temperature` must be above 0; got 0.",
        ),
        (
            lambda: ConcreteDropout(nn.Linear(2, 2), weight_regularizer=-1.0),
            OptionError,
            "`weight_regularizer` must be at least 0; got -1.0.",
        ),
        (
            lambda: ConcreteDropout(nn.LayerNorm(2)),
            OptionError,
            "`n_inputs` must be given: LayerNorm has neither `in_features` nor `in_channels`.",
        ),
        (
            lambda: concrete_dropout(torch.ones(2), _logit(0.5), math.nan),
            OptionError,
            "`temperature` must be above 0; got nan.",
        ),
    ],
)
def test_arguments_are_checked(call: Any, error: type[Exception], message: str) -> None:
    """A wrong argument is refused in one sentence."""
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        call()
