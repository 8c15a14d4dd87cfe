"""Layers: drop-ins for ``torch.nn.Dropout*``, and those of papers, drawn from the mask core."""

from dropkit.nn._alpha import AlphaDropout, FeatureAlphaDropout
from dropkit.nn._channels import Dropout1d, Dropout2d, Dropout3d
from dropkit.nn._concrete import ConcreteDropout
from dropkit.nn._drop_block import DropBlock2d, DropBlock3d
from dropkit.nn._drop_path import DropPath, StochasticDepth
from dropkit.nn._dropout import Dropout
from dropkit.nn._embedding_dropout import EmbeddingDropout
from dropkit.nn._gaussian import GaussianDropout
from dropkit.nn._layer_drop import LayerDrop
from dropkit.nn._locked import LockedDropout
from dropkit.nn._patch_dropout import PatchDropout
from dropkit.nn._weight_drop import WeightDrop
from dropkit.nn._word_dropout import WordDropout

__all__ = [
    "AlphaDropout",
    "ConcreteDropout",
    "DropBlock2d",
    "DropBlock3d",
    "DropPath",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "EmbeddingDropout",
    "FeatureAlphaDropout",
    "GaussianDropout",
    "LayerDrop",
    "LockedDropout",
    "PatchDropout",
    "StochasticDepth",
    "WeightDrop",
    "WordDropout",
]
