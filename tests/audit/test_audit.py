"""An audit says what it saw, what it could not see, and changes nothing."""

import random
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit.auditing.finding import SEVERITIES
from dropkit.errors import AuditError, OptionError
from dropkit.sites.replaced import PLACES, active_steers


class Wild(nn.Module):
    """Drops in eval, learns nothing in a part, and raises where it is told to."""

    def __init__(self, raises: str = "") -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(8, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.raises = raises

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 4)`` to ``(batch, 2)``."""
        self.calls += 1
        x = nn.functional.dropout(self.body(x), 0.1 + random.random() / 10 + np.random.rand() / 10)  # noqa: NPY002
        if self.raises == "eval" and not self.training:
            raise ValueError("no\nway")
        if self.raises == "training" and self.training:
            raise RuntimeError("out of luck.")
        if self.raises == "backward" and x.requires_grad:
            x.register_hook(_raise)
        return self.head(x)


def _raise(grad: Tensor) -> None:
    raise RuntimeError(f"shape {tuple(grad.shape)}")


def _wild(raises: str = "") -> Wild:
    model = Wild(raises)
    model.body.eval()
    model.head.weight.grad = torch.ones_like(model.head.weight)
    return model


def _state(model: nn.Module) -> dict[str, Any]:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return {
        "values": [x.clone() for x in model.state_dict().values()],
        "grads": [p.grad if p.grad is None else p.grad.clone() for p in model.parameters()],
        "modes": [m.training for m in model.modules()],
        "needs": [p.requires_grad for p in model.parameters()],
        "hooks": [len(getattr(m, name)) for m in model.modules() for name in hooks],
        "global hooks": len(torch.nn.modules.module._global_forward_pre_hooks),
        "attributes": [sorted(map(str, vars(m))) for m in model.modules()],
        "rates": [m.p for m in model.modules() if hasattr(m, "p")],
        "generators": [torch.get_rng_state(), random.getstate(), str(np.random.get_state())],  # noqa: NPY002
        "functions": [getattr(holder, name) is theirs for holder, name, theirs, _ in PLACES],
        "steers": active_steers(),
    }


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b


@pytest.mark.parametrize("raises", ["", "eval", "training", "backward"])
def test_nothing_is_changed(raises) -> None:
    """Weights, buffers, grads, modes, hooks, generators, rates and functions are as before."""
    model, x = _wild(raises), torch.randn(6, 4, requires_grad=True)
    x.grad = torch.ones_like(x)
    before, x_before = _state(model), x.detach().clone()
    if raises:
        with pytest.raises(AuditError):
            dropkit.audit(model, x)
    else:
        assert dropkit.audit(model, x).findings
    assert _same(before, _state(model))
    assert torch.equal(x_before, x)
    assert torch.equal(torch.ones_like(x), x.grad)


def test_the_check_of_changes_can_fail() -> None:
    """One call of the model is a change."""
    model = _wild()
    before = _state(model)
    model(torch.randn(6, 4))
    assert not _same(before, _state(model))


@pytest.mark.parametrize(
    ("raises", "message"),
    [
        ("eval", "run on `batch`; its forward in eval mode raised ValueError: no"),
        (
            "training",
            "run on `batch`; its forward in training mode raised RuntimeError: out of luck",
        ),
        ("backward", "be differentiable; its backward raised RuntimeError: shape (6, 8)"),
    ],
)
def test_model_that_raises(raises, message) -> None:
    """The run and the first line of the model's error are named, and its traceback is kept."""
    sentence = (
        f"`model` must {message}. "
        "The error above has the whole traceback; nothing in the model was changed."
    )
    with pytest.raises(AuditError, match="^" + re.escape(sentence) + "$") as caught:
        dropkit.audit(_wild(raises), torch.randn(6, 4))
    assert isinstance(caught.value.__cause__, (ValueError, RuntimeError))


def test_loss_that_raises() -> None:
    """A loss is told from the model."""
    sentence = (
        "`loss` must take what the model returns; it raised AttributeError: 'Tensor' object has no "
        "attribute 'logits'. The error above has the whole traceback; nothing in the model was "
        "changed."
    )
    with pytest.raises(AuditError, match="^" + re.escape(sentence) + "$"):
        dropkit.audit(nn.Linear(4, 2), torch.ones(3, 4), loss=lambda y: y.logits)


def test_loss_of_many_elements() -> None:
    """A loss is one number."""
    sentence = "`loss` must return a tensor of one element; got shape (3, 2)."
    with pytest.raises(AuditError, match="^" + re.escape(sentence) + "$"):
        dropkit.audit(nn.Linear(4, 2), torch.ones(3, 4), loss=lambda y: y)


def test_batch_of_the_wrong_kind() -> None:
    """The kinds that a batch may be are named."""
    sentence = (
        "`batch` must be a tensor, a tuple of arguments, or a mapping of names to arguments; "
        "got a str."
    )
    with pytest.raises(OptionError, match="^" + re.escape(sentence) + "$"):
        dropkit.audit(nn.Linear(4, 2), "batch")


def test_model_on_the_meta_device() -> None:
    """A model without values is told what to do."""
    sentence = (
        "`model` must hold values to be run; 'weight' is on the meta device. "
        "Load its weights first, or build a small model from the same config."
    )
    with pytest.raises(AuditError, match="^" + re.escape(sentence) + "$"):
        dropkit.audit(nn.Linear(4, 2, device="meta"), torch.ones(3, 4))


