"""Layers: drop-ins for ``torch.nn.Dropout*``, and those of papers, drawn from the mask core."""

from dropkit.nn._dropout import Dropout
from dropkit.nn._layer_drop import LayerDrop
from dropkit.nn._weight_drop import WeightDrop

__all__ = ["Dropout", "LayerDrop", "WeightDrop"]
