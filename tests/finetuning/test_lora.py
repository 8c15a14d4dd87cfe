"""PEFT's LoRA layers on dropkit's core: the same loss, and nothing kept for dropout."""

import contextlib
import copy
import pickle
import re
import warnings

import peft
import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

import dropkit
from dropkit.errors import CoreError
from dropkit.sites.adapters import LoraDropout

IDS = torch.randint(0, 30, (2, 6), generator=torch.Generator().manual_seed(1))
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj", "down_proj"]
HIDDEN, INNER = 16, 24


def lora(p: float = 0.2, **options: object) -> nn.Module:
    """A Llama of one layer with adapters on all linear maps, in training."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=30,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=1,
        num_attention_heads=2,
        attn_implementation="eager",
    )
    settings = {"target_modules": TARGETS, **options}
    with warnings.catch_warnings():
        # peft 0.21 reads an attribute that transformers 5.24 has renamed
        warnings.simplefilter("ignore", FutureWarning)
        model = peft.get_peft_model(
            LlamaForCausalLM(config), peft.LoraConfig(r=2, lora_dropout=p, **settings)
        )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    return model.train()


def step(model: nn.Module, name: contextlib.AbstractContextManager[object] | None = None) -> list:
    """Loss and gradients of a step from a fixed state."""
    torch.manual_seed(5)
    model.zero_grad()
    with name or contextlib.nullcontext():
        loss = model(input_ids=IDS, labels=IDS).loss
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


def kept(model: nn.Module) -> int:
    """Bytes of the tensors that autograd keeps of a forward."""
    saved: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        saved[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    held = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: held.append(x) or keep(x), lambda x: x):
        model(input_ids=IDS, labels=IDS)
    return sum(saved.values())


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The dropout layers of its adapters."""
    return [m for name, m in model.named_modules() if name.endswith("lora_dropout.default")]


def on_core(model: nn.Module) -> nn.Module:
    """The same model, each of whose dropout layers is a `dropkit.nn.Dropout` of its own: the twin."""
    for module in model.modules():
        if hasattr(module, "lora_dropout"):
            for key, layer in module.lora_dropout.items():
                module.lora_dropout[key] = dropkit.nn.Dropout(layer.p)
    return model


@pytest.mark.parametrize("name", [None, dropkit.masks_at(seed=1, step=2, rows=[7, 4])])
def test_loss_and_gradients_are_those_of_plain_dropout(name) -> None:
    """To the bit: fused, adapters draw the masks that layers of dropkit would."""
    theirs = step(on_core(lora()), name)
    model = lora()
    with dropkit.accelerate(model):
        assert all(isinstance(layer, LoraDropout) for layer in layers_of(model))
        ours = step(model, name)
    assert len(TARGETS) * 2 + 1 == len(ours) == len(theirs)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_nothing_is_kept_for_dropout() -> None:
    """With a rate of 0.2 autograd keeps the bytes that it keeps with 0, and torch a copy a map."""
    without, theirs, model = kept(lora(0.0)), kept(lora()), lora()
    with dropkit.accelerate(model):
        assert without == kept(model)
    n, width = IDS.numel(), 6 * HIDDEN + INNER
    assert theirs >= without + n * width * 4  # what is left of each input; masks come on top


def test_accelerate_changes_nothing_else() -> None:
    """State dict, modes, names, sites and outputs in eval stay; undone, all is as before."""
    model = lora()
    model.eval()
    before = model(input_ids=IDS).logits
    said, state, sites = repr(model), model.state_dict(), dropkit.find_sites(model)
    kinds = [type(module) for module in model.modules()]
    with dropkit.accelerate(model):
        assert said == repr(model)
        assert list(state) == list(model.state_dict())
        assert sites == dropkit.find_sites(model)
        assert torch.equal(before, model(input_ids=IDS).logits)
    assert kinds == [type(module) for module in model.modules()]
    with torch.no_grad():
        assert torch.equal(before, model(input_ids=IDS).logits)


def test_sites_are_found_in_a_run() -> None:
    """A watched run sees each adapter's calls and elements, under the name that it has."""
    model, batch = lora(), {"input_ids": IDS}
    plain = dropkit.find_sites(model, batch)
    with dropkit.accelerate(model):
        found = dropkit.find_sites(model, batch)
    for ours, theirs in zip(found, plain, strict=True):
        assert (theirs.name, theirs.kind, theirs.rate) == (ours.name, ours.kind, ours.rate)
        assert (theirs.calls, theirs.elements) == (ours.calls, ours.elements)
    names = [site.name for site in found if site.rate == 0.2]
    assert len(TARGETS) == len(names)
    assert all(name.endswith("lora_dropout.default") for name in names)


