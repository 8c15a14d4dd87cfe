"""DRP406."""

from collections.abc import Iterator

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule


class DropoutOfInfinity(Rule):
    """Infinite numbers that dropout turns into nan.

    ## Why it matters
    torch multiplies by a mask of zeros, and infinity times zero is nan. One nan makes the loss nan,
    in training only, and only under masks that drop such an element.

    ## Instead
    Mask with minus infinity behind the dropout, or with a large finite number; or drop with
    ``dropkit.nn.Dropout``, which gives zero whatever was dropped.

    ## When it is fine
    Never.
    """

    code, name, severity, since = "DRP406", "dropout-of-infinity", "error", "0.1"
    source = "https://github.com/pytorch/pytorch/issues/59421"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites that are given infinite numbers, of which some come out as nan."""
        for site in seen.acting:
            for drop in site.drops:
                if drop.x is None or drop.y is None or not drop.x.is_floating_point():
                    continue
                is_infinite = drop.x.isinf()
                n_infinite, n_nan = (
                    int(is_infinite.sum()),
                    int((is_infinite & drop.y.isnan()).sum()),
                )
                if not n_nan:
                    continue
                yield self.finding(
                    site,
                    f"Of {drop.x.numel():,} numbers that come in, {n_infinite:,} are infinite, and "
                    f"{n_nan:,} of these come out as nan.",
                    evidence={"infinite": n_infinite, "nan": n_nan, "elements": drop.x.numel()},
                )
                break
