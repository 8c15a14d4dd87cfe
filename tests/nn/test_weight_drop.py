"""`dropkit.nn.WeightDrop` drops weights of any module, recurrent ones too."""

import gc
import re
import weakref

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import dropkit
from dropkit import Address, effective_rate, masks_at
from dropkit.errors import OptionError
from dropkit.nn import WeightDrop


class Recorder(nn.Module):
    """Hands out its weights as its forward met them."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(32, 64)

    def forward(self) -> Tensor:
        """Its weight, twice: as a module that uses it in two places would meet it."""
        return torch.stack([self.inner.weight, self.inner.weight])


def test_is_dropout_of_the_weight() -> None:
    """The module meets the dropped, scaled weight, the same wherever it uses it."""
    drop = WeightDrop(Recorder(), "inner.weight", 0.5)
    with masks_at(seed=1):
        first, second = drop()
    weight = drop.module.inner.weight
    address = Address.from_seed(1).fold(0).fold(0).fold("").fold(0)
    assert torch.equal(first, dropkit.functional.dropout(weight, 0.5, address=address))
    assert torch.equal(first, second)


def test_share(seed: int, false_alarm: float) -> None:
    """The dropped share of weights is a binomial draw."""
    drop = WeightDrop(nn.Linear(512, 512, bias=False), "weight", 0.3)
    nn.init.ones_(drop.module.weight)
    kept = int(drop(torch.eye(512)).count_nonzero())
    p_value = stats.binomtest(kept, 512 * 512, 1 - effective_rate(0.3)).pvalue
    assert p_value > false_alarm, f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"


def test_linear_closed_form() -> None:
    """DropConnect of a linear layer: ``x @ (mask * weight / (1 - p)).T + bias``."""
    linear, x = nn.Linear(6, 4), torch.randn(3, 6)
    drop = WeightDrop(linear, ["weight"], 0.5)
    with masks_at(seed=2):
        y = drop(x)
    with masks_at(seed=2):
        mask = dropkit.functional.dropout(torch.ones(4, 6), 0.5)
    torch.testing.assert_close(y, x @ (linear.weight * mask).T + linear.bias)


def test_gradient_reaches_the_raw_weight() -> None:
    """The gradient of the raw weight is that of the dropped one, dropped and scaled likewise."""
    linear, x = nn.Linear(6, 4), torch.randn(3, 6)
    with masks_at(seed=2):
        WeightDrop(linear, "weight", 0.5)(x).sum().backward()
    with masks_at(seed=2):
        mask = dropkit.functional.dropout(torch.ones(4, 6), 0.5)
    torch.testing.assert_close(linear.weight.grad, x.sum(0).expand(4, 6) * mask)
    assert torch.equal(linear.bias.grad, torch.full((4,), 3.0))


def _lstm_by_hand(lstm: nn.LSTM, hidden: Tensor, x: Tensor) -> Tensor:
    """The equations of an LSTM, with `hidden` as hidden-to-hidden weight."""
    h = c = torch.zeros(x.shape[1], lstm.hidden_size)
    outputs = []
    for step in x:
        gates = step @ lstm.weight_ih_l0.T + lstm.bias_ih_l0 + h @ hidden.T + lstm.bias_hh_l0
        i, f, g, o = gates.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    return torch.stack(outputs)


def test_lstm_against_its_equations() -> None:
    """All time steps meet one mask of the hidden-to-hidden weight; no warning is given."""
    lstm, x = nn.LSTM(5, 7), torch.randn(6, 3, 5)
    drop = WeightDrop(lstm, "weight_hh_l0", 0.5)
    with masks_at(seed=3):
        y, _ = drop(x)
    with masks_at(seed=3):
        mask = dropkit.functional.dropout(torch.ones(28, 7), 0.5)
    by_hand = _lstm_by_hand(lstm, lstm.weight_hh_l0 * mask, x)
    torch.testing.assert_close(y, by_hand)
    expected = torch.autograd.grad(by_hand.square().sum(), lstm.weight_hh_l0)
    torch.testing.assert_close(
        torch.autograd.grad(y.square().sum(), lstm.weight_hh_l0), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_eval_is_the_raw_module(kind: type[nn.RNNBase]) -> None:
    """In eval, also right after training, the outputs are the raw module's, to the bit."""
    drop = WeightDrop(kind(4, 6, 2, bidirectional=True), "weight_hh_l1_reverse", 0.5)
    x = torch.randn(5, 2, 4)
    expected, _ = drop.module(x)
    trained, _ = drop(x)
    assert not torch.equal(expected, trained)
    found, _ = drop.eval()(x)
    assert torch.equal(expected, found)
    assert torch.equal(expected, drop.module(x)[0])


