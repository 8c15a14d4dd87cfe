"""From a trained model to one in service: freeze, guard, probe, monitor, release gate."""

from dropkit.serving._exported import Exported
from dropkit.serving._freeze import freeze
from dropkit.serving._frozen import Frozen, IdleCall, Proof
from dropkit.serving._removal import Removed

__all__ = ["Exported", "Frozen", "IdleCall", "Proof", "Removed", "freeze"]
