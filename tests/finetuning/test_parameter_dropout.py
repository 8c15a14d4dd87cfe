"""Dropout for adapters on parameters: columns of A, one mask a call and expert."""

import re
import warnings

import peft
import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit.errors import RateError, SiteError
from dropkit.finetuning.lora import ColumnDropout, parameter_dropout

EXPERTS, IN, OUT, RANK = 3, 8, 5, 2


class Experts(nn.Module):
    """Each token goes to all experts, whose answers are summed: ``(T, in)`` to ``(T, out)``."""

    def __init__(self, is_transposed: bool) -> None:
        super().__init__()
        self.is_transposed = is_transposed
        shape = (EXPERTS, IN, OUT) if is_transposed else (EXPERTS, OUT, IN)
        self.weight = nn.Parameter(torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Sum over experts."""
        return torch.einsum("ti,eio->to" if self.is_transposed else "ti,eoi->to", x, self.weight)


class Net(nn.Module):
    """Experts, as a part of a model."""

    def __init__(self, is_transposed: bool = False) -> None:
        super().__init__()
        self.experts = Experts(is_transposed)

    def forward(self, x: Tensor) -> Tensor:
        """Theirs."""
        return self.experts(x)


def adapted(is_transposed: bool = False, **options: object) -> nn.Module:
    """With an adapter on the experts' weight, in training."""
    torch.manual_seed(0)
    config = {"target_modules": [], "target_parameters": ["experts.weight"], "r": RANK, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's, on models that are not of transformers
        model = peft.get_peft_model(Net(is_transposed), peft.LoraConfig(**config))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    return model.train()


X = torch.randn(40, IN, generator=torch.Generator().manual_seed(2))


def test_peft_refuses_a_rate() -> None:
    """Why this is here; the day that PEFT takes a rate, this fails."""
    with pytest.raises(ValueError, match="does not work with lora_dropout != 0"):
        adapted(lora_dropout=0.1)


@pytest.mark.parametrize("is_transposed", [False, True])
def test_it_is_dropout_of_the_adapters_input(is_transposed) -> None:
    """The output is that of the base, and ``B A`` of an input dropped feature by feature."""
    model = adapted(is_transposed)
    wrapper = model.base_model.model.experts
    base, scaling = wrapper.base_layer(X), wrapper.scaling["default"]
    with parameter_dropout(model, 0.5), dropkit.masks_at(seed=3):
        out = model(X)
    name = "base_model.model.experts.lora_dropout_of_columns.default"
    address = dropkit.Address.from_seed(3).fold(0).fold(0).fold(name).fold(0)
    mask = dropkit.functional.dropout(torch.ones(EXPERTS, IN), 0.5, address=address)
    assert 0 < int((mask == 0).sum()) < mask.numel()
    a = wrapper.lora_A["default"].weight.reshape(EXPERTS, RANK, IN)
    b = wrapper.lora_B["default"].weight.reshape(OUT, RANK, EXPERTS)
    change = torch.einsum("oke,eki,tei->to", b, a, X.unsqueeze(1) * mask)
    torch.testing.assert_close(out, base + scaling * change, rtol=1e-4, atol=1e-4)


def test_gradients_reach_what_was_kept() -> None:
    """Columns of A that were dropped have no gradient in this call, all others have one."""
    model = adapted()
    a = model.base_model.model.experts.lora_A["default"].weight
    with parameter_dropout(model, 0.5):
        model(X).square().sum().backward()
    columns = a.grad.reshape(EXPERTS, RANK, IN).abs().sum(1)
    assert 0 < int((columns == 0).sum()) < EXPERTS * IN


def test_expectation_is_exact(seed, false_alarm) -> None:
    """Over many calls the mean output is that without dropout."""
    from scipy import stats

    torch.manual_seed(seed)
    model, n = adapted(), 2000
    with torch.no_grad():
        truth = model(X[:1])
        with parameter_dropout(model, 0.3):
            found = torch.stack([model(X[:1]) for _ in range(n)])
    z = (found.mean(0) - truth) / (found.std(0) / n**0.5)
    p_value = 2 * stats.norm.sf(float(z.abs().max())) * z.numel()
    assert p_value > false_alarm, f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"
    off = (found.mean(0) * 1.2 - truth) / (found.std(0) * 1.2 / n**0.5)  # a scale that is wrong
    assert 2 * stats.norm.sf(float(off.abs().max())) * z.numel() < false_alarm


def test_nothing_else_changes() -> None:
    """State dict and eval are as they were; the site is found and set; undone, nothing is left."""
    model = adapted()
    state, said = list(model.state_dict()), repr(model)
    plain = model(X)
    with parameter_dropout(model, 0.4):
        assert state == list(model.state_dict())
        (site,) = [site for site in dropkit.find_sites(model) if site.rate == 0.4]
        assert site.name.endswith("experts.lora_dropout_of_columns.default")
        assert not torch.equal(plain, model(X))
        model.eval()
        assert torch.equal(plain, model(X))
        model.train()
        with dropkit.silence(model):
            assert torch.equal(plain, model(X))
        with dropkit.set_rates(model, {"*lora_dropout*": 0.0}):
            assert torch.equal(plain, model(X))
        assert state == list(model.state_dict())
    assert said == repr(model)
    assert torch.equal(plain, model(X))


def test_an_error_in_a_call_leaves_the_weight() -> None:
    """After a call that failed, the parameter is where it was."""
    model = adapted()
    weight = model.base_model.model.experts.lora_A["default"].weight
    with parameter_dropout(model, 0.4):
        with pytest.raises(RuntimeError):
            model(torch.ones(2, IN + 1))
        assert model.base_model.model.experts.lora_A["default"].weight is weight


def test_merging_drops_nothing() -> None:
    """What is merged into the weight is the adapter itself."""
    plain = adapted().merge_and_unload()(X)
    model = adapted()
    with parameter_dropout(model, 0.4):
        model(X)
        assert torch.equal(plain, model.merge_and_unload()(X))


def test_refusals() -> None:
    """No such adapter, and a rate that is none, are refused in one sentence."""
    message = (
        "`model` must have the adapter 'default' on a parameter, without such dropout yet; got "
        "none. Name parameters as target_parameters of peft.LoraConfig."
    )
    with pytest.raises(SiteError, match="^" + re.escape(message) + "$"):
        parameter_dropout(Net())
    with pytest.raises(RateError):
        parameter_dropout(adapted(), 1.5)
    model = adapted()
    with parameter_dropout(model), pytest.raises(SiteError):
        parameter_dropout(model)
    assert torch.equal(torch.ones(4, 2), ColumnDropout(0.0)(torch.ones(4, 2), 2))
