"""DRP506."""

from collections.abc import Iterator
from itertools import combinations

from dropkit.auditing.finding import Finding
from dropkit.auditing.masks import FALSE_ALARM, chance_same
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule


class SitesShareMasks(Rule):
    """Two places that lose the same elements, though each draws a mask of its own.

    ## Why it matters
    Dropout trains sub-networks that lack units in each layer on their own. Where two layers draw
    from one seed, the same positions are missing in both: fewer sub-networks are trained, and on a
    residual path an element is lost twice or not at all. It comes of seeding a generator with one
    number in each layer.

    ## Instead
    Let all layers draw from one generator that goes on, or give each layer a seed of its own.
    Inside ``dropkit.masks_at`` each site has its own mask without further ado.

    ## When it is fine
    Both are to have one mask, as the gates of a recurrent cell may; then draw it once and apply it
    twice.
    """

    code, name, severity, since = "DRP506", "sites-share-masks", "warning", "0.1"
    source = "Srivastava et al. 2014, JMLR 15, section 4: masks of layers are independent"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Pairs of sites whose first masks are of one shape and one content."""
        drawn = [
            (site, site.drops[0])
            for site in seen.acting
            if site.drops and site.drops[0].x is not None
        ]
        n_pairs = max(len(drawn) * (len(drawn) - 1) // 2, 1)
        told = set()
        for (site, drop), (other, same) in combinations(drawn, 2):
            if other.name in told or drop.event is same.event:
                continue
            chance = chance_same(drop, same)
            if chance < FALSE_ALARM / n_pairs:
                told.add(other.name)
                yield self.finding(
                    other,
                    f"Loses the same elements of {tuple(drop.shape)} as `{site.name}`.",
                    evidence={"other": site.name, "shape": list(drop.shape), "chance": chance},
                )
