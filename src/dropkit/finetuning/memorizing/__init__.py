"""What a language model kept of the very texts that it was trained on."""

from dropkit.finetuning.memorizing._attack import Attack
from dropkit.finetuning.memorizing._canary import Canary, plant_canaries
from dropkit.finetuning.memorizing._curve import MemorizationCurve
from dropkit.finetuning.memorizing._exposure import Exposure
from dropkit.finetuning.memorizing._extraction import Extraction, Matches
from dropkit.finetuning.memorizing._memorization import Memorization, memorization

__all__ = [
    "Attack",
    "Canary",
    "Exposure",
    "Extraction",
    "Matches",
    "Memorization",
    "MemorizationCurve",
    "memorization",
    "plant_canaries",
]
