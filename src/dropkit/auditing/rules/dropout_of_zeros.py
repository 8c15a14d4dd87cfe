"""DRP209."""

from collections.abc import Iterator

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule

#: What computes nothing: these zeros were put there, and are no output of a layer at its start.
_GIVEN = frozenset({"other", "pick", "shape", "join"})


class DropoutOfZeros(Rule):
    """Dropout of a tensor that is zero everywhere.

    ## Why it matters
    Zero stays zero, kept or dropped. So it is with dropout on padding, or on an initial state.

    ## Instead
    Drop where the values are, behind what fills the tensor.

    ## When it is fine
    Where other batches have values there. Outputs of layers that begin at zero are not reported.
    """

    code, name, severity, since = "DRP209", "dropout-of-zeros", "warning", "0.1"
    source = "https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites all of whose inputs are zeros that no layer computed."""
        for site in seen.sites:
            inputs = [(drop.x, drop.made_by) for drop in site.drops]
            if not site.draws_in_training or not inputs:
                continue
            if all(x is not None and kind in _GIVEN and not x.any() for x, kind in inputs):
                n = sum(drop.event.elements for drop in site.drops)
                yield self.finding(
                    site,
                    f"All {n:,} elements that come in are zero, so nothing can be dropped.",
                    evidence={"rate": site.rate, "elements": n},
                )
