"""Adapters of parameters, experts' among them, get the dropout that PEFT refuses."""

import re

import peft
import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit.errors import SiteError
from dropkit.finetuning.lora import ColumnDropout, drop_parameters


class Experts(nn.Module):
    """Three experts with stacked weights ``(expert, in, out)``, one for each third of the batch."""

    is_transposed = True

    def __init__(self) -> None:
        super().__init__()
        self.stacked = nn.Parameter(torch.randn(3, 8, 6))

    def forward(self, x: Tensor) -> Tensor:
        """``(3, n, 8)`` to ``(3, n, 6)``."""
        return torch.bmm(x, self.stacked)


class Net(nn.Module):
    """Experts, and a plain weight behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.experts, self.out = Experts(), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        """``(3, n, 8)`` to ``(3, n, 2)``."""
        return self.out(self.experts(x))


def _model(*targets: str) -> nn.Module:
    torch.manual_seed(0)
    config = peft.LoraConfig(
        r=2,
        target_modules=[],
        target_parameters=list(targets or ["experts.stacked", "out.weight"]),
        init_lora_weights=False,
    )
    return peft.get_peft_model(Net(), config)


X = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(2))


def test_peft_refuses_a_rate() -> None:
    """What this is for; where PEFT learns it, ours can go."""
    config = peft.LoraConfig(
        target_modules=[], target_parameters=["experts.stacked"], lora_dropout=0.1
    )
    with pytest.raises(ValueError, match="does not work with lora_dropout"):
        peft.get_peft_model(Net(), config)


def test_columns_fall_together() -> None:
    """A column of a group is dropped or kept whole, at the rate, with the scale."""
    layer = ColumnDropout(0.5, groups=3)
    weight = torch.ones(3 * 4, 1000)
    out = layer(weight).view(3, 4, 1000)
    assert torch.equal(out, out[:, :1].expand_as(out))
    assert {0.0, 2.0} == set(out.unique().tolist())
    assert not torch.equal(out[0], out[1])
    assert 380 < int((out[0, 0] == 0).sum()) < 620
    assert layer.eval()(weight) is weight


def test_it_is_dropout_of_the_adapters_input() -> None:
    """The output is that of the base plus the adapter on inputs whose features are dropped."""
    model = _model("experts.stacked")
    wrapper = model.base_model.model.experts
    base = torch.bmm(X, wrapper.get_param())
    with drop_parameters(model, 0.5), dropkit.masks_at(seed=1):
        got = wrapper(X)
    layer = ColumnDropout(0.5, groups=3)
    a, b = wrapper.lora_A["default"].weight, wrapper.lora_B["default"].weight
    change = (got - base) / wrapper.scaling["default"]
    # Solve for the mask: each expert's adapter without dropout, feature by feature.
    stacked = a.view(3, 2, 8)
    up = b.view(6, 2, 3)
    for expert in range(3):
        feature = torch.einsum("nf,rf,or->fno", X[expert], stacked[expert], up[:, :, expert])
        mask = torch.linalg.lstsq(
            feature.reshape(8, -1).T.double(), change[expert].reshape(-1, 1).double()
        ).solution.squeeze()
        assert all(min(abs(m), abs(m - 2.0)) < 1e-3 for m in mask.tolist())
    assert layer.groups == 3


def test_off_in_eval_and_undone() -> None:
    """Bit-equal to PEFT's own without dropout; the state dict never changes."""
    model = _model()
    expected, names = model(X), list(model.state_dict())
    change = drop_parameters(model, 0.5)
    assert names == list(model.state_dict())
    assert torch.equal(expected, model.eval()(X))
    assert not torch.equal(expected, model.train()(X))
    change.undo()
    assert torch.equal(expected, model(X))


def test_gradients_reach_the_adapters() -> None:
    """Of A and B, and after a call the weights are parameters again."""
    model = _model()
    with drop_parameters(model, 0.3):
        model(X).square().sum().backward()
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                assert weight.grad is not None, name
                assert bool(weight.grad.abs().sum() > 0), name
        assert all(
            "weight" not in vars(module)
            for module in model.modules()
            if isinstance(module, nn.Linear)
        )


def test_rates_by_pattern() -> None:
    """Sites are found under adapters' names, set one by one, and silenced."""
    model = _model()
    expected = model(X)
    drop_parameters(model, 0.5)
    names = [site.name for site in dropkit.find_sites(model, X)]
    assert 2 == len(names)
    assert all("lora_dropout.default" in name for name in names)
    with dropkit.set_rates(model, {"*experts*": 0.0, "*": 0.0}):
        assert torch.equal(expected, model(X))
    with dropkit.silence(model):
        assert torch.equal(expected, model(X))


def test_named_masks_repeat() -> None:
    """The same name, the same columns."""
    model = _model()
    drop_parameters(model, 0.5)
    outs = []
    for seed in (1, 1, 2):
        with dropkit.masks_at(seed=seed):
            outs.append(model(X))
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])


def test_model_without_such_adapters() -> None:
    """One sentence."""
    message = (
        "`model` must have adapters of parameters; got none. PEFT makes them with "
        "LoraConfig(target_parameters=[...])."
    )
    with pytest.raises(SiteError, match="^" + re.escape(message) + "$"):
        drop_parameters(nn.Linear(2, 2))
