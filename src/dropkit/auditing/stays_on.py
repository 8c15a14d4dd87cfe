"""Why a site still draws in eval."""

from dropkit.auditing.observations import Observations, SeenSite


def is_attention(site: SeenSite) -> bool:
    """Whether a function or a kernel drops attention probabilities there."""
    return "attention" in site.kind or "attn" in site.kind


def in_training_mode(seen: Observations, site: SeenSite) -> bool:
    """Whether its module was in training mode when it was called in the run in eval mode."""
    return site.module in seen.evaluation.called_in_training


def of_a_stranger(seen: Observations, site: SeenSite) -> bool:
    """Whether a dropout module that the model does not own draws there."""
    callers = {stranger.caller for stranger in seen.evaluation.strangers}
    return any(event.caller in callers for event in site.in_eval)
