"""Layers: drop-ins for ``torch.nn.Dropout*``, drawn from the mask core, and more of their kind."""

from dropkit.nn._alpha import AlphaDropout, FeatureAlphaDropout
from dropkit.nn._channels import Dropout1d, Dropout2d, Dropout3d
from dropkit.nn._dropout import Dropout
from dropkit.nn._gaussian import GaussianDropout
from dropkit.nn._locked import LockedDropout

__all__ = [
    "AlphaDropout",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
    "GaussianDropout",
    "LockedDropout",
]
