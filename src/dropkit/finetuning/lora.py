"""Dropout for adapters of parameters, where PEFT refuses a rate.

An adapter of a layer sees the layer's input, and its dropout drops elements of that. An adapter of
a parameter (``target_parameters``: the stacked weights of experts, say) is a change of the weight,
``W + scale * B A``, and sees no input. But to drop a feature of the adapter's input, for all
examples of a call alike, is to drop a column of `A`: ``B A (m * x) = B (A * m) x``. That is what is
done here: dropout of the adapter's input features, one mask a call, an own one for each expert.
"""

import contextlib
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.errors import SiteError
from dropkit.functional._dropout import apply_to_parameter
from dropkit.nn._layer import Layer
from dropkit.sites.change import Change


class ColumnDropout(Layer):
    """In training, zero whole columns of an adapter's weight, and scale the others.

    Args:
        p: Drop rate in [0, 1].
        groups: Stacked weights, each with a mask of its own.

    Shape:
        Input ``(groups * rank, features)``, output the same.

    Raises:
        RateError: `p` is outside [0, 1] or nan.

    >>> ColumnDropout(0.5, groups=2)
    ColumnDropout(p=0.5, groups=2)
    """

    def __init__(self, p: float = 0.1, *, groups: int = 1) -> None:
        super().__init__(p)
        self.groups = groups

    def forward(self, weight: Tensor) -> Tensor:
        """Drop columns of ``(groups * rank, features)``."""
        threshold = self.threshold
        if not self.training or threshold == 0:
            return weight
        stacked = weight.view(self.groups, -1, weight.shape[-1])
        ones = torch.ones_like(stacked[:, :1], requires_grad=False)
        return (stacked * apply_to_parameter(ones, threshold, site=self)).view_as(weight)

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr."""
        return f"p={self.p}, groups={self.groups}"


def drop_parameters(model: nn.Module, p: float = 0.1) -> Change:
    """Give PEFT's adapters of parameters in `model` a rate of dropout.

    Each becomes a site named as those of other adapters (``...lora_dropout.NAME``), whose rate
    `dropkit.set_rates` sets and which `dropkit.silence` silences. The state dict stays as it is, so
    that an adapter saves and loads as before.

    Args:
        model: Within PEFT, its adapters made with ``lora_dropout=0``.
        p: Drop rate in [0, 1].

    Returns:
        A handle with ``undo()``, usable in ``with``.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        SiteError: There is no adapter of a parameter in `model`.

    Source:
        DropConnect drops single weights: Wan et al. 2013, ICML. The input features of an adapter:
        Hu et al. 2022, ICLR, arXiv:2106.09685, whose dropout stands in front of `A`.
    """
    stack = contextlib.ExitStack()
    wrappers = [module for module in model.modules() if _is_wrapper(module)]
    if not wrappers:
        raise SiteError(
            "`model` must have adapters of parameters; got none. PEFT makes them with "
            "LoraConfig(target_parameters=[...])."
        )
    for wrapper in wrappers:
        for name in wrapper.lora_A:
            before = wrapper.lora_dropout[name]
            layer = ColumnDropout(p, groups=wrapper.num_experts)
            layer.train(wrapper.training)
            wrapper.lora_dropout[name] = layer
            stack.callback(wrapper.lora_dropout.__setitem__, name, before)
        swap = _Swap(wrapper)
        stack.callback(wrapper.register_forward_pre_hook(swap.enter).remove)
        stack.callback(wrapper.register_forward_hook(swap.leave, always_call=True).remove)
    return Change(stack)


def _is_wrapper(module: Any) -> bool:
    return (
        hasattr(module, "parameter_name")
        and hasattr(module, "num_experts")
        and bool(getattr(module, "lora_A", None))
    )


class _Swap:
    """For the time of a call the weight of `A` is its dropped form."""

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper
        self._shadowed: list[nn.Module] = []

    def enter(self, *_: Any) -> None:
        """A call begins."""
        for name in self._wrapper.active_adapters:
            if name in self._wrapper.lora_A:
                linear, layer = self._wrapper.lora_A[name], self._wrapper.lora_dropout[name]
                # An attribute of the instance is found before a parameter of the same name.
                vars(linear)["weight"] = layer(linear.weight)
                self._shadowed.append(linear)

    def leave(self, *_: Any) -> None:
        """It has ended, or raised."""
        while self._shadowed:
            vars(self._shadowed.pop()).pop("weight", None)