def test_nothing_is_kept() -> None:
    """After the call the recurrent layer holds its parameters alone; the dropped one is gone."""
    drop = WeightDrop(nn.LSTM(4, 6), "weight_hh_l0", 0.5)
    seen: list[weakref.ref[Tensor]] = []
    drop.module.register_forward_pre_hook(
        lambda lstm, _: seen.append(weakref.ref(lstm.weight_hh_l0))
    )
    drop(torch.randn(5, 2, 4))
    gc.collect()
    assert [None] == [reference() for reference in seen]
    assert all(isinstance(weight, nn.Parameter) for weight in drop.module._flat_weights)


def test_an_error_leaves_the_raw_weights() -> None:
    """Where the module's forward fails, its parameters are back in place."""
    drop = WeightDrop(nn.Linear(4, 4), "weight", 0.5)
    before = drop.module.weight
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        drop(torch.ones(2, 5))
    assert drop.module.weight is before


def test_state_dict() -> None:
    """Keys are the module's own behind ``module.``, values the raw ones; both ways load."""
    plain = nn.LSTM(4, 6)
    drop = WeightDrop(nn.LSTM(4, 6), "weight_hh_l0", 0.5)
    drop.module.load_state_dict(plain.state_dict())
    drop(torch.randn(5, 2, 4))
    saved = drop.state_dict()
    assert [f"module.{key}" for key in plain.state_dict()] == list(saved)
    assert all(
        torch.equal(a, b) for a, b in zip(plain.state_dict().values(), saved.values(), strict=True)
    )
    other = WeightDrop(nn.LSTM(4, 6), "weight_hh_l0", 0.5)
    assert "<All keys matched successfully>" == repr(other.load_state_dict(saved))


def test_two_calls_two_masks() -> None:
    """Called twice in one forward, each call draws a mask of its own; a replay draws both again."""
    drop, x = WeightDrop(nn.Linear(8, 8), "weight", 0.5), torch.eye(8)
    with masks_at(seed=1):
        first, second = drop(x), drop(x)
    with masks_at(seed=1):
        again = [drop(x), drop(x)]
    assert not torch.equal(first, second)
    assert torch.equal(torch.stack([first, second]), torch.stack(again))


def test_several_names() -> None:
    """Each named parameter has a mask of its own."""
    drop = WeightDrop(nn.LSTM(6, 6), ["weight_ih_l0", "weight_hh_l0"], 0.5)
    for weight in (drop.module.weight_ih_l0, drop.module.weight_hh_l0):
        nn.init.ones_(weight)
    seen = []
    drop.module.register_forward_pre_hook(
        lambda lstm, _: seen.extend([lstm.weight_ih_l0, lstm.weight_hh_l0])
    )
    drop(torch.randn(5, 2, 6))
    assert {0.0, 2.0} == {x for weight in seen for x in weight.flatten().tolist()}
    assert not torch.equal(*seen)


def test_a_tied_parameter_is_left_alone() -> None:
    """Only the name that is given is dropped, though another one is tied to it."""
    pair = nn.ModuleDict({"a": nn.Linear(8, 8), "b": nn.Linear(8, 8)})
    pair["b"].weight = pair["a"].weight
    seen = []

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = pair

        def forward(self) -> None:
            seen.extend([self.pair["a"].weight, self.pair["b"].weight])

    WeightDrop(Both(), "pair.a.weight", 0.5)()
    assert seen[1] is pair["b"].weight
    assert 0.0 in seen[0].flatten().tolist()


def test_examples_do_not_name_weights() -> None:
    """The mask of a weight is the same whatever `rows` says, and however many there are."""
    drop, x = WeightDrop(nn.Linear(8, 9), "weight", 0.5), torch.eye(8)
    masks = []
    for rows in (None, 5, [3, 1, 4]):
        with masks_at(seed=1, rows=rows):
            masks.append(drop(x).tolist())
    assert [masks[0]] * 3 == masks


def test_everything_dropped() -> None:
    """At a rate of 1 the weight is +0, infinite ones too."""
    drop = WeightDrop(nn.Linear(3, 2, bias=False), "weight", 1)
    nn.init.constant_(drop.module.weight, torch.inf)
    assert [[0.0, 0.0]] == drop(torch.ones(1, 3)).tolist()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            "weight_hh",
            "`names` must name parameters of `module`; got 'weight_hh'. "
            "Near names: 'weight_hh_l0', 'weight_ih_l0', 'bias_hh_l0'.",
        ),
        (
            ["weight_hh_l0", "?"],
            "`names` must name parameters of `module`; got '?'. "
            "Its first are 'weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0'.",
        ),
        (
            [],
            "`names` must name parameters of `module`; got none. "
            "Its first are 'weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0'.",
        ),
    ],
)
def test_names_are_checked(names: list[str], message: str) -> None:
    """A name that is no parameter is refused, with what there is."""
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        WeightDrop(nn.LSTM(2, 2), names, 0.5)


def test_a_module_without_parameters() -> None:
    """There the message says so."""
    message = "`names` must name parameters of `module`; got 'weight'. It has none."
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        WeightDrop(nn.ReLU(), "weight", 0.5)
