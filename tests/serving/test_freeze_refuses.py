"""`freeze` refuses what it cannot show to be free of dropout, and says where and what to do."""

import re
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

import dropkit
from dropkit.errors import AuditError, FreezeError, OptionError
from dropkit.serving import freeze
from support_sites import Calls

X = torch.linspace(-1, 1, 32).reshape(8, 4)


def head(*layers: nn.Module) -> nn.Sequential:
    """A small network around `layers`, the same at each call."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), *layers, nn.Linear(4, 2))


LINE = r"\(tests/support/support_sites\.py:\d+\)"


def test_refuses_what_is_always_on() -> None:
    """A function that nobody told of the mode is named by site and line."""
    model = nn.Sequential(nn.Linear(4, 4), Calls(lambda x, _: F.dropout(x, 0.4)))
    message = (
        r"`model` must draw no mask in eval mode; dropout draws one at site '1\.dropout' "
        + LINE
        + r"\. Pass `training=self\.training`, or register the layer so that `eval\(\)` reaches it, "
        r"or pass always_on='remove' if a module keeps its rate\."
    )
    with pytest.raises(FreezeError, match=f"^{message}$"):
        freeze(model, X)


@pytest.mark.parametrize(
    ("function", "step"),
    [
        (
            lambda x, _: x * torch.bernoulli(torch.full_like(x, 0.5)),
            "Draw it only `if self.training`, or",
        ),
        (lambda x, _: x * (torch.rand_like(x) > 0.5), "Draw it only `if self.training`, or"),
        (
            lambda x, _: F.scaled_dot_product_attention(x, x, x, dropout_p=0.2),
            "Pass `dropout_p=p if self.training else 0.0`, or",
        ),
        (lambda x, _: dropkit.functional.dropout(x, 0.2), "Pass `training=self.training`, or"),
    ],
    ids=["bernoulli", "rand", "attention", "dropkit"],
)
def test_refuses_every_kind_of_mask(
    function: Callable[[Tensor, nn.Module], Tensor], step: str
) -> None:
    """Made by hand, in attention, by dropkit; each with what to change."""
    message = r"^`model` must draw no mask in eval mode; .*" + LINE + r"\. " + re.escape(step)
    with pytest.raises(FreezeError, match=message):
        freeze(nn.Sequential(Calls(function)), X)


def test_removes_what_is_always_on_if_told_to() -> None:
    """Where a module keeps the rate; the answers are those without any dropout."""
    model = head(Calls(lambda x, m: F.dropout(x, m.dropout), dropout=0.4))
    frozen = freeze(model, X, always_on="remove")
    with dropkit.silence(model):
        assert torch.equal(model(X), frozen.model(X))
    assert [("1.dropout", "rate set to 0")] == [(one.site, one.how) for one in frozen.proof.removed]


def test_a_rate_in_the_code_cannot_be_removed() -> None:
    """It says where to change the code."""
    model = nn.Sequential(Calls(lambda x, _: F.dropout(x, 0.4)))
    with pytest.raises(FreezeError, match=r"dropout draws one at site '0\.dropout' " + LINE):
        freeze(model, X, always_on="remove")


class Stubborn(nn.Dropout):
    """Stays in training mode."""

    def train(self, mode: bool = True) -> "Stubborn":  # noqa: ARG002 - that is the fault
        """Whatever is asked for."""
        return super().train(True)


class Declared(nn.Dropout):
    """Says what it is for."""

    dropkit_always_on = True


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            Stubborn(0.5),
            "`model` must be one that `eval()` puts in eval mode; '1' stays in training mode, as "
            "in Monte Carlo dropout. Serve it with `dropkit.mc_predict`, or pass "
            "always_on='remove'.",
        ),
        (
            Declared(0.5),
            "`model` must be one that needs no masks in use; '1' says that it drops on purpose "
            "(dropkit_always_on, or its class's name). Serve it with `dropkit.mc_predict`, or pass "
            "always_on='remove'.",
        ),
    ],
)
def test_refuses_monte_carlo(layer: nn.Module, message: str) -> None:
    """A model that is meant to drop in use is no model to freeze, unless one insists."""
    with pytest.raises(FreezeError, match="^" + re.escape(message) + "$"):
        freeze(head(layer), X)
    frozen = freeze(head(layer), X, always_on="remove")
    assert torch.equal(head()(X), frozen.model(X))


def test_refuses_random_numbers_of_elsewhere() -> None:
    """A mask of numpy's numbers is not seen, but two runs differ."""
    generator = np.random.default_rng(0)

    def drop(x: Tensor, _: nn.Module) -> Tensor:
        return x * torch.as_tensor(generator.random(x.shape) > 0.5)

    message = (
        "`model` must give one batch one answer; in eval mode two runs differ by up to 1, though "
        "no mask was seen. It draws random numbers of its own."
    )
    with pytest.raises(FreezeError, match="^" + re.escape(message) + "$"):
        freeze(nn.Sequential(Calls(drop)), torch.ones(8, 4))


@pytest.mark.parametrize(
    ("model", "batch", "kind", "message"),
    [
        (
            head(),
            torch.ones(0, 4),
            OptionError,
            "`batch` must hold at least one example; got a tensor of shape (0, 4).",
        ),
        (
            head(),
            None,
            OptionError,
            "`batch` must be a tensor, a tuple of arguments, or a mapping of names to arguments; "
            "got a NoneType.",
        ),
        (
            head(),
            torch.ones(2, 3),
            AuditError,
            "`model` must run on `batch`; its forward in eval mode raised RuntimeError: mat1 and "
            "mat2 shapes cannot be multiplied (2x3 and 4x4). The error above has the whole "
            "traceback; nothing in the model was changed.",
        ),
        (
            nn.Sequential(Calls(lambda x, _: x / 0 * 0)),
            torch.ones(2, 2),
            FreezeError,
            "`model` must answer `batch` with numbers; it holds 4 nan in 4.",
        ),
        (
            nn.Sequential(Calls(lambda _x, _: "hello")),
            torch.ones(2, 2),
            FreezeError,
            "`model` must return a tensor to be compared; got a str.",
        ),
        (
            nn.LazyLinear(3),
            torch.ones(2, 2),
            AuditError,
            "`model` must have its shapes to be run; 'weight' is lazy. Call the model on a batch "
            "first.",
        ),
    ],
    ids=["empty", "none", "shape", "nan", "text", "lazy"],
)
def test_bad_input(model: nn.Module, batch: object, kind: type[Exception], message: str) -> None:
    """One sentence says what is wrong."""
    with pytest.raises(kind, match="^" + re.escape(message) + "$"):
        freeze(model, batch)


def test_refuses_what_is_exported_already() -> None:
    """There is no code to look into."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's, on its own tracer
        model = torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2))
    message = (
        "`model` must be an nn.Module of Python code; got a TopLevelTracedModule. "
        "`dropkit.audit` reads exported models."
    )
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        freeze(model, X)