BY_PATTERN = {"*q_proj.lora_dropout*": 0.5, "*": 0.0}


@pytest.mark.filterwarnings("ignore::dropkit.errors.RatesWarning")  # one config field for all
def test_rates_by_pattern() -> None:
    """Each layer's rate is its own, and a rate of 0 keeps and draws nothing."""
    model = lora()
    with dropkit.accelerate(model):
        dropkit.set_rates(model, BY_PATTERN)
        rates = {layer.p for layer in layers_of(model)}
        assert {0.0, 0.5} == rates
        assert 0.5 == model.base_model.model.model.layers[0].self_attn.q_proj.lora_dropout.default.p
        ours = step(model)
    twin = on_core(lora())
    dropkit.set_rates(twin, BY_PATTERN)
    assert all(torch.equal(a, b) for a, b in zip(ours, step(twin), strict=True))


def test_silence() -> None:
    """Silenced, a step is that of a model without dropout."""
    model = lora()
    with dropkit.accelerate(model), dropkit.silence(model):
        ours = step(model)
    assert all(torch.equal(a, b) for a, b in zip(ours, step(lora(0.0)), strict=True))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # transformers is renaming what is called here
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing(use_reentrant) -> None:
    """What a checkpoint recomputes draws the masks of its forward."""
    model, found = lora(), []
    model.enable_input_require_grads()
    with dropkit.accelerate(model):
        for is_checkpointed in (False, True):
            if is_checkpointed:
                model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
            found.append(step(model))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.filterwarnings("ignore")  # compiling makes torch's own code warn
def test_compiled() -> None:
    """A compiled adapter gives the eager numbers: there a compiler decides what is kept."""
    torch._dynamo.reset()
    layer = lora().base_model.model.model.layers[0].self_attn.q_proj
    x, found = torch.randn(3, HIDDEN), []
    with dropkit.accelerate(layer):
        for run in (layer, torch.compile(layer, backend="aot_eager")):
            torch.manual_seed(3)
            y = run(x)
            found.append([y, torch.autograd.grad(y.sum(), layer.lora_A.default.weight)[0]])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_hooks_see_what_is_dropped() -> None:
    """Whoever looks at a layer sees dropped elements, and the loss stays what it is."""
    model, seen = lora(), []
    with dropkit.accelerate(model):
        theirs = step(model)
        for layer in layers_of(model):
            layer.register_forward_hook(lambda *a: seen.append((a[2] == 0).float().mean().item()))
        ours = step(model)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert 0.05 < sum(seen) / len(seen) < 0.4


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_an_accelerated_layer(again) -> None:
    """A copy made meanwhile drops as the layer does."""
    layer = lora().base_model.model.model.layers[0].self_attn.q_proj
    x = torch.randn(3, HIDDEN)
    with dropkit.accelerate(layer):
        twin = again(layer)
        found = []
        for one in (layer, twin):
            torch.manual_seed(3)
            found.append(one(x))
    assert torch.equal(*found)


def test_a_dropout_that_is_passed_over_is_an_error() -> None:
    """A version of PEFT that did not call lora_A on what dropout gives would not train undropped."""
    layer = lora().base_model.model.model.layers[0].self_attn.q_proj
    message = (
        "peft.tuners.lora.layer.Linear must call its lora_A on what its lora_dropout gives; it did "
        "not. Undo dropkit.accelerate for this version of peft."
    )
    with dropkit.accelerate(layer):
        layer.forward = lambda x: layer.base_layer(layer.lora_dropout.default(x))
        with pytest.raises(CoreError, match="^" + re.escape(message) + "$"):
            layer(torch.randn(3, HIDDEN))


@pytest.mark.parametrize("options", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}])
def test_other_adapters_go_their_way(options) -> None:
    """DoRA has no place for it and is left alone; more that learns changes nothing."""
    model = lora(**options)
    with dropkit.accelerate(model):
        loss, *grads = step(model)
        is_plain = "use_dora" not in options
        assert is_plain == all(isinstance(layer, LoraDropout) for layer in layers_of(model))
    assert loss.isfinite()
    assert len(grads) >= 2 * len(TARGETS)