def test_lazy_model() -> None:
    """A model that has not met a batch is told what to do."""
    sentence = (
        "`model` must have its shapes to be run; 'weight' is lazy. Call the model on a batch first."
    )
    with pytest.raises(AuditError, match="^" + re.escape(sentence) + "$"):
        dropkit.audit(nn.LazyLinear(2), torch.ones(3, 4))


def test_model_without_dropout() -> None:
    """It has no findings, and one sentence says why."""
    audit = dropkit.audit(nn.Linear(4, 2), torch.ones(3, 4))
    sentence = "The model has no dropout that acts: there is nothing to look at."
    assert ((), (sentence,)) == (audit.findings, audit.not_seen)


def test_model_whose_rates_are_zero() -> None:
    """Rates of 0 are no dropout."""
    audit = dropkit.audit(nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.0)), torch.ones(3, 4))
    sentence = "The model has no dropout that acts: all of its rates (1) are 0 or unused."
    assert (sentence,) == audit.not_seen


def test_frozen_model() -> None:
    """Without a gradient one sentence says what was not seen."""
    model = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5)).requires_grad_(requires_grad=False)
    audit = dropkit.audit(model, torch.ones(3, 4))
    sentence = (
        "No parameter of the model asks for a gradient: what differs in a backward was not seen."
    )
    assert ((sentence,), None) == (audit.not_seen, audit.facts["loss"])


class Detached(nn.Module):
    """Returns what has no gradient, or is no number."""

    def __init__(self, *, is_text: bool) -> None:
        super().__init__()
        self.inner, self.drop, self.is_text = nn.Linear(4, 2), nn.Dropout(0.1), is_text

    def forward(self, x: Tensor) -> Any:
        """``(batch, 4)`` to whatever."""
        y = self.drop(self.inner(x))
        return "text" if self.is_text else y.detach()


@pytest.mark.parametrize(
    ("is_text", "sentence"),
    [
        (
            True,
            "The model returns no floating tensor, and `loss` was not given: no backward was run.",
        ),
        (
            False,
            "No gradient flows to what the model returns: what differs in a backward was not seen.",
        ),
    ],
)
def test_output_without_gradient(is_text, sentence) -> None:
    """One sentence says why there was no backward."""
    assert (sentence,) == dropkit.audit(Detached(is_text=is_text), torch.ones(3, 4)).not_seen


class Quantized(nn.Linear):
    """As packages of quantized layers have them: told by the file of the class."""


Quantized.__module__ = "bitsandbytes.nn.modules"


def test_quantized_model() -> None:
    """Quantized layers are named, and the rest is looked at."""
    model = nn.Sequential(Quantized(4, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    sentence = (
        "The model is quantized (`0`, 1 in all): what such layers do with what is dropped was seen "
        "in low precision only."
    )
    assert (sentence,) == dropkit.audit(model, torch.ones(3, 4)).not_seen


def test_scripted_part() -> None:
    """A part in TorchScript is named; what it drops is seen nevertheless."""
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        part = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)))
    audit = dropkit.audit(nn.Sequential(part, nn.Linear(4, 2)), torch.ones(3, 4))
    sentence = (
        "`0` is TorchScript: its calls have no line of Python, and rates in its code were not seen."
    )
    assert sentence in audit.not_seen


def test_same_each_time() -> None:
    """Two audits say the same, whatever the generators stand at."""
    model, x = _wild(), torch.randn(6, 4)
    first = dropkit.audit(model, x).to_dict()
    torch.manual_seed(99)
    random.seed(99)
    again = dropkit.audit(model, x).to_dict()
    assert {**first, "seconds": 0} == {**again, "seconds": 0}


def test_order_and_facts() -> None:
    """The gravest finding comes first, all is plain data, and the facts are the model's."""
    audit = dropkit.audit(_wild().eval(), torch.randn(6, 4), loss=lambda y: y.square().sum())
    severities = [SEVERITIES.index(finding.severity) for finding in audit.findings]
    assert sorted(severities) == severities
    assert "error" == audit.worst() == audit.to_dict()["findings"][0]["severity"]
    facts = {**audit.facts, "loss": 0, "torch": ""}
    assert {
        "model": "Wild",
        "parameters": 4 * 8 + 8 + 16 + 8 * 2 + 2,
        "trainable": 74,
        "modules": 7,
        "sites": 2,
        "active_sites": 2,
        "devices": ["cpu"],
        "dtypes": ["float32"],
        "loss": 0,
        "torch": "",
    } == facts
    assert audit.seconds > 0


@pytest.mark.parametrize(
    ("select", "ignore", "expected"),
    [
        (["DRP101"], [], {"DRP101"}),
        (["dropout-in-eval", "DRP110"], [], {"DRP101", "DRP110"}),
        (["mode"], ["DRP101"], {"DRP110"}),
        ("DRP1", ["handed-over-in-eval"], {"DRP101"}),
        (["dead rate"], [], set()),
    ],
)
def test_selection(select, ignore, expected) -> None:
    """Rules are named by code, by its beginning, by name or by family."""
    audit = dropkit.audit(
        _wild().eval(),
        torch.randn(6, 4),
        loss=lambda y: y.square().sum(),
        select=select,
        ignore=ignore,
    )
    assert expected == {finding.code for finding in audit.findings}


def test_unknown_rule() -> None:
    """A rule that does not exist is met with one that does."""
    sentence = (
        "`ignore` must name rules by code, name or family; got 'dropout-in-evil'. "
        "Did you mean 'dropout-in-eval'?"
    )
    with pytest.raises(OptionError, match="^" + re.escape(sentence) + "$"):
        dropkit.audit(nn.Linear(4, 2), torch.ones(3, 4), ignore=["dropout-in-evil"])
