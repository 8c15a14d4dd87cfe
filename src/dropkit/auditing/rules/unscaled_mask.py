"""DRP401."""

from collections.abc import Iterator

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.scales import biased_sites


class UnscaledMask(Rule):
    """A mask that leaves what it keeps as it is, in training only.

    ## Why it matters
    With a share `p` dropped and the rest as it is, the mean in training is ``1 - p`` times that in
    eval: the layers behind see inputs in use that are larger than all they have learned with.

    ## Instead
    Divide by the chance to be kept in training, ``x * mask / (1 - p)``, or use ``F.dropout(x, p,
    self.training)``, which does. The original form multiplies by ``1 - p`` in eval instead.

    ## When it is fine
    What is masked is to be missing, as in masked language modelling or when inputs are augmented, or
    what follows does not depend on the scale.
    """

    code, name, severity, since = "DRP401", "unscaled-mask", "error", "0.1"
    source = "Srivastava et al. 2014, JMLR 15, section 4 and figure 2"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites with a factor of one in training, and none in eval to make up for it."""
        for one in biased_sites(seen):
            if one.is_unscaled:
                yield self.finding(
                    one.site,
                    f"What the mask keeps is not scaled: {one.told()}.",
                    evidence=one.evidence,
                )
