"""What is refused: models that have dropout left, and models of which that cannot be said."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from dropkit.auditing.audit import check_values
from dropkit.auditing.declared import ATTRIBUTE, declares
from dropkit.errors import FreezeError, OptionError
from dropkit.serving._answers import difference, is_equal
from dropkit.serving._program import dropout_operators
from dropkit.sites.draws import UNIFORM
from dropkit.sites.labels import Labels
from dropkit.sites.watch import Event
from dropkit.uncertainty._sampling import uncompiled

AlwaysOn = Literal["refuse", "remove"]


def checked(model: object) -> nn.Module:
    if isinstance(model, torch.jit.ScriptModule) or not isinstance(model, nn.Module):
        raise OptionError(
            f"`model` must be an nn.Module of Python code; got a {type(model).__name__}. "
            "`dropkit.audit` reads exported models."
        )
    model = uncompiled(model)
    check_values(model)
    return model


def check_modes(model: nn.Module, always_on: AlwaysOn) -> None:
    """Refuse a model that means to drop in use."""
    for name, module in model.named_modules():
        if always_on == "refuse" and declares(module):
            raise FreezeError(
                f"`model` must be one that needs no masks in use; {name or type(model).__name__!r}"
                f" says that it drops on purpose ({ATTRIBUTE}, or its class's name). Serve it with "
                "`dropkit.mc_predict`, or pass always_on='remove'."
            )
        if module.training:
            if always_on == "refuse":
                raise FreezeError(
                    "`model` must be one that `eval()` puts in eval mode; "
                    f"{name or type(model).__name__!r} stays in training mode, as in Monte Carlo "
                    "dropout. Serve it with `dropkit.mc_predict`, or pass always_on='remove'."
                )
            module.training = False


def check_draws(model: nn.Module, events: list[Event], always_on: AlwaysOn) -> None:
    labels = Labels(model)
    for event in events:
        if not event.n_draws:
            continue
        source = labels.own_source(event.caller.module)
        name = labels.name_of(event.caller, event.function, source)
        where = f" ({event.caller.line})" if event.caller.line else ""
        step = _step(event.function, is_layer=source is not None)
        if always_on == "refuse":
            step += ", or pass always_on='remove' if a module keeps its rate"
        raise FreezeError(
            f"`model` must draw no mask in eval mode; {event.function} draws one at site "
            f"{name!r}{where}. {step}."
        )


def _step(function: str, *, is_layer: bool) -> str:
    """What to change in the code."""
    if is_layer:
        return "Let its mode follow `eval()`"
    if "attention" in function or "attn" in function:
        return "Pass `dropout_p=p if self.training else 0.0`"
    if function in UNIFORM or function.startswith("bernoulli"):
        return "Draw it only `if self.training`"
    return "Pass `training=self.training`, or register the layer so that `eval()` reaches it"


def check_answers(found: dict[str, Tensor]) -> None:
    for name, x in found.items():
        n = int(x.isnan().sum())
        if n:
            what = f"{name!r} holds" if name else "it holds"
            raise FreezeError(
                f"`model` must answer `batch` with numbers; {what} {n} nan in {x.numel()}."
            )


def check_repeated(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    if not is_equal(first, second):
        raise FreezeError(
            "`model` must give one batch one answer; in eval mode two runs differ by up to "
            f"{difference(first, second):.3g}, though no mask was seen. It draws random numbers of "
            "its own."
        )


def check_program(program: ExportedProgram, left_over: tuple[Any, ...]) -> None:
    names = [*dropout_operators(program), *(one.site for one in left_over)]
    if names:
        raise FreezeError(
            f"the exported graph must hold no dropout; it holds {', '.join(dict.fromkeys(names))}."
        )
