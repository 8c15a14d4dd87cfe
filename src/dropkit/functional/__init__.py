"""Pure functions on tensors."""

from dropkit.functional._dropout import dropout

__all__ = ["dropout"]
