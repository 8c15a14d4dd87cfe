"""DRP101."""

from collections.abc import Iterator

from dropkit.auditing.declared import is_declared
from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.stays_on import in_training_mode, is_attention, of_a_stranger
from dropkit.auditing.words import at_rate


class DropoutInEval(Rule):
    """Dropout that is still drawn in eval mode.

    ## Why it matters
    Predictions are random and worse than they need be, and two calls on one input differ.
    ``F.dropout`` draws unless it is told not to: its ``training`` is True by default, and
    ``model.eval()`` does not reach a function.

    ## Instead
    Pass ``training=self.training``, or use a module: ``nn.Dropout(p)`` made in ``__init__``.

    ## When it is fine
    Where dropout is part of the model in use, as in Tacotron 2's prenet or Monte Carlo dropout.
    Say so with ``dropkit_always_on = True`` on the module, its class, or a module around it.
    """

    code, name, severity, since = "DRP101", "dropout-in-eval", "error", "0.1"
    source = "https://github.com/pytorch/pytorch/issues/26338"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites of functions that draw in eval, where no mode or owner is to blame."""
        for site in seen.sites:
            if not site.draws_in_eval or is_attention(site):
                continue
            if is_declared(seen, site.module) or in_training_mode(seen, site):
                continue
            if of_a_stranger(seen, site):
                continue
            elements = sum(event.elements for event in site.in_eval)
            yield self.finding(
                site,
                f"{site.kind} draws masks for {elements:,} elements{at_rate(site.rate)} in eval mode.",
                evidence={"rate": site.rate, "elements": elements, "calls": len(site.in_eval)},
            )
