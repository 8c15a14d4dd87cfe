"""Dropout of whole layers."""

from collections.abc import Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn

from dropkit.functional._dropout import apply_to_parameter
from dropkit.nn._layer import Layer


class LayerDrop(Layer, nn.ModuleList):
    """In training, each layer of this list is skipped with chance `p`, anew in each pass.

    A ``torch.nn.ModuleList`` otherwise: same indices, same keys in the state dict. Iterating over
    it gives all layers, in training too, so that loops that freeze or initialize layers miss none.
    A pass over the kept ones is a call, or a loop of one's own over `kept`. Nothing is scaled, so
    layers should have a residual connection. In eval no layer is skipped; for a shallower model,
    say with every second layer, delete the others.

    One pass draws one mask, whose element ``i`` belongs to layer ``i``: it is one decision for the
    whole batch, whatever ``rows`` says. Where processes train together
    (``DistributedDataParallel``), skipped layers are parameters without a gradient: say
    ``find_unused_parameters=True``. The decision is made in Python, so ``torch.compile`` breaks
    the graph there.

    Args:
        modules: The layers, in order. To be called they must give a tensor like their first
            argument.
        p: Drop rate in [0, 1]; a share, not a percentage. Read at each pass, it may be changed.

    Shape:
        Those of the layers.

    Raises:
        RateError: `p` is outside [0, 1] or nan.

    Source:
        Fan et al. 2020, ICLR, arXiv:1909.11556.

    >>> LayerDrop([nn.Linear(4, 4) for _ in range(6)], p=0.2)
    LayerDrop(
      p=0.2
      (0-5): 6 x Linear(in_features=4, out_features=4, bias=True)
    )
    """

    def __init__(self, modules: Iterable[nn.Module] | None = None, p: float = 0.2) -> None:
        super().__init__(p)
        if modules is not None:
            self.extend(modules)

    @overload
    def __getitem__(self, idx: slice) -> nn.ModuleList: ...

    @overload
    def __getitem__(self, idx: int) -> nn.Module: ...

    def __getitem__(self, idx: int | slice) -> nn.Module | nn.ModuleList:
        """A layer, or a plain ``ModuleList`` of some: what skips is the whole list."""
        if isinstance(idx, slice):
            return nn.ModuleList(list(self)[idx])
        return super().__getitem__(idx)

    def kept(self) -> list[nn.Module]:
        """The layers of one pass, in order; each call draws anew."""
        layers, threshold = list(self), self.threshold
        if not self.training or not layers or threshold == 0:
            return layers
        ones = torch.ones(len(layers), device="cpu")
        keep = apply_to_parameter(ones, threshold, site=self).tolist()
        return [layer for layer, is_kept in zip(layers, keep, strict=True) if is_kept]

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Give `x` to the kept layers, one after another, each with the same further arguments."""
        for layer in self.kept():
            x = layer(x, *args, **kwargs)
        return x

    def __repr__(self) -> str:
        name, _, layers = super().__repr__().partition("(")
        return f"{name}(p={self.p})" if layers == ")" else f"{name}(\n  p={self.p}{layers}"
