"""Layers: drop-ins for ``torch.nn.Dropout*``, and those of papers, drawn from the mask core."""

from dropkit.nn._drop_block import DropBlock2d, DropBlock3d
from dropkit.nn._drop_path import DropPath, StochasticDepth
from dropkit.nn._dropout import Dropout
from dropkit.nn._embedding_dropout import EmbeddingDropout
from dropkit.nn._layer_drop import LayerDrop
from dropkit.nn._weight_drop import WeightDrop
from dropkit.nn._word_dropout import WordDropout

__all__ = [
    "DropBlock2d",
    "DropBlock3d",
    "DropPath",
    "Dropout",
    "EmbeddingDropout",
    "LayerDrop",
    "StochasticDepth",
    "WeightDrop",
    "WordDropout",
]
