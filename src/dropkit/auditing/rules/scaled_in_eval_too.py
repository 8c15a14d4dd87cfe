"""DRP407."""

from collections.abc import Iterator

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.scales import shrunk_in_eval


class ScaledInEvalToo(Rule):
    """Eval multiplies by the chance to be kept, though training has divided by it.

    ## Why it matters
    Either training divides by ``1 - p``, as ``F.dropout`` does, or eval multiplies by it, as the
    original form does. With both, the layers behind see inputs in use that are smaller than all
    they have learned with.

    ## Instead
    Leave out the factor in eval.

    ## When it is fine
    The factor of eval is there for another reason, and equals the chance to be kept by accident.
    """

    code, name, severity, since = "DRP407", "scaled-in-eval-too", "error", "0.1"
    source = "Srivastava et al. 2014, JMLR 15, section 10"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites with a factor in eval only that is one over the scale of training."""
        for site, scaling, factor in shrunk_in_eval(seen):
            yield self.finding(
                site,
                f"Training multiplies what is kept by {scaling.factor:.3g}, and eval multiplies "
                f"everything by {factor:.3g}: the mean in training is {1 / factor:.3g} times that "
                "in eval.",
                evidence={"factor": scaling.factor, "factor_in_eval": factor},
            )
