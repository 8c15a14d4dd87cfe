"""Fine-tune language models on small data, and measure what they memorized."""

from dropkit.finetuning.memorizing import (
    Canary,
    Memorization,
    MemorizationCurve,
    memorization,
    plant_canaries,
)

__all__ = ["Canary", "Memorization", "MemorizationCurve", "memorization", "plant_canaries"]
