"""Why a site still draws in eval."""

from dropkit.auditing.observations import Observations, SeenSite

#: Functions that take a rate and no mode.
ATTENTION = frozenset({"scaled_dot_product_attention"})


def in_training_mode(seen: Observations, site: SeenSite) -> bool:
    """Whether its module, or the one that calls it, was in training mode in the run in eval mode."""
    return site.module in seen.evaluation.called_in_training


def of_a_stranger(seen: Observations, site: SeenSite) -> bool:
    """Whether a dropout module that the model does not own draws there."""
    callers = {stranger.caller for stranger in seen.evaluation.strangers}
    return any(event.caller in callers for event in site.in_eval)
