"""DRP102."""

from collections.abc import Iterator

from dropkit.auditing.declared import is_declared
from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.stays_on import in_training_mode, is_attention
from dropkit.auditing.words import counted


class AttentionDropoutInEval(Rule):
    """Attention that still drops in eval mode.

    ## Why it matters
    ``scaled_dot_product_attention`` and the fused kernels take a rate and no mode, so a rate that
    is handed to them as it is drops in use too: predictions are random, and worse.

    ## Instead
    Pass ``dropout_p=self.p if self.training else 0.0``.

    ## When it is fine
    Where attention is meant to drop in use. Say so with ``dropkit_always_on = True`` on the
    module, its class, or a module around it.
    """

    code, name, severity, since = "DRP102", "attention-dropout-in-eval", "error", "0.1"
    source = "https://github.com/pytorch/pytorch/issues/124464"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Attention that draws in eval though its module is not in training mode."""
        for site in seen.sites:
            if not (site.draws_in_eval and is_attention(site)):
                continue
            if is_declared(seen, site.module) or in_training_mode(seen, site):
                continue
            rate = max(event.rate for event in site.in_eval)
            calls = len(site.in_eval)
            yield self.finding(
                site,
                f"{site.kind} is given the rate {rate:g} in eval mode too, in "
                f"{counted(calls, 'call', 'calls')}.",
                evidence={"rate": round(rate, 9), "calls": calls},
            )
