"""The same model, on dropkit's core."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from scipy import stats
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import dropkit

IDS = torch.arange(2 * 12).reshape(2, 12) % 50


class Functional(nn.Module):
    """Dropout as people also write it: calls of functions, with rates that are plain numbers."""

    def __init__(self, *, checkpointed: bool | None = None) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)
        self.drop = nn.Dropout(0.5)
        self.checkpointed = checkpointed

    def block(self, x: Tensor) -> Tensor:
        """A module, a function and attention, each with dropout."""
        x = F.dropout(self.drop(self.inner(x)).sin(), 0.5, self.training).unsqueeze(1)
        p = 0.5 if self.training else 0.0
        return F.scaled_dot_product_attention(x, x, x, dropout_p=p).squeeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block, checkpointed or not."""
        if self.checkpointed is None:
            return self.block(x)
        return checkpoint(self.block, x, use_reentrant=self.checkpointed)


def bert(implementation: str) -> nn.Module:
    """A small BERT of Hugging Face's."""
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        attn_implementation=implementation,
    )
    return transformers.BertModel(config)


def gpt2() -> nn.Module:
    """A small GPT-2 of Hugging Face's."""
    transformers = pytest.importorskip("transformers")
    return transformers.GPT2Model(
        transformers.GPT2Config(vocab_size=50, n_positions=32, n_embd=16, n_layer=2, n_head=2)
    )


MODELS = {
    "bert, eager": (lambda: bert("eager"), IDS),
    "bert, sdpa": (lambda: bert("sdpa"), IDS),
    "gpt-2": (gpt2, IDS),
    "nn.TransformerEncoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2),
        torch.linspace(-1, 1, 2 * 12 * 16).reshape(2, 12, 16),
    ),
    "mlp": (
        lambda: nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 4)),
        torch.linspace(-1, 1, 6 * 16).reshape(6, 16),
    ),
    "functional": (Functional, torch.linspace(-1, 1, 64).reshape(8, 8)),
}


def output(model: nn.Module, x: Tensor) -> Tensor:
    """The first tensor that comes out."""
    y = model(x)
    return y if isinstance(y, Tensor) else y[0]


@pytest.fixture(params=MODELS)
def case(request):
    """A model and an input for it."""
    make, x = MODELS[request.param]
    torch.manual_seed(0)
    return make(), x


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_eval_state_and_repr_stay(case) -> None:
    """Outputs in eval are bit-equal, and neither the state dict nor a line of the repr changes."""
    model, x = case
    expected, shown, state = output(model.eval(), x), repr(model), list(model.state_dict())
    with dropkit.accelerate(model):
        assert torch.equal(expected, output(model, x))
        assert (shown, state) == (repr(model), list(model.state_dict()))
        other = type(model).__name__
    assert torch.equal(expected, output(model, x))
    assert other == type(model).__name__


def test_no_mask_is_torchs_own(case) -> None:
    """In training every mask of the model is drawn by dropkit: torch's own would draw none."""
    model, x = case
    names = ("dropout", "native_dropout", "bernoulli")
    with dropkit.accelerate(model.train()):
        with torch.profiler.profile() as profile:
            output(model, x).square().sum().backward()
        ran = {event.key.removeprefix("aten::") for event in profile.key_averages()}
        assert ran.isdisjoint({*names, "bernoulli_"})
        with dropkit.masks_at(seed=1):
            first = output(model, x)
        with dropkit.masks_at(seed=1):
            assert torch.equal(first, output(model, x))
        with dropkit.masks_at(seed=2):
            assert not torch.equal(first, output(model, x))


def test_undo_gives_back_everything(case) -> None:
    """After undo, also one that an error brings about, torch's own functions and classes stand."""
    model, _ = case
    before = F.dropout, F.scaled_dot_product_attention
    classes = [type(module) for module in model.modules()]
    handle = dropkit.accelerate(model)
    assert before[0] is not F.dropout
    handle.undo()
    handle.undo()
    with pytest.raises(ZeroDivisionError), dropkit.accelerate(model):
        raise ZeroDivisionError
    assert before == (F.dropout, F.scaled_dot_product_attention)
    assert classes == [type(module) for module in model.modules()]
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_other_models_are_left_alone() -> None:
    """Beside an accelerated model, another one draws torch's masks; process-wide it does not."""
    model, other = Functional(), nn.Sequential(nn.Dropout())
    torch.manual_seed(3)
    expected = other(torch.ones(64))
    with dropkit.accelerate(model):
        torch.manual_seed(3)
        assert torch.equal(expected, other(torch.ones(64)))
        with dropkit.accelerate():
            torch.manual_seed(3)
            found = other(torch.ones(64))
    torch.manual_seed(3)
    assert torch.equal(found, dropkit.functional.dropout(torch.ones(64)))


@pytest.mark.parametrize("name", [None, dropkit.masks_at(seed=4)])
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpoints_recompute_on_the_same_core(use_reentrant, name) -> None:
    """What is recomputed, after the forward has ended, draws forward's masks."""
    x = torch.linspace(-1, 1, 64).reshape(8, 8)
    gradients = []
    for checkpointed in (None, use_reentrant):
        torch.manual_seed(0)
        model, leaf = Functional(checkpointed=checkpointed), x.clone().requires_grad_()
        with dropkit.accelerate(model):
            torch.manual_seed(1)
            if name is None:
                y = model(leaf)
            else:
                with name:
                    y = model(leaf)
            y.square().sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)


def test_losses_have_the_same_distribution(false_alarm) -> None:
    """Losses in training under torch's masks and under dropkit's come from one distribution."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 1))
    x = torch.randn(8, 16)

    def losses() -> list[float]:
        return [model(x).square().mean().item() for _ in range(2000)]

    torchs = losses()
    with dropkit.accelerate(model):
        ours = losses()
        with dropkit.set_rates(model, 0.5):
            others = losses()
    assert stats.ks_2samp(torchs, ours).pvalue > false_alarm
    assert stats.ks_2samp(torchs, others).pvalue < false_alarm, "the check has no power"


@pytest.mark.parametrize("name", ["mlp", "functional"])
def test_compiled_model(name) -> None:
    """An accelerated model compiles, and draws what it draws in eager mode."""
    torch._dynamo.reset()
    make, x = MODELS[name]
    model = make()
    with dropkit.accelerate(model):
        torch.manual_seed(2)
        expected = output(model, x)
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        torch.manual_seed(2)
        torch.testing.assert_close(expected, output(compiled, x))
