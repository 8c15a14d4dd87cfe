"""DRP502."""

from collections.abc import Iterator

from dropkit.auditing.finding import Finding
from dropkit.auditing.masks import FALSE_ALARM, chance_same, paired
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import counted
from dropkit.core.scope import current_scope


class SameMaskEveryCall(Rule):
    """Dropout that draws the same mask in every forward, whatever the seed.

    ## Why it matters
    The same units are missing in every step, so they never learn, and the others are scaled up for
    good: eval, where all units are there, uses another network than the one that was trained. It
    comes of ``torch.manual_seed`` or a freshly seeded ``torch.Generator`` in ``forward``, or of a
    step counter that stands still.

    ## Instead
    Seed once, before training, and let the generator go on. To repeat a mask on purpose, name it:
    ``dropkit.masks_at(seed, step)`` with a step that counts.

    ## When it is fine
    The mask is a fixed sparse connection that is meant to stay; then eval must have it too.
    """

    code, name, severity, since = "DRP502", "same-mask-every-call", "error", "0.1"
    source = "https://docs.pytorch.org/docs/stable/notes/randomness.html"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Masks of the forward under one seed against those under another."""
        drawing = [site for site in seen.acting if site.drops]
        if not drawing or current_scope() is not None:
            return
        again = seen.again(seed=1).drops
        for site in drawing:
            pairs = [pair for pair in paired(site.drops, again) if pair[0].x is not None]
            chances = [chance_same(*pair) for pair in pairs]
            if chances and max(chances) < 1.0 and min(chances) < FALSE_ALARM:
                yield self.finding(
                    site,
                    "Two forwards under different seeds lose the same elements "
                    f"({counted(len(chances), 'mask', 'masks')} compared).",
                    evidence={"masks": len(chances), "chance": min(chances)},
                )
