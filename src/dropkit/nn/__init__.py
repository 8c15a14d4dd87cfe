"""Layers: drop-ins for ``torch.nn.Dropout*``, drawn from the mask core."""

from dropkit.nn._dropout import Dropout

__all__ = ["Dropout"]
