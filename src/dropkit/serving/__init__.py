"""From a trained model to one in service: freeze, guard, probe, monitor, release gate."""

from dropkit.serving._freeze import freeze
from dropkit.serving._frozen import Exported, Frozen, IdleCall, Proof
from dropkit.serving._removal import Removed

__all__ = ["Exported", "Frozen", "IdleCall", "Proof", "Removed", "freeze"]
