"""Dropout for LoRA on parameters, as mixtures of experts have them, where PEFT refuses a rate."""

import sys
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.errors import SiteError
from dropkit.functional._dropout import apply_to_parameter
from dropkit.nn._layer import Layer
from dropkit.sites.change import Change

#: What a wrapper of PEFT's keeps our layers as, one an adapter.
HOME = "lora_dropout_of_columns"


class ColumnDropout(Layer):
    """In training, zero each column of each expert's ``lora_A`` with chance `p`, one mask a call.

    The others are scaled by ``1 / (1 - p)``. `parameter_dropout` makes it.

    Args:
        p: Drop rate in [0, 1]; read at each call.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
    """

    def forward(self, weight: Tensor, n_experts: int) -> Tensor:
        """Drop columns of `weight`, ``(n_experts * r, in)``."""
        threshold = self.threshold
        if threshold == 0 or not self.training:
            return weight
        width = weight.shape[-1]
        ones = torch.ones(n_experts, 1, width, dtype=weight.dtype, device=weight.device)
        kept = apply_to_parameter(ones, threshold, site=self)
        return (weight.view(n_experts, -1, width) * kept).view_as(weight)


def parameter_dropout(model: nn.Module, p: float = 0.1, *, adapter: str = "default") -> Change:
    """Give adapters on parameters, PEFT's ``target_parameters``, the dropout that PEFT refuses.

    There an adapter is a change of the weight, ``W + B A``, and no activation passes it that could
    be dropped. But ``B A dropout(x)`` with one mask for all tokens of a call is
    ``(B A diag(mask)) x``: dropout of the features of the adapter's input, as locked dropout has it,
    is dropout of the columns of ``A``. Each expert has a mask of its own, drawn anew at each call.
    The expectation of the change of the weight is exact; other than with a mask a token, the noise
    of the tokens of a batch is not independent. Nothing of the size of an activation is kept.

    The layers are found, set, scheduled and silenced like any site, by names that end in
    ``lora_dropout_of_columns.<adapter>``. They are in no state dict and in no config, since PEFT
    would refuse to load it: call this again on a loaded model.

    Args:
        model: What ``get_peft_model`` gave.
        p: Drop rate in [0, 1]; a share, not a percentage.
        adapter: Which of its adapters.

    Returns:
        A handle with ``undo()``, usable in ``with``.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        SiteError: The model has no such adapter on a parameter.

    Source:
        Gal and Ghahramani 2016, NeurIPS, arXiv:1512.05287 (one mask for all time steps); Hu et al.
        2022, ICLR, arXiv:2106.09685.
    """
    lora = sys.modules.get("peft.tuners.lora.layer")
    kind = getattr(lora, "ParamWrapper", ())
    found: list[Any] = [
        module
        for module in model.modules()
        if isinstance(module, kind) and adapter in module.lora_A and not hasattr(module, HOME)
    ]
    if not found:
        raise SiteError(
            f"`model` must have the adapter {adapter!r} on a parameter, without such dropout yet; "
            "got none. Name parameters as target_parameters of peft.LoraConfig."
        )
    steps = ExitStack()
    for wrapper in found:
        layers = nn.ModuleDict({adapter: ColumnDropout(p)})
        setattr(wrapper, HOME, layers.train(wrapper.training))
        steps.callback(delattr, wrapper, HOME)
        steps.callback(wrapper.register_forward_pre_hook(_drop).remove)
        steps.callback(wrapper.register_forward_hook(_restore, always_call=True).remove)
    return Change(steps)


def _drop(wrapper: Any, *_: Any) -> None:
    """For the time of a call, let ``lora_A`` show dropped columns to whoever reads its weight."""
    if wrapper.disable_adapters or wrapper.merged:
        return
    for adapter, layer in getattr(wrapper, HOME).items():
        if adapter in wrapper.active_adapters and layer.training:
            first = wrapper.lora_A[adapter]
            dropped = layer(first.weight, wrapper.num_experts)
            vars(first)["_raw"] = first._parameters.pop("weight")  # noqa: SLF001 - as functional_call
            vars(first)["weight"] = dropped


def _restore(wrapper: Any, *_: Any) -> None:
    for adapter in getattr(wrapper, HOME):
        first = wrapper.lora_A[adapter]
        if "_raw" in vars(first):
            del vars(first)["weight"]
            first._parameters["weight"] = vars(first).pop("_raw")  # noqa: SLF001 - likewise
