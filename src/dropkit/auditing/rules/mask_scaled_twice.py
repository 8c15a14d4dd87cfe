"""DRP402."""

from collections.abc import Iterator

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.scales import biased_sites


class MaskScaledTwice(Rule):
    """What a mask keeps is divided by the chance to be kept twice.

    ## Why it matters
    ``F.dropout`` and ``nn.Dropout`` divide by ``1 - p`` themselves. Divided once more, the mean in
    training is ``1 / (1 - p)`` times that in eval: the layers behind see inputs in use that are
    smaller than all they have learned with.

    ## Instead
    Leave out the second division.

    ## When it is fine
    Something else makes the mean smaller again, by as much, in training only.
    """

    code, name, severity, since = "DRP402", "mask-scaled-twice", "error", "0.1"
    source = "Srivastava et al. 2014, JMLR 15, section 10"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites at which the factor in training is the square of what it should be."""
        for one in biased_sites(seen):
            if one.is_scaled_twice and not one.is_unscaled:
                yield self.finding(
                    one.site,
                    f"What is kept is multiplied by {one.scaling.factor:.3g}, the scale of the "
                    f"rate twice over: {one.told()}.",
                    evidence=one.evidence,
                )
