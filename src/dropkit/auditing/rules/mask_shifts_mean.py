"""DRP403."""

from collections.abc import Iterator

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.scales import biased_sites


class MaskShiftsMean(Rule):
    """A mask with a scale that is not that of its rate.

    ## Why it matters
    Dropout is right where the mean over masks is what is used in eval. A scale of another rate, or
    ``x * mask / p`` in place of ``x * mask / (1 - p)``, shifts the mean in training only. The
    interval that is given misses the truth at one site in a billion at most.

    ## Instead
    Divide by the chance to be kept, with one name for the rate in mask and scale, or use
    ``F.dropout(x, p, self.training)``.

    ## When it is fine
    The shift is meant, or a factor that no plain number shows makes up for it.
    """

    code, name, severity, since = "DRP403", "mask-shifts-mean", "error", "0.1"
    source = "Srivastava et al. 2014, JMLR 15, section 10"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites at which the interval for the mean excludes that of eval, and no other rule says why."""
        for one in biased_sites(seen):
            if not one.is_unscaled and not one.is_scaled_twice:
                share = one.scaling.n_kept / one.scaling.n
                yield self.finding(
                    one.site,
                    f"What is kept is multiplied by {one.scaling.factor:.3g}, and 1 / {share:.3g} "
                    f"is {1 / share:.3g}: {one.told()}.",
                    evidence=one.evidence,
                )
